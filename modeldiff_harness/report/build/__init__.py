"""Artifacts → `Report`: what is shown, as data."""
