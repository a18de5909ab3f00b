"""Several trainings as one stacked model.

together      reports of each, as if it were trained alone
stack         weights of K models as one, and one optimizer step for all
stacked_step  one step with each model's own balance, penalty and clipping
groups        how many trainings, and which, are stacked
"""
