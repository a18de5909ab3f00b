"""The whole trade-off from one training: a model at any β, what it measures, and which β to take.

cli           the arguments of pipelines/curve.py; light, so that --help is quick
command       what the arguments ask for: train, find a target, promote, distill
training      the two methods: one conditioned model, or one model swept through β
curves        what they leave: β -> an ordinary VAE
trace         the numbers along the curve
choice        knee, best nll, and the β of a target by bisection
saved         a curve on disk
promotion     a chosen β -> params.yaml, and why
show          its page, with the slider, and its animation
screen        the table and the choices in words
"""
