"""Studies: which weights, and which other knobs? Only this room knows Optuna.

options   what a person asks for
command   search, list, promote
space     the values that may be tried
search    trials until the study has enough
storage   where the study lies
results   which trial, tables, figures, promotion
by_curve  the study's question, answered from a curve
"""
