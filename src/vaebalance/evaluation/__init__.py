"""Measurements of a trained model on the test split.

    evaluate_spec      the `evaluate` section of params.yaml
    measured_images    a split with the same pixels at every reading
    bounds             distortion, rate, importance-weighted nll, bits/dim
    calibration        a Gaussian that makes models of any likelihood comparable
    reconstructions    RMSE, PSNR, SSIM
    posterior_moments  posterior means and variances, active units
    surgery            the rate as index-code mutual information and marginal KL
    prior_match        how the aggregate posterior matches the prior: symmetry, gaps
    neighbours         precision, recall, density, coverage between two sets of points
    probe              classifiers on codes: the linear probe and the two-sample test
    features           feature spaces for comparing images; none needs a download
    inception          Inception-v3 features, from weights on disk
    samples            decoded prior samples against test images
    disentanglement    MIG, DCI, SAP, … for known factors of variation
    diagnosis          what is wrong with a training, with evidence and remedy
    metrics            the catalogue of metrics: names, units, how to read them
    results            the results as plain data, and their files
    sections           the sections of the results, each from several measures
    stage              `evaluate`, which runs all measures

Importing a module of this room imports no other; scikit-learn and torchvision are imported
where they are used.
"""
