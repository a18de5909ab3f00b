"""The sections of metrics/evaluation.json: which measures, on which images, under which names.

    context        what is measured: model, data, settings, clock
    split          `test`: bounds and reconstructions
    latent_space   `latents`: the rate's parts, the match with the prior, the probe
    prior_samples  `samples`: decoded prior samples in feature spaces
    known_factors  `disentanglement`, if factors of variation are known

Each module returns its numbers, and entries of `settings` that say how they were measured.
"""
