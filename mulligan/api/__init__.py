"""What Mulligan does, as functions: the one floor that knows all the others."""

from mulligan.api.apply import Applied, apply
from mulligan.api.build import recipe_named as recipe
from mulligan.api.choose import inspect
from mulligan.api.comparing import compare_models, evaluate
from mulligan.api.diagnosis import diagnose
from mulligan.api.runs import Run
from mulligan.api.runs import Run as load
from mulligan.api.study import study
from mulligan.api.training import DataOptions, dry_run, train
from mulligan.api.zoo import compare, describe, recipes

__all__ = [
    "Applied",
    "DataOptions",
    "Run",
    "apply",
    "compare",
    "compare_models",
    "describe",
    "diagnose",
    "dry_run",
    "evaluate",
    "inspect",
    "load",
    "recipe",
    "recipes",
    "study",
    "train",
]
