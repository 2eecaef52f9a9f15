"""One BatchTopK crosscoder in training: everything around the kernels, nothing of the schedule.

crosscoder.py  loss terms and the sparse factors of their gradients
auxiliary.py   the auxiliary term: a way back for dead latents
step.py        parameters and Adam state; one optimiser step
initialise.py  first weights
checkpoint.py  atomic checkpoints of a long training
"""
