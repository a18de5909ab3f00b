"""Foundations that know nothing of VAEs.

errors      `UserError`: wrong input, described in one line
process     start, end and memory of a command
files       atomic writes
specs       base class of the objects in params.yaml
seeds       named seeds, and measurements that leave the random state unchanged
devices     devices, their memory, threads and denormals
adam        Adam that does not import torch's compiler
provenance  the fingerprint of settings, data and code
reports     numbers of an epoch
best_epoch  choice of the epoch whose weights are kept
verdicts    problems of a training, in words
"""
