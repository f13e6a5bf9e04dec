"""A trained model on photos of any size and format, from the command line and from Python."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import mulligan.api as mg
from mulligan.core.condition import Condition, ConditionSpec, Field
from mulligan.core.errors import UserError
from mulligan.kinds.image import ImageSample
from mulligan.models.unet import Translator, UNetGenerator
from mulligan.translate.tiles import applied, spans

TINY = {"generator.width": 8, "discriminator.width": 4, "batch": 4}


@pytest.fixture(scope="module")
def colours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "colours.npz"
    np.savez(path, images=np.random.default_rng(0).integers(0, 255, (24, 16, 16, 3), dtype=np.uint8))
    return path


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, colours: Path) -> dict[str, mg.Run]:
    """A few steps of each kind of task there is for apply."""
    out = tmp_path_factory.mktemp("runs")
    greys = out / "greys.npz"
    np.savez(greys, images=np.random.default_rng(0).integers(0, 255, (24, 16, 16), dtype=np.uint8))
    kinds = {
        "grey": (greys, {"task": "inpaint"}),
        "inpaint": (colours, {"task": "inpaint", "generator.z": 4}),
        "superres": (colours, {"task": "superres", "task.scale": 2}),
        "colour": (colours, {"task": "colour"}),
    }
    return {
        name: mg.train(
            data, out=out / name, samples=16, settings={**settings, **TINY}, quiet=True, features="random", guard="off"
        )
        for name, (data, settings) in kinds.items()
    }


def photo(path: Path, width: int, height: int, mode: str = "RGB", **how: object) -> Path:
    shape = (height, width, {"L": 1, "RGB": 3, "RGBA": 4}[mode])
    pixels = np.random.default_rng(1).integers(0, 255, shape, dtype=np.uint8)
    path.parent.mkdir(exist_ok=True, parents=True)
    Image.fromarray(pixels[..., 0] if mode == "L" else pixels).save(path, **how)
    return path


def mask_for(path: Path, width: int, height: int) -> Path:
    mask = np.zeros((height, width), np.uint8)
    mask[height // 4 : -(-height // 2), width // 4 : -(-width // 2)] = 255
    Image.fromarray(mask).save(path)
    return path


def pixels_of(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


@pytest.mark.parametrize("size", [(1, 1), (5, 3), (17, 31), (64, 48), (900, 700)], ids=str)
def test_known_pixels_are_the_photos_bit_for_bit(
    runs: dict[str, mg.Run], size: tuple[int, int], tmp_path: Path
) -> None:
    shot, mask = photo(tmp_path / "a.png", *size), mask_for(tmp_path / "m.png", *size)
    result = mg.apply(runs["inpaint"], [shot], tmp_path / "out", mask=mask)
    assert not result.failed and result.photos == 1
    before, after, known = pixels_of(shot), pixels_of(tmp_path / "out" / "a.png"), pixels_of(mask) == 0
    assert after.shape == before.shape
    assert (after[known] == before[known]).all()
    assert (after[~known] != before[~known]).any()


def test_several_samples_differ_only_in_the_hole_and_are_repeatable(runs: dict[str, mg.Run], tmp_path: Path) -> None:
    shot, mask = photo(tmp_path / "a.png", 40, 30), mask_for(tmp_path / "m.png", 40, 30)
    run = runs["inpaint"]
    with torch.no_grad():
        nn.init.normal_(run.G.noise.weight)
        nn.init.normal_(run.G.last[1].weight, std=0.1)
    for out in ("x", "y"):
        mg.apply(run, [shot], tmp_path / out, mask=mask, samples=2)
    one, two = (pixels_of(tmp_path / "x" / f"a-{k}.png") for k in (1, 2))
    assert (one != two).any() and (pixels_of(tmp_path / "y" / "a-2.png") == two).all()
    with pytest.raises(UserError, match=r"generator\.z"):
        mg.apply(runs["superres"], [shot], tmp_path / "z", samples=2)


def test_transparency_and_orientation_are_kept(runs: dict[str, mg.Run], tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    turned = photo(tmp_path / "in" / "turned.jpg", 30, 20, exif=exif)
    clear = photo(tmp_path / "in" / "clear.png", 11, 7, "RGBA")
    result = mg.apply(runs["superres"], [tmp_path / "in"], tmp_path / "out")
    assert not result.failed
    assert pixels_of(tmp_path / "out" / "turned.png").shape == (60, 40, 3)
    made = pixels_of(tmp_path / "out" / "clear.png")
    assert made.shape == (14, 22, 4)
    alpha = Image.fromarray(pixels_of(clear)[..., 3]).resize((22, 14), Image.Resampling.BICUBIC)
    assert (made[..., 3] == np.asarray(alpha)).all() and turned.exists()


def test_grey_and_colour(runs: dict[str, mg.Run], tmp_path: Path) -> None:
    grey, colour = photo(tmp_path / "g.png", 9, 9, "L"), photo(tmp_path / "c.png", 9, 9)
    mask = mask_for(tmp_path / "m.png", 9, 9)
    Image.open(grey).convert("RGB").save(tmp_path / "same.png")
    result = mg.apply(runs["grey"], [grey, colour, tmp_path / "same.png"], tmp_path / "out", mask=mask)
    assert [Path(name).name for name, _ in result.failed] == ["c.png"] and "grey" in result.failed[0][1]
    assert (pixels_of(tmp_path / "out" / "g.png") == pixels_of(tmp_path / "out" / "same.png")).all()
    mg.apply(runs["colour"], [grey], tmp_path / "out2")
    assert pixels_of(tmp_path / "out2" / "g.png").shape == (9, 9, 3)


@pytest.mark.parametrize("make", [UNetGenerator, Translator])
@pytest.mark.parametrize("scale", [1, 2])
def test_tiles_show_no_seams(make: type, scale: int) -> None:
    """A result made in tiles differs from one made whole by less than a grey level, also where tiles meet."""
    torch.manual_seed(0)
    options = {"levels": 3, "kernel": 3, "std": 0.0} if make is UNetGenerator else {"blocks": 2, "std": 0.1}
    spec = ConditionSpec((Field("image", (3, 32, 32), along="HW"),))
    G = make(ImageSample(shape=(3, 32, 32)), spec, width=4, norm="none", residual=True, **options).eval()
    for net in (G.last, G.up) if make is UNetGenerator else ():
        for layer in net.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.normal_(layer.weight, std=0.1)
    shot = torch.randint(0, 256, (3, 900 // scale, 1100 // scale), dtype=torch.uint8)

    def condition_for(x: torch.Tensor, mask: torch.Tensor | None) -> Condition:
        return Condition({"image": nn.functional.interpolate(x, scale_factor=scale, mode="nearest")})

    made = [
        applied(G, shot, None, condition_for=condition_for, z=torch.zeros(1, 0), scale=scale, whole=whole).float()
        for whole in (0, 1 << 30)
    ]
    assert made[0].shape == (3, 900 // scale * scale, 1100 // scale * scale)
    plain = condition_for(shot[None].float(), None)["image"][0]
    assert (made[1] - plain).abs().mean() > 2, "it does something"
    assert (made[0] - made[1]).abs().max() <= 1


def test_spans_cover_a_side() -> None:
    for side in (1, 64, 512, 513, 960, 961, 20_000):
        tiles = spans(side, 512, 64)
        assert tiles[0][0] == 0 and tiles[-1][1] == side
        assert all(before - after == 64 for (_, before), (after, _) in pairwise(tiles))
        assert all(begin % 64 == 0 and (end - begin > 64 or len(tiles) == 1) for begin, end in tiles)


def test_a_panorama_is_made_in_full(runs: dict[str, mg.Run], tmp_path: Path) -> None:
    shot = photo(tmp_path / "wide.png", 20_000, 24, "L")
    assert not mg.apply(runs["colour"], [shot], tmp_path / "out").failed
    assert pixels_of(tmp_path / "out" / "wide.png").shape == (24, 20_000, 3)


PEAK = """
import torch
from mulligan.core.condition import Condition, ConditionSpec, Field
from mulligan.engine.memory import peak_memory
from mulligan.kinds.image import ImageSample
from mulligan.models.unet import UNetGenerator
from mulligan.translate.tiles import TILE, WHOLE, applied

