"""A run from its command to its report: trained, killed, resumed, sampled, evaluated, and read by a later version."""

from __future__ import annotations

import dataclasses
import inspect
import json
import os
import pydoc
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

import mulligan as mg
from mulligan.core import registry
from mulligan.core.errors import UserError
from mulligan.core.formats import FORMAT
from mulligan.core.run import RunFolder
from mulligan.engine import checkpoint
from mulligan.engine.loop import Stop
from mulligan.runs.parts import load_parts

SMALL = {"generator.width": 8, "discriminator.width": 8, "batch": 8}
load_parts()


@pytest.fixture(scope="module")
def digits_run(tmp_path_factory: pytest.TempPathFactory) -> mg.Run:
    return mg.train("digits", out=tmp_path_factory.mktemp("runs") / "a", samples=160, settings=SMALL, quiet=True)


def test_what_a_run_leaves_behind(digits_run: mg.Run) -> None:
    folder = digits_run.folder
    for path in (folder.recipe, folder.run, folder.stats, folder.summary, folder.report):
        assert path.stat().st_size > 0
    assert {"progress", "metric", "event"} == {row["kind"] for row in folder.rows()}
    summary = digits_run.summary
    assert summary["status"] == "finished" and summary["samples_seen"] == 160
    assert summary["samples_per_second"] > 0 and summary["seconds"] > 0
    assert {"fid", "kid", "kid_se", "precision", "recall", "density", "coverage"} <= set(summary["metrics"])
    assert summary["protocol"]["split"] == "heldout" and summary["protocol"]["num_real"] == 500
    assert len(list(folder.samples.glob("*.png"))) == len(list(folder.rows("metric")))
    assert list(folder.tensorboard.glob("events*"))
    assert folder.samples.joinpath("000000160.png").exists(), "the last step is always evaluated"


def test_the_same_command_again_is_done_at_once(digits_run: mg.Run) -> None:
    before = digits_run.folder.stats.read_bytes()
    again = mg.train("digits", out=digits_run.path, samples=160, settings=SMALL, quiet=True)
    assert again.folder.stats.read_bytes() == before


def test_another_command_may_not_overwrite_a_run(digits_run: mg.Run, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds a run with another recipe"):
        mg.train("digits", out=digits_run.path, samples=320, settings=SMALL, quiet=True)
    with pytest.raises(UserError, match="another seed"):
        mg.train("digits", out=digits_run.path, samples=160, settings=SMALL, seed=1, quiet=True)
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(UserError, match=r"thesis\.txt"):
        mg.train("digits", out=tmp_path, samples=160, settings=SMALL, quiet=True)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]


def test_samples_are_a_function_of_seed_and_position(digits_run: mg.Run, tmp_path: Path) -> None:
    many = digits_run.sample(130, seed=3, out=tmp_path / "s.npz")
    few = mg.load(digits_run.path).sample(5, seed=3)
    assert torch.equal(many[:5], few)
    assert not torch.equal(few, digits_run.sample(5, seed=4))
    saved = np.load(tmp_path / "s.npz")
    assert saved["images"].shape == (130, 28, 28, 1) and saved["images"].dtype == np.uint8
    assert np.array_equal(saved["images"][..., 0], many[:, 0].numpy())
    if digits_run.classes:
        assert saved["labels"].shape == (130,) and len(set(saved["labels"].tolist())) == 10


def test_sampling_by_class(digits_run: mg.Run, tmp_path: Path) -> None:
    if not digits_run.classes:
        pytest.skip("the default recipe is not trained by class")
    digits_run.sample(7, class_="3", out=tmp_path / "threes.npz")
    assert np.load(tmp_path / "threes.npz")["labels"].tolist() == [3] * 7
    with pytest.raises(UserError, match="class 'x' is not one of 0, 1"):
        digits_run.sample(1, class_="x")


def test_truncation_narrows_the_noise() -> None:
    from mulligan.engine.sampling import noise_at

    z = torch.stack([noise_at(0, i, (64,), truncation=0.5) for i in range(50)])
    assert z.abs().max() <= 1.0 and z.std() > 0.4
    assert noise_at(0, 0, (1000,)).abs().max() > 2.0


def test_evaluate_gives_its_protocol(digits_run: mg.Run) -> None:
    result = digits_run.evaluate(samples=100)
    assert result["protocol"]["num_fake"] == 100 and result["protocol"]["features_stamp"]
    assert json.loads(json.dumps(result)) == result
    assert digits_run.evaluate(samples=100) == result
    assert set(result["classes"]) == set("0123456789")
    mean = sum(numbers["accuracy"] for numbers in result["classes"].values()) / 10
    assert result["metrics"]["class_accuracy"] == pytest.approx(mean) and 0 <= mean <= 1


