"""The whole trade-off from one training: a model at any β, its numbers, and which β to take.

options         what a person asks for
curve_command   train, find a target, promote, distill
curve_training  the two methods: one conditioned model, or one model swept through β
curves          what they leave: β to an ordinary VAE
trace           numbers along the curve
chosen_beta     knee, best nll, and the β of a target by bisection
saved_curve     a curve on disk
promotion       a chosen β into params.yaml, and why
show            its page with the slider, and its animation
screen          tables and choices in words
"""