torch.set_num_threads(1)
SHAPE = (1, 32, 32)
G = UNetGenerator(ImageSample(shape=SHAPE), ConditionSpec((Field("image", SHAPE, along="HW"),)), width=8, most=16,
                  levels=2, kernel=3, norm="none").eval()
def peak(width, whole=WHOLE):
    made = applied(G, torch.zeros(1, 200, width, dtype=torch.uint8), None, z=torch.zeros(1, 0), whole=whole,
                   condition_for=lambda x, _: Condition({"image": x}))
    assert made.shape == (1, 200, width)
    return peak_memory(torch.device("cpu")) >> 20
print(peak(4 * TILE), peak(20_000), peak(20_000, 1 << 30))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a peak counts that of the process that started this one")
def test_a_panorama_takes_the_memory_of_its_tiles() -> None:
    """A process's peak in MB is not that of G's activations for 4 million pixels, as where it is made without tiles."""
    done = subprocess.run([sys.executable, "-c", PEAK], check=True, capture_output=True, text=True)
    few, tiles, whole = map(int, done.stdout.split())
    assert tiles - few < 100 < whole - tiles


def test_what_tiles_would_not_fit_is_refused(colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"task": "colour", "generator": {"name": "translator", "width": 4, "blocks": 1}}
    run = mg.train(
        colours, out=tmp_path / "run", samples=4, settings={**settings, "discriminator.width": 4, "batch": 4},
        quiet=True, features="random", guard="off",
    )  # fmt: skip
    shot = photo(tmp_path / "shot.png", 20, 20, "L")
    assert not mg.apply(run, [shot], tmp_path / "out").failed
    monkeypatch.setattr(sys.modules["mulligan.translate.applying"], "WHOLE", 100)
    ((_, why),) = mg.apply(run, [shot], tmp_path / "out").failed
    assert "instance norm" in why and "at most 100 pixels" in why