@pytest.mark.parametrize("name", list(registry.recipes))
def test_every_recipe_trains_breaks_resumes_and_samples(
    name: str, tmp_path: Path, random_images: Path, other_images: Path
) -> None:
    """Two steps at once give the same bytes as one step, a resume and another step."""
    step = 2 * registry.recipes[name]().d_turns
    order = {
        "recipe": name,
        "samples": 2 * step,
        "settings": {**tiny(name), "batch": 2},
        "quiet": True,
        "features": "random",
    }
    data = (random_images, other_images) if registry.recipes[name]().task.name == "style" else (random_images,)
    whole = mg.train(*data, out=tmp_path / "whole", **order)
    leave_after_one_step(data, tmp_path / "broken", order)
    broken = mg.train(*data, out=tmp_path / "broken", **order)
    assert weights_file(whole) == weights_file(broken)
    assert broken.sample(3).shape == (3, 1, 64, 64)


@pytest.mark.parametrize(
    "settings",
    [
        {"augment": {"name": "ada", "target": 0.0}, "loss": "relativistic"},
        {"augment": "apa", "augment.p": 0.3},
        {"terms.lecam": 0.1, "terms.r1": {"sigma": 0.01, "share": 0.5}},
        {"discriminator.class_by": "classifier", "terms.auxiliary": 0.5},
    ],
    ids=str,
)
def test_every_part_resumes(settings: dict[str, object], tmp_path: Path) -> None:
    order = {"samples": 16, "settings": {**tiny("digits"), "batch": 4, **settings}, "quiet": True, "features": "random"}
    whole = mg.train("digits", out=tmp_path / "whole", **order)
    leave_after_one_step(("digits",), tmp_path / "broken", order)
    assert weights_file(whole) == weights_file(mg.train("digits", out=tmp_path / "broken", **order))


def tiny(name: str) -> dict[str, object]:
    """Settings that make a recipe's networks small: options of width, with as many values as before."""
    recipe, found = registry.recipes[name]().resolve().as_json(), {}
    for player in ("generator", "discriminator"):
        if "width" in recipe[player]:
            found[f"{player}.width"] = min(8, recipe[player]["width"] // 8)
        if "most" in recipe[player]:
            found[f"{player}.most"] = 8
        if "patch" in recipe[player]:
            found |= {f"{player}.patch": 8, f"{player}.depth": min(4, recipe[player]["depth"])}
        if recipe[player].get("widths"):
            found[f"{player}.widths"] = [8] * min(5, len(recipe[player]["widths"]))
            found |= {f"{player}.group": 8} if "group" in recipe[player] else {}
        if "base" in recipe[player]:  # networks that grow thinner with the grid
            found |= {f"{player}.base": 128, f"{player}.most": 8}
    return found


@pytest.fixture(scope="module")
def random_images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """30 images of three classes, of a size that suits every recipe."""
    path = tmp_path_factory.mktemp("data") / "noise.npz"
    images = np.random.default_rng(0).integers(0, 255, (30, 64, 64), dtype=np.uint8)
    np.savez(path, images=images, labels=np.arange(30) % 3)
    return path


@pytest.fixture(scope="module")
def other_images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """20 more, for recipes that translate between two sets of images."""
    path = tmp_path_factory.mktemp("data") / "other.npz"
    np.savez(path, images=np.random.default_rng(1).integers(0, 255, (20, 64, 64), dtype=np.uint8))
    return path


def leave_after_one_step(data: tuple[Path | str, ...], out: Path, order: dict) -> None:
    from mulligan.runs.observer import RunObserver

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RunObserver, "pause", lambda self, state: Stop("interrupted", "asked to stop"))
        run = mg.train(*data, out=out, **order)
    assert run.summary["status"] == "interrupted" and run.summary["steps"] == 1


def weights_file(run: mg.Run) -> bytes:
    return checkpoint.step_files(run.folder.checkpoints)[-1].read_bytes()


def command(out: Path, *more: str) -> list[str]:
    settings = [f"--set={path}={value}" for path, value in SMALL.items()]
    return [sys.executable, "-m", "mulligan", "train", "digits", "--out", str(out), *settings, *more]


LENGTH = ("--samples", "1600", "--quiet")


