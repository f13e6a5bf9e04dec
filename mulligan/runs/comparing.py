"""Evaluates a run or data set by its name, or compares several."""

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
    """Measure `what`, a run folder or images from any source, against the real images of `data` (`evaluation.judged`).

    The result for a run is saved in its folder: evaluation.json, neighbours.png and a section of the report.

    Args:
        data: real images; by default the data set that a run was trained on.
        features: a feature net; "auto": the net made for the data, else `self`.
        read: options of the reader, for both data sets: {"size": 64}.
        groups: of `registry.measures`; "usefulness" only on request, since it trains classifiers.
        which: the checkpoint of a run, "best" or "last".

    Raises:
        UserError: images without `data` to measure them against, and the errors of `judged`.
    """
    load_parts()
    groups = (groups,) if isinstance(groups, str) else groups
    (fakes,), real = _opened([what], data, read, which, device)
    with ProgressLine(0, quiet=quiet) as line:
        found = judged(
            fakes, real, groups=groups, features=best_features(features, real), split=split, samples=samples, seed=seed,
            device=pick_device(device), progress=line.update,
        )  # fmt: skip
    if fakes.trained_on is not None:
        _save(RunFolder(what), found, fakes, fakes.trained_on)
    return found


def _save(run: RunFolder, found: dict[str, Any], fakes: Fakes, trained_on: Dataset) -> None:
    """Save the result in the run folder, with a picture of the closest pairs, and write a new report."""
    write_json(run.evaluation, found)
    run.neighbours.unlink(missing_ok=True)  # of an earlier evaluation
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
    """Several models against the same real images: {"models": ..., "best": name, "differences": ..., "protocol": ...}.

    `best` is the model with the lowest KID. `differences` has for every other model each of its metrics minus that of
    the best model, with a 95 % interval and a verdict: "better", "worse" or "no significant difference". Arguments and
    errors are those of `evaluate`. All models get as many samples as the model that has the fewest.
    """
    load_parts()
    if len(set(map(str, whats))) < max(2, len(whats)):
        raise UserError("compare takes two or more different models or data sets: runs, folders, zips or .npz files")
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
    """Resolve "auto": the net made for the data, or else `self`, which learns from them and detects more than `random`.

    See docs/measured.md, the ladder of damage. Training tracks its metric with `random`, which needs no training.
    """
    return "self" if features == "auto" and data.features == "random" else features


def verdict(metric: str, difference: Estimate) -> str:
    """What a difference from the best model means."""
    if difference.low <= 0 <= difference.high:
        return "no significant difference"
    return "better" if (difference.value < 0) == (metric in LOWER_IS_BETTER) else "worse"


def _opened(
    whats: Sequence[str | Path], data: str | Path | None, read: Mapping[str, Any] | None, which: str, device: str
) -> tuple[list[Fakes], Dataset]:
    """The models or data sets to measure, and the real images: `data`, or those that the first run was trained on."""
    real = None if data is None else open_data(data, **(read or {}))
    fakes = []
    for what in whats:
        if RunFolder(what).run.exists():
            run = Run(what, which=which, device=device)
            fakes.append(run.fakes())
            real = real or fakes[-1].trained_on
        elif data is None:
            raise UserError(
                f"{what}: is not a run folder, it has no run.json; to measure images, give real ones with --data"
            )
        else:
            fakes.append(data_as_fakes(open_data(what, **(read or {}))))
    assert real is not None
    return fakes, real
