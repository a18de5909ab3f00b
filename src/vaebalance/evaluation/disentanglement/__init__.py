"""How well latents represent factors of variation: six scores by their published protocols.

    factors              codes of images whose factors are known
    information_scores   MIG (Chen et al. 2018), modularity (Ridgeway & Mozer 2018)
    predictor_scores     DCI (Eastwood & Williams 2018), SAP (Kumar et al. 2018)
    intervention_scores  FactorVAE score (Kim & Mnih 2018), β-VAE score (Higgins et al. 2017)

All are in [0, 1] and use posterior means. Protocols and sample counts are those of Locatello et al.
2019 (DCI learns from fewer). Theirs draw from all combinations of the factors, ours from the
available images. No code can tell orientations apart that a shape's symmetry makes equal, so no
code of sprites scores 1. Trainings that differ only in the seed differ in their scores as much as
methods do.
"""
