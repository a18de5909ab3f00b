"""The model: prior, posterior, likelihood, and the two terms of its loss.

model         the VAE
networks      encoders and decoders
likelihoods   what the decoder says about a value
elbo          distortion, rate, and the one loss
conditioning  a VAE with β as an input, and folding it back into an ordinary VAE
saved_model   the trained model on disk
"""
