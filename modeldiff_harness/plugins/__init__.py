"""The plugin kernel: which components exist, where they come from, and how to get one.

registry.py   components with their provenance; choosing one, building it
products.py   what a plugin gives, looked at where it comes in
border.py     what its code prints goes to standard error, what it raises is named
loading.py    entry points → registry; what is broken becomes a row, never an exception
new.py        `mdh plugins new`: a distribution to start from, of every kind
"""

from modeldiff_harness.plugins.border import others_code, plugin_of
from modeldiff_harness.plugins.loading import load_registry
from modeldiff_harness.plugins.registry import (
    OWN_DISTRIBUTION,
    Broken,
    ComponentChoice,
    Registered,
    Registry,
)

__all__ = [
    "OWN_DISTRIBUTION",
    "Broken",
    "ComponentChoice",
    "Registered",
    "Registry",
    "load_registry",
    "others_code",
    "plugin_of",
]
