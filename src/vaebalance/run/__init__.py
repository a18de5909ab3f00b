"""One training, whole: settings to reports, resumable.

training_run  `Training`, as the stage and a study run it
checkpoints   its state on disk
"""