@pytest.fixture(scope="module")
def unkilled(tmp_path_factory: pytest.TempPathFactory) -> mg.Run:
    out = tmp_path_factory.mktemp("unkilled") / "whole"
    subprocess.run(command(out, *LENGTH), check=True, capture_output=True)
    return mg.load(out)


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
@pytest.mark.parametrize("name", ["SIGKILL", "SIGTERM", "SIGINT"])  # Windows has no number for the first
def test_a_killed_process_resumes_to_the_same_bytes(name: str, unkilled: mg.Run, tmp_path: Path) -> None:
    process = subprocess.Popen(command(tmp_path / "killed", *LENGTH), stderr=subprocess.PIPE, stdout=subprocess.PIPE)
    samples = RunFolder(tmp_path / "killed").samples
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and len(list(samples.glob("*.png"))) < 3:
        time.sleep(0.02)
    process.send_signal(getattr(signal, name))
    out, err = process.communicate(timeout=60)
    if name != "SIGKILL":
        assert process.returncode == 130, err
        assert b"same command again" in out
        assert checkpoint.step_files(RunFolder(tmp_path / "killed").checkpoints)
    subprocess.run(command(tmp_path / "killed", *LENGTH), check=True, capture_output=True)
    whole, killed = unkilled, mg.load(tmp_path / "killed")
    assert weights_file(whole) == weights_file(killed)
    assert (whole.folder.checkpoints / "best.safetensors").read_bytes() == (
        killed.folder.checkpoints / "best.safetensors"
    ).read_bytes()
    for kind in ("metric", "progress"):
        steps = [row["step"] for row in killed.folder.rows(kind)]
        assert steps == sorted(set(steps)) == [row["step"] for row in whole.folder.rows(kind)]


def test_minutes_become_a_count_of_samples_once(tmp_path: Path) -> None:
    started = time.monotonic()
    run = mg.train("digits", out=tmp_path / "m", minutes=0.3, settings=SMALL, quiet=True)
    taken = time.monotonic() - started
    assert run.description["budget_samples"] == run.summary["samples_seen"] > 0
    assert taken < 40, "a loose bound: the machine may be busy with other tests"


def test_divergence_stops_the_run_and_says_so(tmp_path: Path) -> None:
    run = mg.train(
        "digits", out=tmp_path / "d", samples=4000, quiet=True, guard="off",
        settings={**SMALL, "optimizer.generator.lr": 1e30},
    )  # fmt: skip
    assert run.summary["status"] == "diverged"
    assert "not a number" in run.summary["why"]
    assert any(row["what"] == "stopped" for row in run.folder.rows("event"))


