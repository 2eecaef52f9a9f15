"""Finished dictionaries: what they make of activations, and how they travel.

encode.py              inference form: codes, reconstructions, latent weights
threshold.py           the inference threshold θ
imported.py            published crosscoders, made ready for a run's models
interchange.py         reading the layouts they are published in
interchange_files.py   reading single files of a folder that somebody else wrote
interchange_export.py  writing our own so that other tools load them
"""