def test_bad_photos_do_not_stop_the_others(runs: dict[str, mg.Run], tmp_path: Path) -> None:
    folder = tmp_path / "in"
    photo(folder / "a.png", 8, 8)
    photo(folder / "a.jpg", 8, 8)
    photo(folder / "b.png", 9, 8)
    (folder / "c.png").write_bytes(b"no image")
    mask = mask_for(tmp_path / "m.png", 8, 8)
    words = ["apply", runs["inpaint"].path, folder, tmp_path / "gone.png", "--mask", mask, "--out", tmp_path / "out"]
    done = mulligan(*words, "--json", "--quiet")
    assert done.returncode == 2
    found = json.loads(done.stdout)
    assert [Path(each["photo"]).name for each in found["failed"]] == ["b.png", "c.png", "gone.png"]
    assert found["photos"] == 2 and len(done.stderr.strip().splitlines()) == 3
    assert "9x8" in done.stderr and "Traceback" not in done.stderr
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.png", "a.png.png"]


def test_an_input_is_never_overwritten(runs: dict[str, mg.Run], tmp_path: Path) -> None:
    shot = photo(tmp_path / "a.png", 8, 8)
    before = shot.read_bytes()
    result = mg.apply(runs["superres"], [shot], tmp_path)
    assert "another --out" in result.failed[0][1] and shot.read_bytes() == before
    if hasattr(os, "link"):
        (tmp_path / "out").mkdir()
        with contextlib.suppress(OSError):
            os.link(shot, tmp_path / "out" / "a.png")
            assert mg.apply(runs["superres"], [shot], tmp_path / "out").failed and shot.read_bytes() == before


def test_nothing_that_is_read_or_made_is_lost(runs: dict[str, mg.Run], tmp_path: Path) -> None:
    """Photos of one name get results of their own, neither masks nor photos are overwritten, bad files are named."""
    for folder in ("x", "y", "z"):
        photo(tmp_path / folder / "a.png", 8, 8)
    same = [tmp_path / folder / "a.png" for folder in ("x", "y", "z")]
    result = mg.apply(runs["superres"], same, tmp_path / "out")
    assert result.photos == 3 and len(set(result.written)) == 3 and all(path.is_file() for path in result.written)
    (tmp_path / "masks").mkdir()
    mask = mask_for(tmp_path / "masks" / "a.png", 8, 8)
    before = mask.read_bytes()
    ((_, why),) = mg.apply(runs["inpaint"], same[:1], tmp_path / "masks", mask=tmp_path / "masks").failed
    assert "another --out" in why and mask.read_bytes() == before
    (tmp_path / "x" / "empty.png").write_bytes(b"")
    result = mg.apply(runs["superres"], [tmp_path / "x"], tmp_path / "out2")
    assert result.photos == 1 and [Path(name).name for name, _ in result.failed] == ["empty.png"]


