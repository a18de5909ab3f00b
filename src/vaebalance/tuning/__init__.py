"""The study: which weights, and which other knobs? Only this folder knows Optuna.

cli           the arguments of pipelines/tune.py; light, so that --help is quick
command       what the arguments ask for: search, list, promote
space         the values that may be tried
knobs         the searched knobs among the settings: checked, and put in
subject       the settings and data that a study is about, which must stay as they are
journal       the study as plain trials, wherever it lies
storage       what it asks of the place where it lies
file_storage, database_storage  a journal file; PostgreSQL, for many machines
location      which of them the settings name
presence      which processes of one folder are still at work, however the others ended
suggestions   the next point: a function of the trials before it and the seed
pruning       when a trial is beaten early enough to be stopped
search        trials until the study has enough; resumable, and shared by several processes
workers       several processes on one study, which the parent shows and stops
groups        which trials are trained at once, and how many
objective     a point -> a trained model's numbers, by `vaebalance.objectives`
decision      which trial, by the objective's rule
importance    which of several knobs moved the numbers
screen        the table
charts        the figures
pictures      what a trial's model makes of images, in one picture
publication   trials.csv, the figures, and the study's run in MLflow
promotion     a trial's values -> params.yaml, and why

`journal`, the storages, `suggestions`, `importance` and `command` import Optuna; the rest works on
plain data.
"""
