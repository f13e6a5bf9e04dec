"""Does synthetic data help: gains on constructed results, a whole study, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import mulligan as mg
from mulligan.core.errors import UserError
from mulligan.data import open_data
from mulligan.metrics.classifier import BATCH, fitted, outputs
from mulligan.metrics.gains import gain
from mulligan.runs.study import Arm, Pool, _batches, _compared, _near, _synthetic, arms_of

SMALL = {"generator.width": 8, "discriminator.width": 8, "batch": 8}
QUICK = {"ratios": (1.0,), "seeds": 2, "steps": 4, "quiet": True}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> mg.Run:
    return mg.train("digits", out=tmp_path_factory.mktemp("runs") / "a", samples=64, settings=SMALL, quiet=True)


def right(share: float, seeds: int = 5, images: int = 400, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((seeds, images)) < share


def test_a_gain_has_the_size_and_sign_that_it_has() -> None:
    better = gain(right(0.9, seed=1), right(0.8))
    assert better.points == pytest.approx(10, abs=2.5) and better.low > 0 and better.verdict == "helps"
    worse = gain(right(0.8), right(0.9, seed=1))
    assert worse.points == -better.points and worse.verdict == "harms"


def test_a_zero_gain_is_rarely_called_a_gain() -> None:
    verdicts = [gain(right(0.9, seed=2 * i), right(0.9, seed=2 * i + 1)).verdict for i in range(200)]
    assert sum(verdict != "no significant difference" for verdict in verdicts) <= 10  # 5 % of 200


def test_more_comparisons_widen_the_interval() -> None:
    one, many = gain(right(0.9, seed=1), right(0.88)), gain(right(0.9, seed=1), right(0.88), comparisons=8)
    assert many.low < one.low < one.points == many.points


def test_few_seeds_widen_the_interval() -> None:
    few, many = gain(right(0.9, 2, seed=1), right(0.8, 2)), gain(right(0.9, 20, seed=1), right(0.8, 20))
    assert few.high - few.low > 2 * (many.high - many.low)


def test_the_best_mix_is_named_only_where_it_helps() -> None:
    labels, classes = np.arange(400) % 2, ["cat", "dog"]
    arms = arms_of([1.0])
    real, augmented, plain, filtered, dense, both, only = (arm.name for arm in arms)
    known = {real: right(0.8), augmented: right(0.95, seed=1), plain: right(0.8, seed=2), only: right(0.5, seed=3)}
    known[dense] = right(0.8, seed=6)
    found = _compared(arms, known | {filtered: right(0.79, seed=4), both: right(0.95, seed=5)}, labels, classes)
    assert found["best"] is None, "what augmentation alone gives is no gain of a mix that is augmented"
    found = _compared(arms, known | {filtered: right(0.9, seed=4), both: right(0.8, seed=5)}, labels, classes)
    assert found["best"] == filtered and found["arms"][both]["verdict"] == "harms"
    assert found["over_augmentation"]["points"] < 0 and found["arms"][both]["against"] == augmented
    assert set(found["arms"][real]["by_class"]) == {"cat", "dog"}


def test_a_mix_has_the_shares_of_its_arm() -> None:
    real = open_data("digits")
    pool = Pool(
        torch.full((9000, 1, 28, 28), 7, dtype=torch.uint8), torch.zeros(9000).long(), torch.arange(9000) % 2 > 0,
        torch.arange(9000) % 3 > 0,
    )  # fmt: skip
    assert len(_synthetic(Arm("", 0.5), real, pool)) == 2250
    assert (_synthetic(Arm("", 0.5, filtered="right"), real, pool) % 2 == 1).all()
    assert (_synthetic(Arm("", 0.5, filtered="near"), real, pool) % 3 > 0).all()
    batch = _batches(Arm("", 1.0), real, pool, seed=0)
    images = torch.cat([batch(step)[0] for step in range(2 * 4500 // BATCH)])
    synthetic = (images == 7 / 127.5 - 1).flatten(1).all(1)
    assert synthetic.double().mean() == pytest.approx(0.5, abs=0.01), "an epoch shows each once"
    only = _batches(Arm("", 1.0, real=False), real, pool, seed=0)(0)
    assert (only[1] == 0).all() and (only[0] == 7 / 127.5 - 1).all()


def test_samples_far_from_real_images_are_not_near_them() -> None:
    generator = torch.Generator().manual_seed(0)
    real, similar = torch.randn(200, 4, generator=generator), torch.randn(100, 4, generator=generator)
    assert _near(similar, real).double().mean() > 0.8
    assert not _near(similar + 10, real).any()


def test_the_classifier_learns_what_can_be_learnt() -> None:
    """Bright on the left or on the right."""
    images = torch.zeros(64, 3, 20, 24, dtype=torch.uint8)
    labels = torch.arange(64) % 2
    images[labels == 0, :, :, :12], images[labels == 1, :, :, 12:] = 200, 200
    net = fitted((3, 20, 24), 2, lambda step: (images, labels), steps=12, seed=0)
    assert (outputs(net, images).argmax(1) == labels).all()
    again = fitted((3, 20, 24), 2, lambda step: (images, labels), steps=12, seed=0)
    assert all(torch.equal(a, b) for a, b in zip(net.state_dict().values(), again.state_dict().values(), strict=True))


def test_a_study_from_end_to_end_and_again(run: mg.Run, tmp_path: Path) -> None:
    found = mg.study(run, **QUICK, write=tmp_path / "mix")
    assert json.loads(json.dumps(found)) == found
    assert set(found["arms"]) == {
        "real only", "real, augmented", "real + 1x synthetic", "real + 1x filtered",
        "real + 1x filtered by density", "real + 1x filtered, augmented",
        "synthetic only",
    }  # fmt: skip
    assert found["protocol"]["test_images"] == 500 and found["protocol"]["real_images"] == 4500
    assert (tmp_path / "mix").exists() == bool(found["best"])
    (ledger,) = (run.path / "studies").glob("*.json")
    rows = json.loads(ledger.read_text())
    rows["right"].pop("synthetic only, seed 1")  # as if it had been killed before the last
    ledger.write_text(json.dumps(rows))
    assert mg.study(run, **QUICK) == found


def test_training_images_are_left_out_of_the_test(run: mg.Run, tmp_path: Path) -> None:
    digits = open_data("digits")
    some = np.concatenate([digits.heldout[::5], digits.train[::90]])
    images = digits.records(some).permute(0, 2, 3, 1).numpy()
    np.savez(tmp_path / "test.npz", images=images, labels=np.array(digits.classes)[digits.labels[some]])
    found = mg.study(run, test=tmp_path / "test.npz", **QUICK)
    assert found["protocol"]["test_images"] == 100
    left_out, wide = found["notes"]
    assert left_out == "50 of 150 test images were left out: they are training images"
    assert wide.startswith("intervals over 2 trainings are wide") and QUICK["seeds"] == 2


@pytest.mark.parametrize(
    "asked, says",
    [
        ({"seeds": 1}, "at least 2"),
        ({"ratios": (0.0,)}, "above 0"),
        ({"ratios": (500.0,)}, "at most"),
        ({"data": "grid"}, "points"),
        ({"write": "."}, "exists already"),
    ],
)
def test_what_cannot_be_studied_is_refused(run: mg.Run, asked: dict, says: str) -> None:
    with pytest.raises(UserError, match=says):
        mg.study(run, **QUICK | asked)


def test_a_run_without_classes_is_refused(tmp_path: Path) -> None:
    plain = mg.train(
        "digits", out=tmp_path / "plain", samples=16, settings={**SMALL, "task": "unconditional"}, quiet=True
    )
    with pytest.raises(UserError, match="without classes"):
        mg.study(plain, **QUICK)


def test_a_run_on_points_is_refused(tmp_path: Path) -> None:
    points = mg.train("ring", out=tmp_path / "points", samples=64, settings={"batch": 8}, quiet=True)
    with pytest.raises(UserError, match="study is for image samples, and these are points of 2"):
        mg.study(points, **QUICK)