def test_a_damaged_run_is_one_clear_line(digits_run: mg.Run, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(digits_run.path, copy)
    best = copy / "checkpoints" / "best.safetensors"
    best.write_bytes(best.read_bytes()[:1000])
    with pytest.raises(UserError, match=r"best\.safetensors.*safetensors"):
        mg.load(copy).sample(1)
    recipe = json.loads((copy / "recipe.json").read_text())
    recipe["generator"]["name"] = "os.system"
    (copy / "recipe.json").write_text(json.dumps(recipe))
    with pytest.raises(UserError, match=r"recipe\.json.*unknown generator 'os\.system'"):
        mg.load(copy)
    with pytest.raises(UserError, match="no such run folder"):
        mg.load(tmp_path / "nowhere")


def test_checkpoints_are_safetensors(digits_run: mg.Run) -> None:
    files = list(digits_run.folder.checkpoints.iterdir())
    assert {path.suffix for path in files} == {".safetensors", ".json"}
    with safe_open(digits_run.folder.checkpoints / "best.safetensors", "pt") as file:
        assert {name.partition(".")[0] for name in file.keys()} == {"ema", "g", "d", "optimizer"}  # noqa: SIM118


V1 = Path(__file__).parent / "data" / "run-v1"  # written by the version whose run folders were of format 1
AS_WRITTEN = torch.backends.cpu.get_cpu_capability() == "AVX512"  # by the kind of processor that computed them
GRID = {"batch": 16, "generator.widths": "16,16", "discriminator.widths": "16"}


@pytest.mark.parametrize(("name", "noun", "best"), [("digits", "images", 16), ("grid", "points", 64)])
def test_a_run_folder_of_format_1_is_read(name: str, noun: str, best: int, tmp_path: Path) -> None:
    run = mg.load(shutil.copytree(V1 / name, tmp_path / name), device="cpu")
    expected, made = torch.from_numpy(np.load(V1 / f"{name}-samples.npy")), run.sample(4, seed=1)
    if AS_WRITTEN:
        assert torch.equal(made, expected)
    assert made.dtype == expected.dtype
    torch.testing.assert_close(made, expected, rtol=1e-4, atol=0 if made.is_floating_point() else 1)
    assert run.classes == (list("0123456789") if name == "digits" else []) and run.sample_kind.noun == noun
    assert [row["samples"] for row in run.folder.rows("progress")] == list(
        range(16, run.summary["samples_seen"] + 1, 16)
    )

    found = mg.diagnose(run.path)
    assert (found["status"], found["noun"], found["best"]) == ("finished", noun, best)
    assert [finding["name"] for finding in found["findings"]] == ["a short run"]

    measured = mg.evaluate(run.path, samples=64, groups=["quality"], device="cpu")
    assert measured["protocol"]["checkpoint"] == f"{name} after {best} {noun}"
    assert measured["metrics"]["kid"] > 0 and ("modes" in measured["metrics"]) == (name == "grid")
    page = run.folder.report.read_text()  # `evaluate` writes it
    assert run.recipe.name in page and f"{run.summary['samples_seen']}" in page


def test_a_run_of_format_1_is_resumed_to_the_same_weights(tmp_path: Path) -> None:
    """It was interrupted after one of four steps; the version that began it wrote what all four come to."""
    out = shutil.copytree(V1 / "grid-interrupted", tmp_path / "grid")
    run = mg.train("grid", out=out, samples=64, settings=GRID, device="cpu", quiet=True)
    assert run.summary["status"] == "finished" and run.summary["steps"] == 4
    assert [row["step"] for row in run.folder.rows("progress")] == [1, 2, 3, 4]
    if AS_WRITTEN:
        assert weights_file(run) == (V1 / "grid" / "checkpoints" / "best.safetensors").read_bytes()


def test_a_finished_run_of_format_1_is_known_by_its_command(tmp_path: Path) -> None:
    out = shutil.copytree(V1 / "grid", tmp_path / "grid")
    before = (out / "stats.jsonl").read_bytes()
    mg.train("grid", out=out, samples=64, settings=GRID, device="cpu", quiet=True)
    assert (out / "stats.jsonl").read_bytes() == before


@pytest.mark.parametrize(
    ("written", "complaint"),
    [
        ({"format": 99}, f"is of format 99.*reads up to format {FORMAT}"),
        ({"format": None}, "does not say which format it has"),
        ({"format": "2"}, "does not say which format it has"),
        ({"format": 0}, "does not say which format it has"),
    ],
    ids=str,
)
def test_a_run_folder_of_no_known_format_is_refused(written: dict[str, object], complaint: str, tmp_path: Path) -> None:
    copy = shutil.copytree(V1 / "grid", tmp_path / "grid")
    described = json.loads((copy / "run.json").read_text()) | written
    (copy / "run.json").write_text(json.dumps({key: value for key, value in described.items() if value is not None}))
    for opened in (lambda: mg.load(copy), lambda: mg.diagnose(copy), lambda: mg.evaluate(copy)):
        with pytest.raises(UserError, match=rf"run\.json: {complaint}") as refused:
            opened()
        assert "\n" not in str(refused.value)


def test_an_order_says_the_same_as_keywords(tmp_path: Path) -> None:
    fields = {"recipe": "dcgan", "samples": 16, "seed": 3, "settings": SMALL, "features": "random", "guard": "warn"}
    order = mg.Order(data="digits", read={"size": 32}, **fields)
    one = mg.train(order, out=tmp_path / "order", quiet=True)
    other = mg.train("digits", out=tmp_path / "keywords", quiet=True, read={"size": 32}, **fields)
    assert one.description["asked"] == other.description["asked"]
    assert weights_file(one) == weights_file(other)
    assert one.description["asked"]["data"]["options"] == {"size": 32} and one.sample(1).shape == (1, 1, 32, 32)
    with pytest.raises(UserError, match="another seed"):
        mg.train(dataclasses.replace(order, seed=4), out=one.path, quiet=True)


@pytest.mark.parametrize("function", [mg.train, mg.dry_run], ids=lambda function: function.__name__)
def test_the_fields_of_an_order_are_in_signatures(function: Callable) -> None:
    parameters = inspect.signature(function).parameters
    for field in dataclasses.fields(mg.Order):
        assert field.name in parameters, field.name
        if field.default is not dataclasses.MISSING and field.name != "data":
            assert parameters[field.name].default == field.default
        assert f"{field.name}:" in pydoc.render_doc(function)
    assert "fields" not in parameters, "keywords are named one by one"
