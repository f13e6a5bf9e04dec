"""Images from images, through the same loop: trained, evaluated, measured; and pairs as data."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import mulligan as mg
from mulligan.core import registry
from mulligan.core.batch import to_float
from mulligan.core.condition import Condition, ConditionSpec, Field
from mulligan.core.errors import UserError
from mulligan.core.recipe import Part
from mulligan.core.run import read_json
from mulligan.core.step import Step
from mulligan.data import open_data
from mulligan.kinds.image import ImageSample
from mulligan.metrics.pictures import psnr
from mulligan.models.patch import PatchDiscriminator
from mulligan.models.unet import Translator, UNetGenerator, finished
from mulligan.runs.dealing import Dealer
from mulligan.runs.parts import load_parts
from mulligan.terms.likeness import feature_matching, perceptual, total_variation
from tests.toys import NO_COND, toy_game

load_parts()
RGB = ImageSample(shape=(3, 32, 32))
TINY = {"generator.width": 8, "discriminator.width": 4, "batch": 4}
FAMILIES = {
    "unet": (UNetGenerator, {"width": 4}),
    "unet restore": (UNetGenerator, {"width": 4, "levels": 3, "kernel": 3, "norm": "none", "residual": True}),
    "unet gated": (UNetGenerator, {"width": 4, "levels": 2, "gated": True, "norm": "instance", "z": 5}),
    "translator": (Translator, {"width": 4, "blocks": 2}),
    "translator far": (Translator, {"width": 4, "blocks": 3, "dilations": (1, 2, 4), "residual": True, "z": 5}),
}


def image_condition(channels: int, mask: bool = False, size: tuple[int, int] = (32, 32)) -> ConditionSpec:
    masks = [Field("mask", (1, *size), along="HW")] if mask else []
    return ConditionSpec((Field("image", (channels, *size), along="HW"), *masks))


@pytest.mark.parametrize(("channels", "mask"), [(3, False), (1, False), (3, True)])
@pytest.mark.parametrize("family", FAMILIES)
def test_networks_make_images_of_any_size_and_reach_every_weight(family: str, channels: int, mask: bool) -> None:
    torch.manual_seed(0)
    make, options = FAMILIES[family]
    spec = image_condition(channels, mask)
    G = make(RGB, spec, **options)
    D = PatchDiscriminator(RGB, spec, width=4, strides=2, norm="none", spectral=True, scales=2)

    def cond_of(*size: int) -> Condition:
        image, holes = torch.rand(2, channels, *size), torch.rand(2, 1, *size).round()
        return Condition({"image": image, "mask": holes} if mask else {"image": image})

    if options.get("residual") and G.__class__ is UNetGenerator:
        nn.init.normal_(G.last[1].weight)  # zero at first
    for size in ((32, 32), (17, 45), (1, 1)):
        fake = G.eval()(torch.randn(2, *G.z_shape), cond_of(*size))
        assert fake.shape == (2, 3, *size) and fake.abs().max() <= 1
    cond = cond_of(32, 32)
    judgement = D(G.train()(torch.randn(2, *G.z_shape), cond), cond)
    assert [tuple(logit.shape[:1]) for logit in judgement.logits] == [(2,), (2,)] and len(judgement.features) == 6
    torch.stack([logit.square().mean() for logit in judgement.logits]).sum().backward()
    for net in (G, D):
        assert not [name for name, p in net.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]


def test_known_pixels_are_left_alone_in_half_precision_too() -> None:
    photo = to_float(torch.randint(0, 256, (2, 3, 8, 8), dtype=torch.uint8))
    mask = (torch.rand(2, 1, 8, 8) > 0.5).float()
    cond = Condition({"image": photo * (1 - mask), "mask": mask})
    made = finished(torch.randn(2, 3, 8, 8).bfloat16(), cond, 3, False, True)
    known = mask.expand_as(photo) == 0
    assert torch.equal(made[known], photo[known]) and not torch.equal(made, photo)


def test_psnr_on_constructed_answers() -> None:
    wanted = torch.full((2, 1, 4, 4), 100, dtype=torch.uint8)
    made = wanted.clone()
    made[1] += 51  # a fifth of 255
    assert psnr(made, wanted).tolist() == pytest.approx([100, 20 * np.log10(5)])


def test_terms_of_likeness() -> None:
    game = toy_game((1, 16, 16))
    real = torch.randn(3, 1, 16, 16).clamp(-1, 1)
    step = Step("g", game.g.net, game.d.net, torch.randn(3, 4), NO_COND, real, real.clone())
    for term in (feature_matching(), perceptual()):
        assert term.fn(step).tolist() == [0, 0, 0]
    flat = Step("g", game.g.net, game.d.net, torch.randn(3, 4), NO_COND, real, torch.zeros_like(real))
    assert total_variation().fn(flat).tolist() == [0, 0, 0] and (total_variation().fn(step) > 0).all()
    for term in (feature_matching(), perceptual()):
        assert term.fn(flat).shape == (3,) and (term.fn(flat) > 0).all()


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of two: b is a in negative; one has no partner. Beside it, the same side by side."""
    root = tmp_path_factory.mktemp("pairs")
    rng = np.random.default_rng(0)
    for side in ("a", "b", "both"):
        (root / side).mkdir()
    for index in range(20):
        pixels = rng.integers(0, 256, (16, 24, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / "a" / f"{index:02}.png")
        Image.fromarray(255 - pixels).save(root / "b" / f"{index:02}.bmp")
        Image.fromarray(np.concatenate([pixels, 255 - pixels], 1)).save(root / "both" / f"{index:02}.png")
    Image.fromarray(pixels).save(root / "a" / "alone.png")
    return root


def test_two_folders_and_pictures_side_by_side_are_the_same_pairs(pairs: Path) -> None:
    two, one = open_data(pairs, reader="pairs"), open_data(pairs / "both", reader="pairs")
    assert two.shape == one.shape == (3, 16, 24) and two.count == one.count == 20
    rows = np.arange(20)
    assert torch.equal(two.records(rows), one.records(rows)) and torch.equal(two.partners(rows), one.partners(rows))
    assert torch.equal(two.records(rows), 255 - two.partners(rows))
    assert two.checkup.unreadable == [["a/alone", "has no partner in b/"]]
    assert open_data(pairs, reader="pairs", size=(8, 12)).shape == (3, 8, 12)


def test_which_half_is_which_is_said_for_pictures_side_by_side(
    pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = []
    for data in (pairs, pairs / "both"):
        mg.train(data, out=tmp_path / data.name, recipe="restore", settings={"task": "pairs"}, samples=8)
        said.append("the left half of each picture, 3x16x24" in capsys.readouterr().err)
    assert said == [False, True]


def test_pictures_of_a_pair_vary_alike(pairs: Path) -> None:
    data, cpu = open_data(pairs, reader="pairs"), torch.device("cpu")
    jitter = registry.augmentations["jitter"]().vary
    for part, corrupts in ((Part("pairs"), False), (Part("denoise", most=0.0), True)):
        task = part.build(registry.tasks, data)
        varied, plain = (Dealer(task, data, cpu, 0, vary) for vary in (jitter, None))
        real, cond = varied.train(0, 6)
        assert list(cond) == ["image"] and real.shape == cond["image"].shape
        assert torch.equal(real, varied.train(0, 6).real)
        assert not torch.equal(real, plain.train(0, 6).real)
        assert torch.equal(varied.heldout(2).real, plain.heldout(2).real)
        if corrupts:  # the condition is made from the real image after it was varied
            assert torch.equal(real, cond["image"])
    real, cond = plain.train(0, 6)
    both = jitter(torch.cat([real, cond["image"]], 1), torch.Generator().manual_seed(0))
    torch.testing.assert_close(both[:, :3], both[:, 3:])


def test_what_are_no_pairs(pairs: Path, tmp_path: Path) -> None:
    for side, name in (("a", "x.png"), ("b", "y.png")):
        (tmp_path / side).mkdir()
        Image.new("L", (8, 8)).save(tmp_path / side / name)
    with pytest.raises(UserError, match="holds no pairs"):
        open_data(tmp_path, reader="pairs")
    with pytest.raises(UserError, match="a/ and b/"):
        open_data("digits", reader="pairs")


def test_what_has_no_partner_is_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every name: in the error, and where it is skipped, by `train` and `inspect`; also of two files one name."""
    for side, numbers in (("a", range(30)), ("b", range(3, 33))):
        (tmp_path / side).mkdir()
        for index in numbers:
            shade = np.random.default_rng(index).integers(0, 256, (16, 16), dtype=np.uint8)
            Image.fromarray(shade).save(tmp_path / side / f"{index:02}.png")
    Image.fromarray(shade).save(tmp_path / "a" / "10.bmp")
    with pytest.raises(UserError) as caught:
        open_data(tmp_path, reader="pairs")
    text = str(caught.value)
    assert "a/00, a/01, a/02 (has no partner in b/)" in text and "b/30, b/31, b/32 (has no partner in a/)" in text
    assert "a/10.png (has the same name as 10.bmp)" in text and "--max-bad 0.21" in text and "\n" not in text
    found = mg.inspect(tmp_path, reader="pairs", read={"max_bad": 0.3}).checkup
    assert [name for name, _ in found.unreadable] == ["a/10.png", "a/00", "a/01", "a/02", "b/30", "b/31", "b/32"]
    mg.train(
        tmp_path, out=tmp_path / "run", samples=4, settings={"task": "pairs", **TINY}, features="random", guard="off",
        read={"max_bad": 0.3},
    )  # fmt: skip
    assert "b/30, b/31, b/32 (has no partner in a/)" in capsys.readouterr().err


@pytest.mark.parametrize("task", [{"task": "pairs"}, {"task": "denoise", "task.noise": "poisson"}], ids=str)
def test_a_run_is_evaluated_and_measured(task: dict[str, str], pairs: Path, tmp_path: Path) -> None:
    data = pairs if task["task"] == "pairs" else pairs / "b"
    how = {"settings": {**task, **TINY}, "quiet": True, "features": "random"}
    run = mg.train(data, out=tmp_path / "run", samples=16, **how)
    summary = run.summary
    assert run.recipe.generator.name == "unet" and run.condition == image_condition(3, size=(16, 24))
    assert summary["metrics"]["psnr"] > 0 and summary["protocol"]["pairs"] == task["task"]
    evaluations = list(run.folder.rows("metric"))
    assert all(row["perceptual"] > 0 and row["perceptual_se"] > 0 for row in evaluations)
    (*_, best) = (row for row in run.folder.rows("event") if row["what"] == "best")
    assert best["why"].startswith("perceptual "), "what pairs are ranked by"
    with Image.open(max(run.folder.samples.glob("*.png"))) as sheet:
        assert sheet.width % (4 * 3 * 24 + 1) == 1, "what was given, made and wanted"
    assert run.sample(3).shape == (3, 3, 16, 24)
    assert torch.equal(run.sample(2), run.sample(30)[:2])
    found = run.evaluate(features="random")
    assert found["metrics"]["psnr"] == pytest.approx(mg.load(run.path).evaluate(features="random")["metrics"]["psnr"])
    assert found["protocol"]["pairs"] == task["task"]
    assert mg.train(data, out=tmp_path / "run", samples=16, **how).summary == summary, "the same command again"


def test_what_does_not_go_together_is_said(pairs: Path, tmp_path: Path) -> None:
    def refused(**how: object) -> str:
        with pytest.raises(UserError) as error:
            mg.train(pairs / "b", out=tmp_path / "x", samples=8, quiet=True, features="random", **how)
        assert not (tmp_path / "x").exists()
        return str(error.value)

    assert "does not take the condition 'image' that the task gives; valid generators: translator, unet" in refused(
        recipe="dcgan", settings={"task": "inpaint"}
    )
    assert "a task such as inpaint does (--task)" in refused(recipe="restore", settings={"task": "unconditional"})
    assert "augment=none" in refused(settings={"task": "inpaint", "augment": "diffaugment"})
    assert "did you mean 'inpaint'" in refused(settings={"task": "inpiant"})


def test_the_command_line_takes_a_task(pairs: Path, tmp_path: Path) -> None:
    words = ["train", pairs / "b", "--task", "superres", "--images", "8", "--out", tmp_path / "run", "--json"]
    small = [word for name, value in TINY.items() for word in ("--set", f"{name}={value}")]
    said = subprocess.run(
        [sys.executable, "-m", "mulligan", *map(str, words), *small], capture_output=True, text=True, timeout=120
    )
    assert said.returncode == 0, said.stderr
    assert json.loads(said.stdout)["protocol"]["pairs"] == "superres"
    assert read_json(tmp_path / "run" / "recipe.json")["task"]["name"] == "superres"