def test_results_are_not_read_as_photos(runs: dict[str, mg.Run], tmp_path: Path) -> None:
    photo(tmp_path / "in" / "a.jpg", 8, 8)
    with pytest.raises(UserError, match="folder of the photos"):
        mg.apply(runs["superres"], [tmp_path / "in"], tmp_path / "in")
    for _ in range(2):
        assert mg.apply(runs["superres"], [tmp_path / "in"], tmp_path / "in" / "out").photos == 1
    assert [path.name for path in (tmp_path / "in" / "out").iterdir()] == ["a.png"]
    for out in (tmp_path / "in" / "a.jpg", tmp_path / "in" / "a.jpg" / "below"):
        with pytest.raises(UserError, match="is a file"):
            mg.apply(runs["superres"], [tmp_path / "in"], out)


def test_masks_of_a_folder_lie_as_photos_do(runs: dict[str, mg.Run], tmp_path: Path) -> None:
    shot = photo(tmp_path / "in" / "deep" / "a.png", 8, 8)
    (tmp_path / "masks" / "deep").mkdir(parents=True)
    (tmp_path / "masks" / "a.json").write_text("no mask")
    mask_for(tmp_path / "masks" / "a.png", 9, 9)
    assert "9x9" in mg.apply(runs["inpaint"], [shot], tmp_path / "out", mask=tmp_path / "masks").failed[0][1]
    mask_for(tmp_path / "masks" / "deep" / "a.png", 8, 8)
    assert mg.apply(runs["inpaint"], [tmp_path / "in"], tmp_path / "out", mask=tmp_path / "masks").photos == 1


