"""The sections of metrics/evaluation.json: which measures, of which images, under which names.

    subject        what is measured: model, data, settings, clock
    split          `test`: bounds and reconstructions
    latent_space   `latents`: the rate's parts, the prior's match, the probe
    prior_samples  `samples`: decoded prior samples in feature spaces
    known_factors  `disentanglement`, where factors of variation are known

Each gives its numbers, and beside them what `settings` says of how they came about.
"""
