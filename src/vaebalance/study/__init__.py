"""Search the weights and other knobs in a study. Only this room knows Optuna.

    options   options of the command
    command   `vaebalance study`: search, list, promote
    study     `Study`: the objective, the settings and data of the trials, and their search
    space     the values that a study may try
    trials    a trial and its outcome, as plain data
    search    claims, runs and concludes trials
    storage   keeps a study in a file or a database
    results   choice of a trial, tables, figures, promotion
    by_curve  answers a study's question from a curve

`search.sampling`, `storage`, `results.study_charts` and `command` import Optuna; the rest works on
plain data.
"""
