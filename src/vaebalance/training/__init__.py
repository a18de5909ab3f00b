"""The step and the loop.

step           one optimizer update; compiled and recorded forms of it
loop           `train`: a generator of reports
running_means  D, R and their weighted values, averaged over a split
loader         stored images to batches
precision      bf16, compilation and threads: what is used when
cuda_graphs    a step recorded once and replayed on a CUDA device
"""
