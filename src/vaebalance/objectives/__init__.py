"""The objectives of a study: what it asks of a trained model.

objectives  numbers to minimise or maximise, with or without a target
frontier    the Pareto set of distortion and rate, and its knee
"""
