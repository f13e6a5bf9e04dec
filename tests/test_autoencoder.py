"""A GAN behind a frozen autoencoder: what it keeps of pictures, and a run from its command to its samples."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

import mulligan as mg
from mulligan.cli import main
from mulligan.core.batch import to_float
from mulligan.core.errors import UserError
from mulligan.data import open_data
from mulligan.engine.loop import Stop
from mulligan.models.coder import Coder, halvings_for
from mulligan.runs import autoencoder as api
from mulligan.runs.parts import load_parts

load_parts()
CPU = torch.device("cpu")
SMALL = {"generator.width": 8, "discriminator.width": 8, "batch": 4}


def quiet(done: int, total: int) -> None:
    pass


@pytest.fixture(scope="module", autouse=True)
def trained_briefly() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(api, "STEPS", 100)
        yield


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Crosses of two colours on a third, RGB, 32 x 32: sharp edges, which a blur loses."""
    rng = np.random.default_rng(0)
    images = np.empty((96, 32, 32, 3), np.uint8)
    for image in images:
        image[:] = rng.integers(0, 100, 3)
        for axis in (0, 1):
            at, wide = rng.integers(2, 26), rng.integers(2, 6)
            image[(slice(at, at + wide), slice(None)) if axis else (slice(None), slice(at, at + wide))] = rng.integers(
                120, 256, 3
            )
    path = tmp_path_factory.mktemp("shapes") / "shapes.npz"
    np.savez(path, images=images)
    return path


@pytest.fixture(scope="module")
def made(shapes: Path, trained_briefly: None) -> api.Latents:
    return api.latents_of("self", open_data(shapes), CPU, progress=quiet)


def error(a: Tensor, b: Tensor) -> float:
    return F.mse_loss(a, b).item()


def test_a_picture_comes_back_better_than_blurred(shapes: Path, made: api.Latents) -> None:
    data = open_data(shapes)
    unseen = to_float(data.records(data.heldout))
    again = made.autoencoder.decode(made.data.records(data.heldout))
    blurred = F.interpolate(F.avg_pool2d(unseen, 2), scale_factor=2, mode="bilinear")
    assert again.shape == unseen.shape
    assert error(again, unseen) < 0.8 * error(blurred, unseen)


def test_latents_are_centred_and_within_reach_of_tanh(shapes: Path, made: api.Latents) -> None:
    data = open_data(shapes)
    latents = made.data.records(data.train)
    assert latents.shape == (len(data.train), *made.data.shape) and made.data.shape == (4, 16, 16)
    assert latents.dtype == torch.float32 and latents.abs().max() <= 1
    assert latents.mean((0, 2, 3)).abs().max() < 0.02
    torch.testing.assert_close(latents.std((0, 2, 3)), torch.full((4,), 0.25), atol=0.03, rtol=0)
    assert made.encoded.clipped == pytest.approx((latents.abs() >= 1).float().mean().item(), abs=1e-6)
    assert made.encoded.clipped < 0.02 and "of their numbers are clipped, decoded pictures have a PSNR of " in str(made)


def test_it_is_learnt_and_encoded_once(shapes: Path, made: api.Latents, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "learnt", lambda *_, **__: pytest.fail("it is in the cache"))
    monkeypatch.setattr(Coder, "encode", lambda *_: pytest.fail("they are in the cache"))
    again = api.latents_of("self", open_data(shapes), CPU, progress=quiet)
    assert again.stamp == made.stamp
    assert torch.equal(again.data.records([3, 1]), made.data.records([3, 1]))


def test_images_alone_decide_what_it_learns(shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "STEPS", 4)
    monkeypatch.setattr(api, "LEAST", 9)
    stamps = set()
    for seed in (1, 2):
        monkeypatch.setenv("MULLIGAN_CACHE", str(tmp_path / str(seed)))
        torch.manual_seed(seed)
        stamps.add(api.latents_of("self", open_data(shapes), CPU, progress=quiet).stamp)
    assert len(stamps) == 1


@pytest.mark.parametrize(
    ("sides", "halvings"), [((28, 28), 1), ((32, 32), 1), ((56, 56), 1), ((64, 96), 2), ((256, 256), 3)]
)
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_what_is_encoded_is_smaller(sides: tuple[int, int], halvings: int, channels: int) -> None:
    assert halvings_for(*sides) == halvings
    net, images = Coder(channels, halvings), torch.zeros(2, channels, *sides)
    latents = net.encode(images)
    assert latents.shape == (2, net.channels, sides[0] >> halvings, sides[1] >> halvings)
    assert net.decode(latents).shape == images.shape and 2 * latents.numel() <= images.numel()


