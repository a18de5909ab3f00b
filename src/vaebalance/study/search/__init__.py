"""Claim, run and conclude the trials of a study.

search         `Search`: claims, runs and concludes trials; resumable, shared by processes
workers        several processes on one study, which the parent shows and stops
knobs          checks the searched knobs, sets them, and writes them to params.yaml
identity       the settings and data that a study must keep
sampling       suggests the next point from the earlier trials and the seed
pruning        decides when to stop a trial that others beat
trial          trains and measures a trial by the train stage's code
trial_picture  draws a trial's reconstructions and samples in one picture
"""
