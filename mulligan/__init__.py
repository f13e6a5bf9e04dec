"""Mulligan trains and uses generative adversarial networks.

>>> import mulligan as mg
>>> run = mg.train("digits", minutes=5)
>>> run.sample(64, out="digits.png")
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from mulligan.core.version import __version__ as __version__

# Threads of libgomp, which PyTorch's wheels for Linux use, spin while they wait for one another. If another process
# needs one of two cores, they take time from the thread they wait for: 16 images/s of `digits` instead of 830. With a
# short spin and then sleep: 380, and no slower on a quiet machine. Read once, when torch is first imported.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")

__all__ = [
    "Order",
    "Run",
    "apply",
    "compare",
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

if TYPE_CHECKING:
    from mulligan.api import (
        Order,
        Run,
        apply,
        compare,
        diagnose,
        differences,
        dry_run,
        edit,
        evaluate,
        inspect,
        invert,
        load,
        parts,
        recipe,
        recipes,
        sample,
        study,
        train,
        use,
    )


def __getattr__(name: str) -> Any:
    # PEP 562: torch is imported only when it is needed, so that `mulligan --help` is fast
    if name not in __all__:
        raise AttributeError(f"module 'mulligan' has no attribute {name!r}; it has {', '.join(__all__)}")
    import mulligan.api as api

    return getattr(api, name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
