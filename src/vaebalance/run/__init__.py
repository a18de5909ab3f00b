"""Run a whole training from settings to reports, with checkpoints from which it resumes.

training_run  `Training`: the training of the train stage and of a study's trials
resumable     `ResumableTraining`: a training that is iterated for its reports
checkpoints   the state of a training on disk
"""
