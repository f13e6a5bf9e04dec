"""Does synthetic data help a classifier? A small one is trained with and without them, and tested on unseen images."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from mulligan.augment.operations import SampleRng, augment
from mulligan.core.batch import to_float
from mulligan.core.errors import UserError
from mulligan.core.registry import readers
from mulligan.core.run import read_json, write_json
from mulligan.core.sample import refuse_other_kind
from mulligan.core.seeding import endless_order, mix
from mulligan.data import Dataset, open_data, reader_of
from mulligan.metrics.classifier import BATCH, fitted, outputs
from mulligan.metrics.copying import hash_of
from mulligan.metrics.features.net import stamp_of
from mulligan.metrics.gains import gain
from mulligan.metrics.pairwise import nearest
from mulligan.report.progress import ProgressLine
from mulligan.runs.run import Run

RATIOS = (0.5, 1.0, 2.0, 5.0)
ORDINARY = ("shift", "scale", "stretch", "slide")  # augmentation that changes the class of hardly any image
STRENGTH = 0.5  # the probability of each
NEIGHBOURS = 3  # of a real image, see `_near`
SPARE = 1.5  # samples drawn for each one that is needed, so that filters can choose
MOST_SAMPLES, MOST_TESTED, LEAST_TESTED = 50_000, 10_000, 50
SEEDS = 5  # Student's factor for an interval of 95 % is 2.8 with five, 12.7 with two


@dataclasses.dataclass(frozen=True)
class Arm:
    """One composition of a training set."""

    name: str
    ratio: float = 0.0  # of synthetic to real images
    real: bool = True
    augmented: bool = False
    filtered: Literal["", "right", "near"] = ""  # only samples for which this field of `Pool` is true


REAL = Arm("real only")
AUGMENTED = Arm("real, augmented", augmented=True)


def base_of(arm: Arm) -> Arm:
    """The arm that an arm is compared with: augmented real images for an augmented mix, otherwise plain real images."""
    return AUGMENTED if arm.augmented and arm.ratio else REAL


def arms_of(ratios: Sequence[float]) -> list[Arm]:
    """All arms of a study."""
    middle = min(ratios, key=lambda ratio: abs(math.log(ratio)))
    return [
        REAL,
        AUGMENTED,
        *(Arm(f"real + {ratio:g}x synthetic", ratio) for ratio in ratios),
        Arm(f"real + {middle:g}x filtered", middle, filtered="right"),
        Arm(f"real + {middle:g}x filtered by density", middle, filtered="near"),
        Arm(f"real + {middle:g}x filtered, augmented", middle, filtered="right", augmented=True),
        Arm("synthetic only", max(ratios), real=False),
    ]


def study(
    run: Run,
    *,
    data: str | Path | None = None,
    test: str | Path | None = None,
    ratios: Sequence[float] = RATIOS,
    seeds: int = SEEDS,
    steps: int = 400,
    write: str | Path | None = None,
    quiet: bool = False,
) -> dict[str, Any]:
    """Measure how much samples of `run`, a model with classes, help a classifier; the result is JSON.

    Results are saved in the run's folder under studies/: an interrupted study continues where it stopped.

    Args:
        data: labelled images of the run's classes. Classifiers learn from their training part. Default: the run's own.
        test: labelled images for testing: their held-out part, or all of them if they are other data than `data`.
        ratios: synthetic images for every real one.
        seeds: trainings of each arm, at least 2. All have the same number of steps, whatever the number of images.
        write: a new folder for the mix that helped most: images in one folder per class, and manifest.json.

    Raises:
        UserError: a run without classes, other classes than those of the data, too few test images.
    """
    if seeds < 2:
        raise UserError(f"--seeds {seeds}: at least 2 trainings are needed to estimate how much they vary")
    if not ratios or min(ratios) <= 0:
        raise UserError(f"--ratio {', '.join(map(str, ratios))}: synthetic images per real image, must be above 0")
    refuse_other_kind("study", {"image"}, run.sample_kind)
    if not run.classes:
        raise UserError(f"{run.path}: was trained without classes, and a classifier needs samples with labels")
    if write is not None and Path(write).exists():
        raise UserError(f"{write}: exists already; choose another name")
    own = run.open_data()
    real = _labelled(own if data is None else _like(own, data), run)
    judged_on = _labelled(real if test is None else _like(own, test), run)
    tests, notes = _tests(own, real, judged_on)
    if len(tests) < LEAST_TESTED:
        raise UserError(f"{judged_on.name}: {len(tests)} images to test on; at least {LEAST_TESTED} are needed")
    if seeds < SEEDS:
        notes.append(f"intervals over {seeds} trainings are wide; --seeds {SEEDS} detects smaller gains")
    wanted = len(real.train) * max(ratios)
    if wanted * SPARE > MOST_SAMPLES:
        raise UserError(
            f"--ratio {max(ratios):g}: would need {wanted * SPARE:,.0f} samples, more than {MOST_SAMPLES:,}; "
            f"at most {MOST_SAMPLES / SPARE / len(real.train):.2g} for {len(real.train):,} real images"
        )
    protocol = {
        "model": f"{run.path.name} after {run.checkpoint.state['samples']:,} images",
        "weights": stamp_of(run.G),
        "data": real.name,
        "data_fingerprint": real.fingerprint,
        "test": judged_on.name,
        "test_fingerprint": judged_on.fingerprint,
        "real_images": len(real.train),
        "test_images": len(tests),
        "seeds": seeds,
        "steps": steps,
        "batch": BATCH,
        "augmentation": f"{', '.join(ORDINARY)}, each with p={STRENGTH:g}",
    }
    ledger = Ledger(run.path / "studies", protocol)
    images, labels = judged_on.records(tests), judged_on.label_of(tests)
    arms = arms_of(sorted(ratios))
    right: dict[str, list[np.ndarray]] = {arm.name: [] for arm in arms}
    with ProgressLine((len(arms) * seeds + 1) * steps * BATCH, quiet=quiet) as line:
        pool = _pool(run, real, math.ceil(wanted * SPARE), steps)
        for done, (arm, seed) in enumerate(itertools.product(arms, range(seeds)), 1):
            line.update(done * steps * BATCH)
            found = ledger.known(arm, seed, len(tests))
            if found is None:
                batch = _batches(arm, real, pool, seed)
                net = fitted(real.shape, len(real.classes), batch, steps=steps, seed=seed, device=run.device)
                found = (outputs(net, images, run.device).argmax(1) == labels).numpy()
                ledger.keep(arm, seed, found)
            right[arm.name].append(found)
    result = {
        **_compared(arms, {name: np.stack(rows) for name, rows in right.items()}, labels.numpy(), real.classes),
        "samples_right": pool.right.double().mean().item(),
        "notes": notes,
        "protocol": protocol,
    }
    if write is not None and result["best"]:
        _write(Path(write), next(arm for arm in arms if arm.name == result["best"]), real, pool, result)
    return result


def _like(own: Dataset, spec: str | Path) -> Dataset:
    """Another data set, read like the run's own."""
    channels, height, width = own.shape
    known = readers.defaults(reader_of(spec))
    options = {"size": (height, width), "channels": channels}
    data = open_data(spec, **{name: value for name, value in options.items() if name in known})
    refuse_other_kind("study", {"image"}, data.sample)
    return data


