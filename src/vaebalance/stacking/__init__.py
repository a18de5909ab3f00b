"""Train several models at once as one stacked model.

together          `Together`: yields each training's reports as if it were trained alone
stack             `Stack`: weights of K models as one, and one Adam step for all
stacked_networks  runs K models' networks as one, and finds out whether that works
stacked_step      one step with a balance, a penalty and clipping for each model
groups            which trainings are stacked, and how many
"""
