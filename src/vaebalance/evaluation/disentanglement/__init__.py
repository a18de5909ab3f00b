"""Do latents stand for factors of variation? Six scores by their published protocols.

    factors      codes of images whose factors are known; images that share a factor's value
    information  mutual information of each latent with each factor
    mig          mutual information gap (Chen et al. 2018)
    modularity   one factor a latent (Ridgeway & Mozer 2018)
    dci          disentanglement, completeness, informativeness (Eastwood & Williams 2018)
    sap          separated attribute predictability (Kumar et al. 2018)
    factor_vae   the FactorVAE score (Kim & Mnih 2018)
    beta_vae     the β-VAE score (Higgins et al. 2017)

All are in [0, 1] and read posterior means. Protocols and sample counts are those of Locatello et
al. 2019 (DCI learns from fewer); theirs draw from all combinations of the factors, ours from the
images that there are. Orientations that a shape's symmetry makes equal can be told by no code, so
no code of sprites scores 1; and trainings that differ in the seed alone differ in their scores as
much as methods do.
"""
