"""Mulligan trains and uses generative adversarial networks.

>>> import mulligan as mg
>>> run = mg.train("digits", minutes=5)
>>> run.sample(64, out="digits.png")
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["DataOptions", "Run", "diagnose", "inspect", "load", "recipe", "recipes", "train"]

if TYPE_CHECKING:
    from mulligan.api import DataOptions, Run, diagnose, inspect, load, recipe, recipes, train


def __getattr__(name: str) -> Any:
    # PEP 562: torch is imported when it is first needed, so that `mulligan --help` answers at once
    if name not in __all__:
        raise AttributeError(f"module 'mulligan' has no attribute {name!r}")
    import mulligan.api as api

    return getattr(api, name)
