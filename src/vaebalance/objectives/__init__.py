"""What a study asks of a trained model.

objectives  numbers to be minimised, with or without a target
frontier    the Pareto set of distortion and rate, and its knee
"""
