"""A stage is a call that carries its own recipe: a function, stages it reads, settings, tools.

    scored = Stage(runner, "score", score, title=name, gives=ScorePass,
                   inputs={"dictionary": trained},           # other stages: their keys
                   settings={"n_blocks": 20},                # plain data: hashed as it is
                   tools={"stream": reading, "scorers": …})  # objects that state a recipe

What is not passed cannot be read, since the function is one of a module and no closure; what is
passed is hashed.  Only `Runtime` is not.  A run is a graph of stages: it is built without doing any
work, `--plan` reads it, and `value()` computes what is missing, once.

stage.py   the stage: what it is given, its recipe and key
tools.py   objects that do work for a stage and say what of it can change the result
nested.py  inputs and tools in lists, tuples and mappings
plain.py   values as a recipe holds them
runner.py  computes stages in a store, tells observers, keeps the record
"""

from __future__ import annotations

from modeldiff_harness.stages.plain import plain
from modeldiff_harness.stages.runner import StageRunner
from modeldiff_harness.stages.stage import Gathered, Part, Stage
from modeldiff_harness.stages.tools import Built, Content, Fresh, InputFile, Tool

__all__ = [
    "Built",
    "Content",
    "Fresh",
    "Gathered",
    "InputFile",
    "Part",
    "Stage",
    "StageRunner",
    "Tool",
    "plain",
]
