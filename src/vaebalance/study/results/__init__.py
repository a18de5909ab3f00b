"""What a study came to.

choice        the trial that the objective's rule chooses
table         the table in the terminal
study_charts  the figures, and which of several knobs moved the numbers
publication   trials.csv, the figures, and the study's run in MLflow
promotion     from a choice to params.yaml, and why
"""
