"""One check a kind of plugin, as scikit-learn's `check_estimator`: a file a kind.

A check takes a factory (a callable that returns a fresh component) and what the kind needs; it
raises `CheckFailed`, which names plugin, kind and rule.  Nothing is imported here; the public path
of every name is `modeldiff_harness.testing`.

rules.py     the failure, and how rules are asked
plugins.py   registration, options, `check_component` for any installed component
files.py     what importers share
"""
