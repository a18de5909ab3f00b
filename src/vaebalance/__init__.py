"""vaebalance: how much should reconstruction weigh against the KL term of a VAE?

    weighted loss = α · D + β · R

The tree is the architecture; imports only point down this list:

    comparison                 several runs on one page
    curve_study                a study's question, answered from a curve
    trade_off                  the slider within a report
    separate                   a model for each β, trained as one: what a curve is measured against
    curve                      the whole trade-off from one training
    slider                     the whole trade-off, from low to high β, on one page
    report                     the latent-space report
    tuning                     studies (Optuna)
    tracking, porting          runs (MLflow), weights of other projects
    figures                    plain data -> pictures and charts
    experiment                 settings -> learner -> reports
    settings                   params.yaml, checked
    frontier                   what can be had of distortion and rate
    objectives                 what a study asks of a trained model
    evaluation                 what the weights did
    diagnosis                  what is wrong with a training, in words
    checkpoints, saved_model   resuming exactly, and the trained model on disk
    together, stacked_step, stacked
                               several trainings as one
    training, tally            the step and the loop, and the sums they keep
    balances, penalties        who sets α and β; rate terms beside the KL
    updates, arithmetic        how a step is computed: recorded, compiled, in which precision
    images                     stored images, at hand or read ahead
    cuda_graphs                a step on a CUDA device, recorded once and replayed
    conditioning               a VAE that is told β, and folded back into a plain one
    elbo                       distortion, rate, the one loss
    model, networks            the VAE
    likelihoods                what the decoder says about a pixel
    data                       pictures -> uint8 tensors on disk
    specs, errors, files, garbage, memory, …
                               the ground
"""

import os

# OpenMP's threads spin while they wait for each other: beside any other busy process a net then
# trains several times slower. If they sleep at once, a net on two quiet cores takes twice its
# time. So GNU's, which Linux has, spin for some microseconds, as long as the small operations of a
# step take, and others sleep. Read once, when torch is loaded; a user's own setting stands.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
    os.environ.setdefault("GOMP_SPINCOUNT", "2000")  # goes before the policy

# Tensors of megabytes in pages of 2 MB, of which far fewer are to be asked for, cleared and found
# again: torch asks for them, where the system has such. A user's own setting stands here, too.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