def _labelled(data: Dataset, run: Run) -> Dataset:
    if data.labels is None:
        raise UserError(f"{data.name}: has no labels; give sub-folders of images by class, or an .npz with labels")
    if data.classes != run.classes:
        other = sorted(set(data.classes) ^ set(run.classes)) or data.classes
        raise UserError(f"{data.name}: its classes are not those of {run.path}: {', '.join(other[:8])}")
    return data


def _tests(own: Dataset, real: Dataset, judged_on: Dataset) -> tuple[np.ndarray, list[str]]:
    """Images to test on, without the training images of the model and of the classifiers; and notes for the reader."""
    notes = []
    if own.fingerprint != real.fingerprint:
        notes.append("the model was trained on other images than the classifiers: gains may be due to those images")
    tests = judged_on.heldout
    if judged_on.fingerprint not in (real.fingerprint, own.fingerprint):
        tests = np.sort(np.concatenate([judged_on.train, judged_on.heldout]))
    tests = tests[np.linspace(0, len(tests) - 1, min(len(tests), MOST_TESTED)).astype(np.int64)]
    trained_on = {data.fingerprint: data for data in (own, real)}.values()
    known = {hash_of(image) for data in trained_on for block in _blocks(data, data.train) for image in block}
    fresh = np.array([hash_of(image) not in known for block in _blocks(judged_on, tests) for image in block], bool)
    if copies := int((~fresh).sum()):
        notes.append(f"{copies:,} of {len(tests):,} test images were left out: they are training images")
    return tests[fresh], notes


def _blocks(data: Dataset, indices: np.ndarray) -> Iterator[Tensor]:
    return (data.records(indices[start : start + 500]) for start in range(0, len(indices), 500))


class Ledger:
    """The results of a study so far, saved after every training."""

    def __init__(self, folder: Path, protocol: dict[str, Any]) -> None:
        key = hashlib.blake2b(json.dumps(protocol, sort_keys=True).encode(), digest_size=6).hexdigest()
        self.path = folder / f"{key}.json"
        self.found = read_json(self.path) if self.path.exists() else {"protocol": protocol, "right": {}}

    def known(self, arm: Arm, seed: int, images: int) -> np.ndarray | None:
        packed = self.found["right"].get(f"{arm.name}, seed {seed}")
        return None if packed is None else np.unpackbits(np.frombuffer(bytes.fromhex(packed), np.uint8))[:images] == 1

    def keep(self, arm: Arm, seed: int, right: np.ndarray) -> None:
        self.found["right"][f"{arm.name}, seed {seed}"] = np.packbits(right).tobytes().hex()
        self.path.parent.mkdir(exist_ok=True)
        write_json(self.path, self.found)


