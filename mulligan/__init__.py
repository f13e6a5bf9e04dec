"""Mulligan trains and uses generative adversarial networks.

>>> import mulligan as mg
>>> run = mg.train("digits", minutes=5)
>>> run.sample(64, out="digits.png")
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from mulligan.core.version import __version__ as __version__

# Threads of libgomp, which PyTorch's wheels for Linux compute with, wait for one another by spinning. Where another
# process wants one of two cores, they spin in the way of the thread they wait for: 16 images/s of `digits` where 830
# are usual. A short spin, then sleep: 380, and as fast as before in quiet. Read once, when torch is first imported.
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
    # PEP 562: torch is imported when it is first needed, so that `mulligan --help` answers at once
    if name not in __all__:
        raise AttributeError(f"module 'mulligan' has no attribute {name!r}; it has {', '.join(__all__)}")
    import mulligan.api as api

    return getattr(api, name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
