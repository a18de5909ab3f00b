"""What every room stands on; nothing here knows what a VAE is.

errors      `UserError`: bad input, in one line
process     how a command runs, ends and keeps memory
files       all-or-nothing writes
specs       the base of every object that params.yaml can name
seeds       seeds derived by name, and random state that measuring cannot disturb
devices     where tensors live, and how many threads compute
adam        Adam without the import of torch's compiler
provenance  the fingerprint of settings, data and code
reports     what an epoch did, as plain numbers
best_epoch  which epoch's weights are kept
verdicts    what is wrong with a training, in words
"""
