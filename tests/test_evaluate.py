"""Samples from any source, measured against real ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import mulligan as mg
from mulligan.core.errors import UserError
from mulligan.data import open_data
from mulligan.measure import evaluation
from mulligan.runs.comparing import best_features

FAST: dict[str, Any] = {"groups": ["quality"]}


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """300 training digits, as if another program had made them."""
    digits = open_data("digits")
    path, rows = tmp_path_factory.mktemp("others") / "theirs.npz", digits.train[::15]
    images = digits.records(rows).permute(0, 2, 3, 1).numpy()
    np.savez(path, images=images, labels=np.array(digits.classes)[digits.labels[rows]])
    return path


def test_images_from_any_source_are_measured(others: Path) -> None:
    found = mg.evaluate(others, data="digits", **FAST)
    assert found["protocol"]["num_fake"] == 300 and found["protocol"]["num_real"] == 500
    assert found["protocol"]["checkpoint"] == "theirs.npz" and found["protocol"]["features"] == "digits"
    assert found["metrics"]["coverage"] > 0.8 and found["metrics"]["class_accuracy"] > 0.9
    assert json.loads(json.dumps(found)) == found
    assert mg.evaluate(others, data="digits", samples=100, **FAST)["protocol"]["num_fake"] == 100


def test_a_run_is_measured_as_by_its_own_method(tmp_path: Path) -> None:
    small = {"generator.width": 8, "discriminator.width": 8, "batch": 8}
    run = mg.train("digits", out=tmp_path / "run", samples=32, settings=small, quiet=True)
    assert mg.evaluate(run.path, samples=64, **FAST) == run.evaluate(samples=64)
    assert json.loads(run.folder.evaluation.read_text())["metrics"]["kid"] == run.evaluate(samples=64)["metrics"]["kid"]
    assert not run.folder.neighbours.exists()
    mg.evaluate(run.path, samples=64, groups=["copying"])
    assert Image.open(run.folder.neighbours).size[0] > Image.open(run.folder.neighbours).size[1]
    assert "No sign of copying" in run.folder.report.read_text()
    by_others = mg.evaluate(run.path, data="digits", samples=64, features="random", **FAST)
    assert by_others["protocol"]["features"] == "random"


def test_all_groups_have_their_numbers(others: Path) -> None:
    found = mg.evaluate(others, data="digits")
    assert found["notes"] == []
    assert {"fid", "kid", "fid_infinity", "gaussian", "told_apart", "inception_score", "swd", "likeness", "variety",
            "copying_p", "copied", "authenticity", "duplicates"} <= set(found["metrics"])  # fmt: skip
    for name, (low, high) in found["intervals"].items():
        assert low <= found["metrics"][name] <= high
    assert len(found["closest"]["fakes"]) == len(found["closest"]["train"]) == 24


def test_copies_are_called_copies_and_new_images_are_not(others: Path, tmp_path: Path) -> None:
    """`others` are training images; the held-out digits of another split are not."""
    copies = mg.evaluate(others, data="digits", groups=["copying"])
    assert copies["metrics"]["duplicates"] == 1 and copies["says"][0].startswith("They copy training images: 100.0%")
    digits = open_data("digits")
    new = digits.records(digits.heldout[::2]).permute(0, 2, 3, 1).numpy()
    np.savez(tmp_path / "new.npz", images=new)
    fresh = mg.evaluate(tmp_path / "new.npz", data="digits", groups=["copying"])
    found = fresh["metrics"]
    assert found["duplicates"] == pytest.approx(found["duplicates_of_real"], abs=0.05) and found["duplicates"] < 0.15
    assert fresh["says"][0].startswith("No sign of copying")


def test_models_are_compared(others: Path, tmp_path: Path) -> None:
    digits = open_data("digits")
    rows = digits.train[7::15]
    images = digits.records(rows).permute(0, 2, 3, 1).numpy()
    np.savez(tmp_path / "similar.npz", images=images)
    np.savez(
        tmp_path / "noisy.npz",
        images=np.clip(images + np.random.default_rng(0).normal(0, 60, images.shape), 0, 255).astype(np.uint8),
    )
    names = [str(others), str(tmp_path / "similar.npz"), str(tmp_path / "noisy.npz")]
    found = mg.compare(names, data="digits")
    assert json.loads(json.dumps(found)) == found and found["protocol"]["num_fake"] == 300
    assert found["best"] in names[:2] and set(found["differences"]) == set(names) - {found["best"]}
    (similar,) = set(names[:2]) - {found["best"]}
    verdicts = [[each["verdict"] for each in found["differences"][name].values()] for name in (similar, names[2])]
    assert sum(each == "no significant difference" for each in verdicts[0]) >= 4
    assert verdicts[1].count("worse") >= 5
    with pytest.raises(UserError, match="two or more"):
        mg.compare(names[:1], data="digits")


def test_the_data_set_itself_is_noticed() -> None:
    (note,) = mg.evaluate("digits", data="digits", samples=50, **FAST)["notes"]
    assert "the data set itself" in note


def test_what_cannot_be_measured_is_refused(others: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--data"):
        mg.evaluate(others)
    with pytest.raises(UserError, match="holds 300 images"):
        mg.evaluate(others, data="digits", samples=301)
    np.savez(tmp_path / "colour.npz", images=np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3), np.uint8))
    with pytest.raises(UserError, match=r"are 3x32x32, the images of digits 1x28x28; read both alike"):
        mg.evaluate(tmp_path / "colour.npz", data="digits")
    both = {"size": 28, "channels": 1}
    assert mg.evaluate(tmp_path / "colour.npz", data="digits", read=both, **FAST)["metrics"]["coverage"] < 0.2


@pytest.mark.parametrize("spec", ["digits", "stacked", "ring"])
def test_the_feature_net_made_for_the_data_is_used(spec: str) -> None:
    assert best_features("auto", open_data(spec)) == "auto" and best_features("random", open_data(spec)) == "random"


def test_other_images_are_measured_by_a_net_trained_on_them(tmp_path: Path) -> None:
    np.savez(tmp_path / "these.npz", images=np.random.default_rng(0).integers(0, 256, (60, 16, 16, 3), np.uint8))
    assert best_features("auto", open_data(tmp_path / "these.npz")) == "self"


def test_usefulness_tells_samples_of_the_class_from_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation, "STEPS", 60)  # enough for most
    data = open_data("digits")
    rows = data.train[::11]
    images, labels = data.records(rows).permute(0, 2, 3, 1).numpy(), data.labels[rows]
    names = np.array(data.classes)
    for name, ids in (("right", labels), ("wrong", (labels + 1) % 10)):
        np.savez(tmp_path / f"{name}.npz", images=images, labels=names[ids])
    right, wrong = (
        mg.evaluate(tmp_path / f"{name}.npz", data="digits", groups=["usefulness"]) for name in ("right", "wrong")
    )
    assert right["metrics"]["cas"] > 0.7 and right["metrics"]["cas_reversed"] > 0.7
    assert wrong["metrics"]["cas"] < 0.1 and wrong["metrics"]["cas_reversed"] < 0.1
    assert right["metrics"]["cas_of_real"] == wrong["metrics"]["cas_of_real"] > 0.7
    low, high = right["intervals"]["cas"]
    assert low < right["metrics"]["cas"] < high
    assert any("trained only on them" in sentence for sentence in right["says"])
