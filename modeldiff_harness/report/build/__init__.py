"""Artifacts → `Report`: what is shown, as data.

inputs: what the arms hand over; build: the whole; preferences, latents (with
examples): their arm; lenses: the
arms side by side, per capability; summary: the sentences a reviewer reads first.
"""
