"""The study: which weight? Only this folder knows Optuna, and only pipelines/tune.py imports it.

cli           the arguments of pipelines/tune.py; light, so that --help is quick
command       what the arguments ask for: search, list, promote
space         the weights that may be tried
subject       the settings and data that a study is about, which must stay as they are
journal       the study on disk
presence      which processes are still at work on it, however the others ended
suggestions   the next weight: a function of the trials before it and the seed
search        trials until the study has enough; resumable, and shared by several processes
objective     a weight -> a trained model's numbers
screen        the table
publication   trials.csv, the figure, and the study's run in MLflow
promotion     a trial's weight -> params.yaml

`journal`, `suggestions` and `command` import Optuna; the rest works on plain data.
"""
