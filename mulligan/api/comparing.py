"""Models and folders of images by their names: one evaluated, several compared."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from mulligan.api.build import load_parts, pick_device
from mulligan.api.evaluation import judged
from mulligan.api.fakes import images_as_fakes
from mulligan.api.runs import Run
from mulligan.api.training import DataOptions
from mulligan.core.errors import UserError
from mulligan.core.run import RunFolder
from mulligan.data import open_data


def evaluate(
    what: str | Path,
    *,
    data: str | Path | None = None,
    options: DataOptions = DataOptions(),
    features: str = "auto",
    split: str = "heldout",
    samples: int | None = None,
    seed: int = 0,
    which: str = "best",
    device: str = "auto",
) -> dict[str, Any]:
    """Measure `what`, a run folder or images of any making, against the real images of `data` (`evaluation.judged`).

    Args:
        data: by default, of a run, the data set it was trained on.
        options: how images are read, on both sides.
        which: of a run, the "best" or the "last" checkpoint.

    Raises:
        UserError: images without a data set to measure them against, and what `judged` refuses.
    """
    load_parts()
    on = pick_device(device)
    real = None if data is None else open_data(data, **dataclasses.asdict(options))
    if RunFolder(what).run.exists():
        run = Run(what, which=which, device=device)
        fakes, real = run.fakes(), real or run.open_data()
    elif real is None:
        raise UserError(f"{what}: is no run folder, it has no run.json; to measure images, say --data with real ones")
    else:
        fakes = images_as_fakes(open_data(what, **dataclasses.asdict(options)))
    return judged(fakes, real, features=features, split=split, samples=samples, seed=seed, device=on)
