"""What the weights did: bounds, latents, reconstructions, samples, factors on the test split.

    evaluate_spec      the `evaluate` section of params.yaml
    measured_images    a split as evaluation reads it: the same pixels at every reading
    bounds             distortion, rate, importance-weighted nll, bits/dim
    calibration        the Gaussian under which models of any likelihood compare
    reconstructions    RMSE, PSNR, SSIM
    posterior_moments  posterior means and variances, active units
    surgery            the rate as index-code mutual information and marginal KL
    prior_match        how the aggregate posterior matches the prior: symmetry, gaps
    neighbours         precision, recall, density, coverage of one set of points by another
    two_sample         the classifier two-sample test
    probe              labels read from codes by a linear classifier
    features           spaces in which images are compared; none needs a download
    samples            decoded prior samples against test images
    disentanglement    MIG, DCI, SAP, … where factors of variation are known
    diagnosis          what is wrong with a training, with evidence and remedy
    metrics            the catalogue of metrics: names, units, how to read them
    results            what was measured, as plain data, and its files
    stage              `evaluate`: all of it

Importing a module of this room imports no other; scikit-learn and torchvision are imported
where they are used.
"""
