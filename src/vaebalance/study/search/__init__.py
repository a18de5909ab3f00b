"""Trials until a study has enough of them.

search         claims, runs and concludes trials; resumable, and shared by processes
workers        several processes on one study, which the parent shows and stops
knobs          the searched knobs among the settings: checked, and put in
identity       the settings and data that a study is about, which must stay as they are
sampling       the next point: a function of the trials before it and the seed
pruning        when a trial is far enough behind the others to be stopped
trial          a point to a trained model's numbers
trial_picture  what a trial's model makes of images, in one picture
"""