def test_one_that_has_learnt_nothing_is_not_used(shapes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "STEPS", 1)
    monkeypatch.setattr(
        Coder, "decode", lambda self, latents: torch.zeros(len(latents), 3, 32, 32) + 0 * latents.mean()
    )
    with pytest.raises(UserError, match="has not learnt to reconstruct these pictures"):
        api.latents_of("self", open_data(shapes), CPU, progress=quiet)


def weights_file(run: mg.Run) -> bytes:
    return sorted(run.folder.checkpoints.glob("step-*.safetensors"))[-1].read_bytes()


def broken_after_a_step(data: Path, out: Path, order: dict) -> None:
    def stop(observer: object, state: object) -> Stop:
        return Stop("interrupted", "asked to stop")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mulligan.runs.observer.RunObserver.pause", stop)
        mg.train(data, out=out, **order)


@pytest.mark.parametrize("recipe", ["digits", "gat"])
def test_a_run_breaks_resumes_and_samples(recipe: str, shapes: Path, tmp_path: Path, made: api.Latents) -> None:
    """The same bytes, also where the cache has been cleared in between: the run has all that it needs."""
    own = {"generator.patch": 4, "discriminator.patch": 4} if recipe == "gat" else {}
    order = {
        "recipe": recipe, "samples": 8, "settings": {**SMALL, **own}, "quiet": True, "features": "random",
        "autoencoder": "self",
    }  # fmt: skip
    whole = mg.train(shapes, out=tmp_path / "whole", **order)
    broken_after_a_step(shapes, tmp_path / "broken", order)
    assert json.loads((tmp_path / "broken" / "summary.json").read_text())["status"] == "interrupted"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MULLIGAN_CACHE", str(tmp_path / "cleared"))
        patch.setattr(api, "learnt", lambda *_, **__: pytest.fail("the run has it"))
        broken = mg.train(shapes, out=tmp_path / "broken", **order)
    assert weights_file(whole) == weights_file(broken)
    assert whole.description["autoencoder"]["shape"] == [4, 16, 16] and whole.summary["metrics"]["fid"] > 0

    shapes.rename(shapes.with_suffix(".away"))  # samples need no data
    try:
        samples = mg.load(whole.path).sample(3, out=tmp_path / "grid.png")
    finally:
        shapes.with_suffix(".away").rename(shapes)
    assert samples.shape == (3, 3, 32, 32) and samples.dtype == torch.uint8
    assert torch.equal(samples, broken.sample(3))
    assert whole.evaluate(samples=20)["protocol"]["num_fake"] == 20


def test_latent_spaces_and_styles_are_those_of_g(shapes: Path, tmp_path: Path, made: api.Latents) -> None:
    import mulligan.api as full

    small = {f"{side}.{name}": 8 for side in ("generator", "discriminator") for name in ("base", "most")}
    run = mg.train(
        shapes, out=tmp_path / "run", recipe="stylegan2", samples=8, quiet=True, features="random",
        settings=small | {"batch": 4},
        autoencoder="self",
    )  # fmt: skip
    pictures = run.sample(2)
    finder = full.LatentFinder(run, search=full.SearchSettings(steps=2, starts=2, draws=4))
    (found,) = finder(pictures)
    assert finder.space.name == "w" and found.images.shape == pictures.shape


def test_a_changed_or_missing_file_is_named(shapes: Path, tmp_path: Path, made: api.Latents) -> None:
    path = tmp_path / "run" / "autoencoder.safetensors"
    api.save_with_run(path, "self", made)
    assert torch.equal(
        api.read_saved(path, "self", CPU).decode(made.data.records([0])),
        made.autoencoder.decode(made.data.records([0])),
    )
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(UserError, match=r"autoencoder\.safetensors: not a valid autoencoder"):
        api.read_saved(path, "self", CPU)
    path.unlink()
    with pytest.raises(UserError, match=r"autoencoder\.safetensors: no such file; the run cannot make pictures"):
        api.read_saved(path, "self", CPU)


