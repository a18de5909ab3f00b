"""Train the whole trade-off at once: a model at any β, its numbers, and which β to choose.

options         options of the command
curve_command   `vaebalance curve`: train, find a target, promote, distill
curve_training  the two methods: a conditioned model, or a model swept through β
curves          a trained curve: maps β to an ordinary VAE
trace           numbers along the curve
chosen_beta     the knee, the best nll, and the β that meets a target
saved_curve     a curve on disk
promotion       writes a chosen β to params.yaml
screen          tables and choices for the terminal
"""
