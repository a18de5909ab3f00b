"""Who sets α and β at a step.

balances   schedules and controllers of α and β
penalties  terms that the loss has beside the KL
"""