def test_small_photos_of_one_size_go_together(
    runs: dict[str, mg.Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many at once as the limit of pixels allows; each result is that of its photo alone, within a grey level."""
    run, counts = runs["inpaint"], []
    with torch.no_grad():
        nn.init.normal_(run.G.noise.weight)
        nn.init.normal_(run.G.last[1].weight, std=0.1)
    for index in range(5):
        pixels = np.random.default_rng(index).integers(0, 255, (8, 12 + index // 4, 3), dtype=np.uint8)
        (tmp_path / "in").mkdir(exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / "in" / f"{index}.png")
        (tmp_path / "masks").mkdir(exist_ok=True)
        mask_for(tmp_path / "masks" / f"{index}.png", 12 + index // 4, 8)
    how = {"mask": tmp_path / "masks", "samples": 2}
    for index in range(5):
        mg.apply(run, [tmp_path / "in" / f"{index}.png"], tmp_path / "alone", **how)
    handle = run.G.register_forward_pre_hook(lambda _, given: counts.append(len(given[0])))
    result = mg.apply(run, [tmp_path / "in"], tmp_path / "out", **how)
    assert result.photos == 5 and counts == [8, 2]
    assert [path.name for path in result.written] == [f"{i}-{k}.png" for i in range(5) for k in (1, 2)]
    for path in result.written:
        difference = pixels_of(path).astype(int) - pixels_of(tmp_path / "alone" / path.name)
        assert np.abs(difference).max() <= 1
    assert (pixels_of(result.written[0]) != pixels_of(result.written[1])).any()
    counts.clear()
    monkeypatch.setattr(sys.modules["mulligan.translate.applying"], "CPU_PIXELS", 3 * 8 * 12)
    assert mg.apply(run, [tmp_path / "in"], tmp_path / "out", **how).photos == 5 and max(counts) <= 3
    handle.remove()


def test_what_cannot_be_written_does_not_stop_the_others(runs: dict[str, mg.Run], tmp_path: Path) -> None:
    for name in "abc":
        photo(tmp_path / "in" / f"{name}.png", 8, 8)
    (tmp_path / "out" / "b.png" / "in the way").mkdir(parents=True)
    result = mg.apply(runs["superres"], [tmp_path / "in"], tmp_path / "out")
    assert [Path(name).name for name, _ in result.failed] == ["b.png"] and result.photos == 2


def test_a_result_that_is_too_large_is_refused(
    runs: dict[str, mg.Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shot = photo(tmp_path / "a.png", 20, 10)
    monkeypatch.setattr(sys.modules["mulligan.translate.applying"], "MAX_RESULT", 4 * 199)
    ((_, why),) = mg.apply(runs["superres"], [shot], tmp_path / "out").failed
    assert "40x20" in why and "crop" in why


def test_holes_may_be_painted_over_in_a_colour(runs: dict[str, mg.Run], tmp_path: Path) -> None:
    shot = photo(tmp_path / "a.png", 40, 30)
    pixels = pixels_of(shot).copy()
    pixels[5:12, 8:20] = (255, 0, 255)
    Image.fromarray(pixels).save(tmp_path / "painted.png")
    result = mg.apply(runs["inpaint"], [tmp_path / "painted.png"], tmp_path / "out", mask_colour="#ff00ff")
    assert not result.failed
    after = pixels_of(tmp_path / "out" / "painted.png")
    hole = np.zeros((30, 40), bool)
    hole[5:12, 8:20] = True
    assert (after[~hole] == pixels[~hole]).all() and not (after[hole] == (255, 0, 255)).all(1).any()
    (why,) = mg.apply(runs["inpaint"], [shot], tmp_path / "out", mask_colour="00ff01").failed
    assert "no pixel of the colour 00ff01" in why[1]
    with pytest.raises(UserError, match="such as ff00ff"):
        mg.apply(runs["inpaint"], [shot], tmp_path / "out", mask_colour="pink")
    with pytest.raises(UserError, match="give one"):
        mg.apply(runs["inpaint"], [shot], tmp_path / "out", mask_colour="ff00ff", mask=tmp_path / "painted.png")


def test_missing_and_unusable_masks(runs: dict[str, mg.Run], tmp_path: Path) -> None:
    shot = photo(tmp_path / "a.png", 8, 8)
    Image.new("L", (8, 8)).save(tmp_path / "black.png")
    run = runs["inpaint"]
    assert "no hole" in mg.apply(run, [shot], tmp_path / "out", mask=tmp_path / "black.png").failed[0][1]
    with pytest.raises(UserError, match=r"gone\.png: no such mask"):
        mg.apply(run, [shot], tmp_path / "out", mask=tmp_path / "gone.png")
    (tmp_path / "masks").mkdir()
    assert "holds no mask a.*" in mg.apply(run, [shot], tmp_path / "out", mask=tmp_path / "masks").failed[0][1]
    mask_for(tmp_path / "masks" / "a.png", 8, 8)
    assert not mg.apply(run, [shot], tmp_path / "out", mask=tmp_path / "masks").failed
    with pytest.raises(UserError, match="--mask MASK"):
        mg.apply(run, [shot], tmp_path / "out")
    with pytest.raises(UserError, match="takes no --mask"):
        mg.apply(runs["colour"], [shot], tmp_path / "out", mask=tmp_path / "black.png")


def test_only_runs_from_images_are_applied(runs: dict[str, mg.Run], colours: Path, tmp_path: Path) -> None:
    quick = {"samples": 4, "settings": {"batch": 4}, "quiet": True, "guard": "off"}
    points = mg.train("ring", out=tmp_path / "points", **quick)
    noise = mg.train(colours, out=tmp_path / "noise", **{**quick, "settings": TINY, "features": "random"})
    for run, complaint in ((points, "apply is for image samples"), (noise, "from nothing")):
        with pytest.raises(UserError, match=complaint):
            mg.apply(run, [photo(tmp_path / "a.png", 8, 8)], tmp_path / "out")
    with pytest.raises(UserError, match="takes no --direction"):
        mg.apply(runs["colour"], [tmp_path / "a.png"], tmp_path / "out", direction="a2b")


def mulligan(*words: str | Path) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "mulligan", *map(str, words)], capture_output=True, text=True, timeout=120
    )