class Pool(NamedTuple):
    """Generated samples, the classes they were generated for, and checks by a classifier trained on real images."""

    images: Tensor  # uint8 (M, C, H, W)
    labels: Tensor  # (M,)
    right: Tensor  # (M,) bool: it predicts that class
    near: Tensor  # (M,) bool: their features are close to those of real images of that class, see `_near`


def _pool(run: Run, real: Dataset, count: int, steps: int) -> Pool:
    blocks = list(run.draw(count, seed=mix("study")))
    images, labels = torch.cat([made for made, _ in blocks]), torch.cat([cond["class"] for _, cond in blocks])
    of_real = _batches(Arm("", augmented=True), real, None, mix("filter"))
    net = fitted(real.shape, len(real.classes), of_real, steps=steps, seed=mix("filter"), device=run.device)
    right = outputs(net, images, run.device).argmax(1) == labels
    near = torch.ones_like(right)
    for each in labels.unique().tolist():
        mine, rows = labels == each, real.train[real.labels[real.train] == each]
        if len(rows) > NEIGHBOURS:
            near[mine] = _near(
                *(outputs(net.features, some, run.device) for some in (images[mine], real.records(rows)))
            )
    return Pool(images, labels, right, near)


def _near(samples: Tensor, real: Tensor) -> Tensor:
    """(N,) bool: closer to a real one than the 90 % quantile of the distances of real ones to their third neighbour."""
    distances = nearest(real, real, NEIGHBOURS + 1)[0][:, -1]  # the first is itself
    return nearest(samples, real)[0][:, 0] <= distances.quantile(0.9)


def _synthetic(arm: Arm, real: Dataset, pool: Pool | None) -> Tensor:
    """The samples in an arm's mix: (M,) indices into the pool."""
    if pool is None:
        return torch.empty(0, dtype=torch.int64)
    fit = getattr(pool, arm.filtered).nonzero()[:, 0] if arm.filtered else torch.arange(len(pool.labels))
    return fit[: round(arm.ratio * len(real.train))]


def _batches(arm: Arm, real: Dataset, pool: Pool | None, seed: int) -> Callable[[int], tuple[Tensor, Tensor]]:
    """Batches of an arm's mix, in endless shuffled epochs."""
    train = real.train if arm.real else real.train[:0]
    made = _synthetic(arm, real, pool)

    def batch(step: int) -> tuple[Tensor, Tensor]:
        order = endless_order(len(train) + len(made), seed, step * BATCH, BATCH)
        known, new = train[order[order < len(train)]], made[order[order >= len(train)] - len(train)]
        labels = [torch.from_numpy(real.labels[known])] + ([pool.labels[new]] if pool else [])
        images = [real.records(known)] + ([pool.images[new]] if pool else [])
        inputs = to_float(torch.cat(images))
        if arm.augmented:
            rng = SampleRng(mix("study", seed, step), STRENGTH, len(inputs), len(inputs), inputs.device)
            inputs = augment(inputs, ORDINARY, rng)
        return inputs, torch.cat(labels)

    return batch


def _compared(
    arms: Sequence[Arm], right: dict[str, np.ndarray], labels: np.ndarray, classes: Sequence[str]
) -> dict[str, Any]:
    """Each arm compared with its base, and the best mix of real and synthetic images among those that help, if any."""
    found: dict[str, dict[str, Any]] = {}
    for arm in arms:
        rows = right[arm.name]
        found[arm.name] = {
            "accuracy": float(rows.mean()),
            "by_class": {classes[each]: float(rows[:, labels == each].mean()) for each in np.unique(labels)},
        }
        if arm is not REAL:
            base = base_of(arm).name
            gained = gain(rows, right[base], comparisons=len(arms) - 1)
            found[arm.name] |= {"against": base, "gain": gained._asdict(), "verdict": gained.verdict}
    mixes = [arm.name for arm in arms if arm.real and arm.ratio and found[arm.name]["verdict"] == "helps"]
    best = max(mixes, key=lambda name: found[name]["accuracy"], default=None)
    result = {"arms": found, "best": best}
    if best:  # the next question: is ordinary augmentation as good?
        over = gain(right[best], right[AUGMENTED.name])
        result["over_augmentation"] = over._asdict() | {"verdict": over.verdict}
    return result


def _write(out: Path, arm: Arm, real: Dataset, pool: Pool, result: dict[str, Any]) -> None:
    """Write the mix as images in one folder per class, with the results of the study."""
    made = _synthetic(arm, real, pool)
    images = torch.cat([*_blocks(real, real.train), pool.images[made]])
    labels = torch.cat([torch.from_numpy(real.labels[real.train]), pool.labels[made]])
    real.sample.save(out, images, labels)
    write_json(
        out / "manifest.json",
        {"mix": arm.name, "real": len(real.train), "synthetic": len(made), "classes": real.classes, **result},
    )
