"""Codes that projections cannot take for granted."""

import numpy as np


def degenerate_codes():
    """Codes without the spread that projections take for granted, by name; [360, 8] float32."""
    generator = np.random.default_rng(4)
    free = generator.normal(size=(360, 8))
    constant = np.tile(free[:1], (360, 1))
    one_latent, outlier = constant.copy(), constant.copy()
    one_latent[:, 3] = free[:, 3]
    outlier[7] = free[7]
    found = {
        "zero": 0 * free,
        "constant": constant,
        "nearly constant": constant + 1e-8 * free,
        "tiny": 1e-20 * free,
        "denormal": 1e-42 * free,
        "one outlier": outlier,
        "two values": free[np.arange(360) % 2],
        "four values and noise": free[np.arange(360) % 4] + 1e-8 * free,
        "one latent": one_latent,
        "five values": free[np.arange(360) % 5],
        "small": 1e-5 * free,
        "huge": 1e30 * free,
    }
    return {name: codes.astype(np.float32) for name, codes in found.items()}
