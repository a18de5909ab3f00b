"""The training step and the epoch loop.

step           `train_step`: one optimizer update
graph_steps    the step as one graph, compiled or recorded
cuda_graphs    a function recorded once and replayed on a CUDA device
loop           `run_epochs`: a generator of reports
running_means  D, R and their weighted values, averaged over a split
loader         batches of stored images
precision      choice of bf16, compilation and threads
"""
