"""What a study came to.

choice        which trial, by the objective's rule
importance    which of several knobs moved the numbers
table         the table in the terminal
study_charts  the figures
publication   trials.csv, the figures, and the study's run in MLflow
promotion     a trial's values into params.yaml, and why
"""
