"""vaebalance: how much should reconstruction weigh against the KL term of a VAE?

    weighted loss = α · D + β · R

The tree is the architecture. Imports point down this list only:

    study        Optuna studies: which weights, and which other knobs
    pages        report, slider, comparison
    curve        all β from one training
    stacking     several trainings as one
    terminal     progress and tables in the terminal
    porting      weights of other projects
    run          one training, whole
    tracking     runs in MLflow
    settings     params.yaml, checked
    objectives   what a study asks of a trained model
    evaluation   what the weights did
    training     the step and the loop
    balancing    who sets α and β
    vae          the model and its loss
    data         pictures to tensors on disk
    base         errors, files, seeds, devices, provenance
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
