"""Search the weights and other knobs in a study. Only this room knows Optuna.

    options   what a person asks for
    command   search, list, promote
    study     `Study`: what a study asks, what its trials share, and their search
    space     the values that may be tried
    trials    a trial and its outcome, as plain data
    search    how trials are claimed, run and concluded
    storage   where the study lies
    results   which trial, tables, figures, promotion
    by_curve  a study's question, answered from a curve

`search.sampling`, `storage`, `results.study_charts` and `command` import Optuna; the rest works on
plain data.
"""
