"""How the trials of a study are claimed, run and concluded.

search         `Search`: claims, runs and concludes trials; resumable, shared by processes
workers        several processes on one study, which the parent shows and stops
knobs          the searched knobs in the settings: checked, set, and written to params.yaml
identity       the identity of a study: the settings and data that must stay as they are
sampling       the next point: a function of the trials before it and the seed
pruning        when a trial is far enough behind the others to be stopped
trial          trains a trial by the train stage's code, and measures it
trial_picture  a trial's reconstructions and samples, in one picture
"""