@pytest.mark.parametrize(
    ("data", "options", "line"),
    [
        ("SHAPES", ["--autoencoder", "slef"], "slef: no such folder; valid: self, or a folder with config.json"),
        ("SHAPES", ["--autoencoder", "."], r"has no config\.json; valid"),
        ("ring", ["--autoencoder", "self"], "--autoencoder is for image samples, and these are points of 2"),
        ("SHAPES", ["--autoencoder", "self", "--task", "denoise"], "task=denoise makes them from images"),
        ("SHAPES", ["--autoencoder", "self", "--size", "31"], "not possible from 31x31; try --size 32x32"),
        ("SHAPES", ["--autoencoder", "self", "--size", "28"], r"try --size 32x32 \(networks see latents, 2 times"),
    ],
)
def test_what_cannot_be_is_refused_in_a_line(
    data: str,
    options: list[str],
    line: str,
    shapes: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    words = [
        "mulligan",
        "train",
        str(shapes) if data == "SHAPES" else data,
        *options,
        "--dry-run",
        "--quiet",
        "--minutes",
        "1",
    ]
    monkeypatch.setattr(sys, "argv", words)
    monkeypatch.chdir(shapes.parent)
    monkeypatch.setattr(api, "own", lambda *_: pytest.fail("was trained before it was refused"))
    with pytest.raises(SystemExit) as ended:
        main()
    (said,) = capsys.readouterr().err.strip().splitlines()
    assert ended.value.code == 2 and re.search(line, said), said


needs_diffusers = pytest.mark.skipif(
    importlib.util.find_spec("diffusers") is None, reason="diffusers is not installed (pip install 'mulligan[latent]')"
)


@pytest.fixture
def published(tmp_path: Path) -> Callable[..., Path]:
    """Makes a folder as diffusers saves an autoencoder, of random weights."""

    def make(name: str = "vae", channels: int = 3) -> Path:
        from diffusers import AutoencoderKL

        torch.manual_seed(0)
        blocks = {"down_block_types": ["DownEncoderBlock2D"] * 2, "up_block_types": ["UpDecoderBlock2D"] * 2}
        net = AutoencoderKL(
            in_channels=channels, out_channels=channels, latent_channels=4, block_out_channels=(8, 16),
            norm_num_groups=4, layers_per_block=1, **blocks,
        )  # fmt: skip
        net.save_pretrained(tmp_path / name, safe_serialization=True)
        return tmp_path / name

    return make


@needs_diffusers
def test_a_folder_of_diffusers(published: Callable[..., Path], shapes: Path, tmp_path: Path) -> None:
    folder = published()
    order = {
        "recipe": "digits", "samples": 8, "settings": SMALL, "quiet": True, "features": "random",
        "autoencoder": str(folder),
    }  # fmt: skip
    run = mg.train(shapes, out=tmp_path / "run", **order)
    assert run.sample(2).shape == (2, 3, 32, 32) and run.description["autoencoder"]["shape"] == [4, 16, 16]
    broken_after_a_step(shapes, tmp_path / "broken", order)
    assert weights_file(run) == weights_file(mg.train(shapes, out=tmp_path / "broken", **order))
    assert (run.folder.autoencoder).stat().st_size < 2_000, "weights of others are not copied"

    with pytest.raises(UserError, match="takes pictures of 3 channels, not 1"):
        mg.train(shapes, out=tmp_path / "x", **order, read={"channels": 1})
    with pytest.raises(UserError, match=r"multiples of 2, not 31x31; try --size 32x32"):
        mg.train(shapes, out=tmp_path / "x", **order, read={"size": 31})

    weights = folder / "diffusion_pytorch_model.safetensors"
    weights.rename(folder / "away")
    with pytest.raises(UserError, match="has no diffusion_pytorch_model"):
        mg.load(run.path).sample(1)
    (folder / "away").rename(weights)
    torch.manual_seed(1)
    from safetensors.torch import load_file, save_file

    tensors = load_file(weights)
    save_file({name: 2 * tensor for name, tensor in tensors.items()}, weights)
    with pytest.raises(UserError, match="its weights have changed since"):
        mg.load(run.path).sample(1)
    save_file({name: tensor for name, tensor in tensors.items() if "conv_in" not in name}, weights)
    with pytest.raises(UserError, match="lacks 4 of its tensors"):
        mg.load(run.path).sample(1)
    weights.write_bytes(b"\x80\x04pickle")
    with pytest.raises(UserError, match="cannot be read"):
        mg.load(run.path).sample(1)


@pytest.mark.skipif(importlib.util.find_spec("diffusers") is not None, reason="diffusers is here")
def test_a_missing_library_names_its_extra(shapes: Path, tmp_path: Path) -> None:
    for name in ("config.json", "diffusion_pytorch_model.safetensors"):
        (tmp_path / name).write_text("{}")
    with pytest.raises(UserError, match=r"pip install 'mulligan\[latent\]'"):
        mg.train(shapes, out=tmp_path / "run", quiet=True, autoencoder=str(tmp_path))
