"""Runs and data by their names: one evaluated, several compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from mulligan.core.errors import UserError
from mulligan.core.run import RunFolder, write_json, write_whole
from mulligan.data import Dataset, open_data
from mulligan.engine.device import pick_device
from mulligan.kinds.pictures import png
from mulligan.measure.evaluation import USUAL, fewest, judged, refuse_fakes
from mulligan.measure.fakes import Fakes, data_as_fakes
from mulligan.measure.judge import Judge
from mulligan.metrics.intervals import Estimate, differences, estimates
from mulligan.report.page import write_report
from mulligan.report.progress import ProgressLine
from mulligan.runs.parts import load_parts
from mulligan.runs.run import Run

LOWER_IS_BETTER = ("fid", "kid")
PAIRS_IN_A_ROW = 6


def evaluate(
    what: str | Path,
    *,
    data: str | Path | None = None,
    read: Mapping[str, Any] | None = None,
    groups: Sequence[str] = USUAL,
    features: str = "auto",
    split: str = "heldout",
    samples: int | None = None,
    seed: int = 0,
    which: str = "best",
    device: str = "auto",
    quiet: bool = True,
) -> dict[str, Any]:
    """Measure `what`, a run folder or images of any making, against the real images of `data` (`evaluation.judged`).

    Of a run it is kept in its folder, as evaluation.json, neighbours.png and a section of the report.

    Args:
        data: by default, of a run, the data set it was trained on.
        features: "auto": the net made for the data, else `self`.
        read: options of the reader, on both sides: {"size": 64}.
        groups: of `registry.measures`; "usefulness" only where it is asked for, since it trains classifiers.
        which: of a run, the "best" or the "last" checkpoint.

    Raises:
        UserError: images without a data set to measure them against, and what `judged` refuses.
    """
    load_parts()
    (fakes,), real = _opened([what], data, read, which, device)
    with ProgressLine(0, quiet=quiet) as line:
        found = judged(
            fakes, real, groups=groups, features=best_features(features, real), split=split, samples=samples, seed=seed,
            device=pick_device(device), progress=line.update,
        )  # fmt: skip
    if fakes.trained_on is not None:
        _keep(RunFolder(what), found, fakes, fakes.trained_on)
    return found


def _keep(run: RunFolder, found: dict[str, Any], fakes: Fakes, trained_on: Dataset) -> None:
    """Write it into the run folder, with a picture of the closest pairs, and the report anew."""
    write_json(run.evaluation, found)
    run.neighbours.unlink(missing_ok=True)  # of another evaluation
    if pairs := found.get("closest"):
        made = torch.cat([block for block, _ in fakes.draw(max(pairs["fakes"]) + 1, found["protocol"]["seed"])])
        both = torch.stack([made[pairs["fakes"]], trained_on.records(pairs["train"])], 1).flatten(0, 1)
        write_whole(run.neighbours, png(fakes.sample.sheet(both, columns=PAIRS_IN_A_ROW * 2)))
    write_report(run)


def compare(
    whats: Sequence[str | Path],
    *,
    data: str | Path | None = None,
    read: Mapping[str, Any] | None = None,
    features: str = "auto",
    split: str = "heldout",
    samples: int | None = None,
    seed: int = 0,
    which: str = "best",
    device: str = "auto",
    quiet: bool = True,
) -> dict[str, Any]:
    """Several against the same real images: {"models": {...}, "best": name, "differences": {...}, "protocol": {...}}.

    `best` is the one of least KID. Every other one's `differences` from it say of each number by how much it is above
    the best's, with an interval of 95 %, and whether that is "better", "worse" or "no significant difference".
    Arguments and errors are those of `evaluate`; all models get as many samples as the one that has the fewest.
    """
    load_parts()
    if len(set(map(str, whats))) < max(2, len(whats)):
        raise UserError("compare takes two or more, none of them twice: runs, folders, zips or .npz files")
    fakes, real = _opened(whats, data, read, which, device)
    for each in fakes:
        refuse_fakes(each, real, samples)
    with ProgressLine(0, quiet=quiet) as line:
        judge = Judge(
            real, best_features(features, real), pick_device(device), split=split, num_fake=samples, seed=seed,
            progress=line.update,
        )  # fmt: skip
        count, k = fewest(fakes, judge), judge.protocol.k
        extracted = {
            str(what): judge.extract(each.draw(count, seed)).features for what, each in zip(whats, fakes, strict=True)
        }
    models = {name: estimates(judge.real, each, k=k) for name, each in extracted.items()}
    best = min(models, key=lambda name: models[name]["kid"].value)
    from_best = {
        name: differences(judge.real, each, extracted[best], k=k) for name, each in extracted.items() if name != best
    }
    return {
        "models": {name: {what: each._asdict() for what, each in found.items()} for name, found in models.items()},
        "best": best,
        "differences": {
            name: {what: each._asdict() | {"verdict": verdict(what, each)} for what, each in found.items()}
            for name, found in from_best.items()
        },
        "protocol": {
            **judge.protocol.as_dict(),
            "num_fake": count,
            "checkpoint": ", ".join(each.name for each in fakes),
        },
    }


def best_features(features: str, data: Dataset) -> str:
    """Of `auto`: what was made for the data, or else what learns from them, which notices more than `random` does.

    docs/measured.md, the ladder of damage. Training tracks its metric by `random`, which costs nothing.
    """
    return "self" if features == "auto" and data.features == "random" else features


def verdict(metric: str, difference: Estimate) -> str:
    """In a word."""
    if difference.low <= 0 <= difference.high:
        return "no significant difference"
    return "better" if (difference.value < 0) == (metric in LOWER_IS_BETTER) else "worse"


def _opened(
    whats: Sequence[str | Path], data: str | Path | None, read: Mapping[str, Any] | None, which: str, device: str
) -> tuple[list[Fakes], Dataset]:
    """What is to be judged, and the real images: those named, or those that the first run was trained on."""
    real = None if data is None else open_data(data, **(read or {}))
    fakes = []
    for what in whats:
        if RunFolder(what).run.exists():
            run = Run(what, which=which, device=device)
            fakes.append(run.fakes())
            real = real or run.open_data()
        elif data is None:
            raise UserError(
                f"{what}: is no run folder, it has no run.json; to measure images, say --data with real ones"
            )
        else:
            fakes.append(data_as_fakes(open_data(what, **(read or {}))))
    assert real is not None
    return fakes, real
