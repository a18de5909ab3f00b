"""The model: prior, posterior, likelihood, and the two terms of its loss.

model         the VAE
networks      encoders and decoders
likelihoods   p(x|z) from raw decoder output
elbo          distortion, rate, and the one loss
conditioning  a VAE with β as an input, which folds back into an ordinary VAE
saved_model   the trained model on disk
"""
