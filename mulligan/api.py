"""Mulligan as functions: everything that the command line does, and more. `import mulligan as mg` provides them.

Your own parts and training loops import from `mulligan.kit`.
"""

from mulligan.latent import editing as edit
from mulligan.latent.directions import Directions
from mulligan.latent.finding import Inverted, LatentFinder, Latents
from mulligan.latent.inverting import InvertedPhotos, invert
from mulligan.latent.search import SearchSettings
from mulligan.runs.build import recipe_named as recipe
from mulligan.runs.choose import inspect
from mulligan.runs.comparing import compare, evaluate
from mulligan.runs.diagnosis import diagnose
from mulligan.runs.order import Order
from mulligan.runs.parts import parts, use
from mulligan.runs.recipes import describe, differences, recipes
from mulligan.runs.run import Run, sample
from mulligan.runs.run import Run as load
from mulligan.runs.study import study
from mulligan.runs.training import dry_run, train
from mulligan.translate.applying import Applied, apply

__all__ = [
    "Applied",
    "Directions",
    "Inverted",
    "InvertedPhotos",
    "LatentFinder",
    "Latents",
    "Order",
    "Run",
    "SearchSettings",
    "apply",
    "compare",
    "describe",
    "diagnose",
    "differences",
    "dry_run",
    "edit",
    "evaluate",
    "inspect",
    "invert",
    "load",
    "parts",
    "recipe",
    "recipes",
    "sample",
    "study",
    "train",
    "use",
]
