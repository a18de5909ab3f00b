"""Results of a study.

choice        the trial that the objective's rule chooses
table         the table in the terminal
study_charts  figures, and the importance of each knob
publication   trials.csv, the figures, and the study's run in MLflow
promotion     writes a chosen trial's values to params.yaml, with the reason
"""
