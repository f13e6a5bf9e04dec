"""What Mulligan does, as functions: the one floor that knows all the others."""

from mulligan.latent.directions import Directions
from mulligan.latent.editing import attribute, directions, interpolate, mix, move, truncate
from mulligan.latent.finding import Finder, Inverted, Latents
from mulligan.latent.inverting import Placed, invert
from mulligan.latent.search import Search
from mulligan.runs.build import recipe_named as recipe
from mulligan.runs.choose import inspect
from mulligan.runs.comparing import compare_models, evaluate
from mulligan.runs.diagnosis import diagnose
from mulligan.runs.recipes import compare, describe, recipes
from mulligan.runs.run import Run
from mulligan.runs.run import Run as load
from mulligan.runs.study import study
from mulligan.runs.training import DataOptions, dry_run, train
from mulligan.translate.applying import Applied, apply

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
