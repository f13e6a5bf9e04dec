"""What Mulligan does, as functions: the one floor that knows all the others."""

from mulligan.api.apply import Applied, apply
from mulligan.api.build import recipe_named as recipe
from mulligan.api.choose import inspect
from mulligan.api.comparing import compare_models, evaluate
from mulligan.api.diagnosis import diagnose
from mulligan.api.directions import Directions
from mulligan.api.edit import attribute, directions, interpolate, mix, move, truncate
from mulligan.api.inverting import Placed, invert
from mulligan.api.latent import Finder, Inverted, Latents
from mulligan.api.runs import Run
from mulligan.api.runs import Run as load
from mulligan.api.study import study
from mulligan.api.training import DataOptions, dry_run, train
from mulligan.api.zoo import compare, describe, recipes
from mulligan.use.invert import Search

__all__ = [
    "Applied",
    "DataOptions",
    "Directions",
    "Finder",
    "Inverted",
    "Latents",
    "Placed",
    "Run",
    "Search",
    "apply",
    "attribute",
    "compare",
    "compare_models",
    "describe",
    "diagnose",
    "directions",
    "dry_run",
    "evaluate",
    "inspect",
    "interpolate",
    "invert",
    "load",
    "mix",
    "move",
    "recipe",
    "recipes",
    "study",
    "train",
    "truncate",
]
