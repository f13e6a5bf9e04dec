"""Photos to points of a run's latent space, and edits there: from the command line and from Python."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import click
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file

import mulligan.api as mg
from mulligan.cli import cli
from mulligan.cli.latent import METHODS, SPACES
from mulligan.core.batch import to_uint8
from mulligan.core.condition import Condition
from mulligan.core.errors import UserError
from mulligan.latent import directions, spaces
from mulligan.latent.finding import space_for
from mulligan.metrics.features.net import stamp_of

QUICK = mg.SearchSettings(steps=12, starts=2, draws=16, perceptual=0.0)
SHAPE = (1, 16, 16)


def trained(name: str, data: object, out: Path, **settings: object) -> mg.Run:
    tiny = {"batch": 4, **settings}
    return mg.train(data, out=out / name, samples=16, settings=tiny, quiet=True, features="random", guard="off")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, mg.Run]:
    out = tmp_path_factory.mktemp("runs")
    rng = np.random.default_rng(0)
    labels = np.arange(48) % 2
    images = (rng.integers(0, 60, (48, 16, 16)) + 180 * labels[:, None, None]).astype(np.uint8)  # dark and light
    np.savez(out / "labelled.npz", images=images, labels=labels)
    np.savez(out / "plain.npz", images=np.repeat(images[..., None], 3, 3))
    small = {"generator.width": 8, "discriminator.width": 4}
    styles = {
        "generator": {"name": "stylegan2", "base": 64, "most": 8, "z": 6, "styles": 5, "layers": 2},
        "discriminator": {"name": "stylegan2", "base": 64, "most": 8},
    }
    return {
        "class": trained("class", out / "labelled.npz", out, **small),
        "free": trained("free", out / "labelled.npz", out, task="unconditional", **small),
        "colour": trained("colour", out / "plain.npz", out, **small),
        "styles": trained("styles", out / "labelled.npz", out, task="unconditional", **styles),
        "inpaint": trained("inpaint", out / "labelled.npz", out, task="inpaint", **small),
        "points": mg.train("ring", out=out / "points", samples=16, settings={"batch": 4}, quiet=True, guard="off"),
    }


def photo(path: Path, image: torch.Tensor) -> Path:
    """uint8 (C, H, W) into a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    array = image.permute(1, 2, 0).numpy()
    Image.fromarray(array[..., 0] if array.shape[2] == 1 else array).save(path)
    return path


def pixels_of(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def test_invert_writes_what_it_says(runs: dict[str, mg.Run], tmp_path: Path) -> None:
    run = runs["class"]
    for index, image in enumerate(run.sample(3, seed=4)):
        photo(tmp_path / "in" / f"{index}.png", image)
    result = mg.invert(run, [tmp_path / "in"], tmp_path / "out", search=QUICK)
    assert not result.failed and result.photos == 3
    names = {"0.png", "1.png", "2.png", "contact-sheet.png", "latents.safetensors", "latents.json"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == names
    latents = mg.Latents.read(tmp_path / "out" / "latents.safetensors", run)
    assert latents.space == "z" and latents.names == ["0", "1", "2"] and latents.classes is not None
    with torch.no_grad():
        made = to_uint8(run.G(latents.latents, latents.batch.cond))
    saved = torch.stack([torch.from_numpy(pixels_of(tmp_path / "out" / f"{i}.png").copy()) for i in range(3)])
    assert (made[:, 0].int() - saved.int()).abs().max() <= 1
    rows = json.loads((tmp_path / "out" / "latents.json").read_text())["pictures"]
    assert [row["class"] for row in rows] == [run.classes[int(each)] for each in latents.classes]
    assert all(math.isfinite(row["psnr"]) and row["perceptual"] >= 0 for row in rows)
    with pytest.raises(UserError, match="another generator"):
        mg.Latents.read(tmp_path / "out" / "latents.safetensors", runs["free"])


def test_known_pixels_come_back_bit_for_bit(runs: dict[str, mg.Run], tmp_path: Path) -> None:
    rng = torch.Generator().manual_seed(0)
    for name, run in (("grey", runs["class"]), ("colour", runs["colour"])):
        shape = run.sample_kind.shape
        shot = photo(tmp_path / f"{name}.png", torch.randint(0, 256, shape, generator=rng, dtype=torch.uint8))
        mask = np.zeros(shape[1:], np.uint8)
        mask[4:12, 3:9] = 255
        Image.fromarray(mask).save(tmp_path / "mask.png")
        out = tmp_path / f"out-{name}"
        assert not mg.invert(run, [shot], out, mask=tmp_path / "mask.png", samples=2, search=QUICK).failed
        before = pixels_of(shot)
        one, two = (pixels_of(out / f"{name}-{k}.png") for k in (1, 2))
        for after in (one, two):
            assert (after[mask == 0] == before[mask == 0]).all() and (after[mask > 0] != before[mask > 0]).any()
        assert (one != two).any(), "from different starts"
        assert len(mg.Latents.read(out / "latents.safetensors").latents) == 2


def test_small_images_are_enlarged(runs: dict[str, mg.Run], tmp_path: Path) -> None:
    run = runs["free"]
    large = run.sample(1, seed=7)
    finder = mg.LatentFinder(run, shrink=4, search=mg.SearchSettings(steps=40, draws=256, perceptual=0.0))
    small = finder.made_small(large)
    assert small.shape == (1, 1, 4, 4)
    (answer,) = finder(small)
    assert answer.images.shape == large.shape
    again = finder.made_small(answer.images)
    assert (again.float() - small.float()).abs().mean() < 20
    photo(tmp_path / "s.png", small[0]), photo(tmp_path / "l.png", large[0])
    result = mg.invert(run, [tmp_path / "s.png", tmp_path / "l.png"], tmp_path / "out", shrink=4, search=QUICK)
    assert not result.failed
    assert (pixels_of(tmp_path / "out" / "s.png") == pixels_of(tmp_path / "out" / "l.png")).all(), "the same is known"
    with pytest.raises(UserError, match="valid: 2, 4, 8"):
        mg.LatentFinder(run, shrink=3)


def test_an_encoder_is_trained_once(runs: dict[str, mg.Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = sys.modules["mulligan.latent.encoder"]
    run, calls = runs["class"], []
    space, train = space_for(run), lambda: module.encoder_for(run, space, steps=3, progress=lambda *x: calls.append(x))
    first, again = train(), train()
    assert len(calls) == 3 and list((run.path / "latent").iterdir()) == [run.path / "latent" / "encoder-z.safetensors"]
    images = torch.rand(2, *SHAPE)
    one, other = first.guess(images, None), again.guess(images, None)
    assert one.latents.shape == (2, 64) and torch.allclose(one.latents, other.latents, atol=1e-6)
    assert (first.guess(images, 1).classes == 1).all()
    (run.path / "latent" / "encoder-z.safetensors").write_bytes(b"torn")
    train()
    assert len(calls) == 6
    monkeypatch.setattr(module, "STEPS", 3)
    monkeypatch.setattr(sys.modules["mulligan.latent.finding"], "encoder_for", lambda r, s, progress: first)
    shot = photo(tmp_path / "a.png", run.sample(1)[0])
    assert not mg.invert(run, [shot], tmp_path / "out", encoder=True, search=QUICK).failed


def test_styles_mix_truncate_and_move(runs: dict[str, mg.Run], tmp_path: Path) -> None:
    run = runs["styles"]
    mg.edit.mix(run, tmp_path / "mix.png", rows=(0, 1), columns=(2, 3, 4))
    mg.edit.truncate(run, tmp_path / "cut.png", seeds=(0, 1))
    mg.edit.directions(run, tmp_path / "found.png", number=2, layers=(0, 1))
    found = mg.Directions.read(tmp_path / "found.safetensors", run)
    assert found.space == "w" and found.layers == [0, 1] and found.vectors.shape == (2, 1, 5)
    assert torch.allclose(found.vectors.flatten(1).norm(dim=1), torch.ones(2), atol=1e-4)
    shot = photo(tmp_path / "a.png", run.sample(1)[0])
    mg.invert(run, [shot], tmp_path / "out", search=QUICK)
    latents = tmp_path / "out" / "latents.safetensors"
    assert mg.Latents.read(latents).space == "w"
    mg.edit.move(run, tmp_path / "moved.png", latents=latents, along=tmp_path / "found.safetensors", numbers=(1,))
    mg.edit.interpolate(run, tmp_path / "path.png", seeds=(0, 1), frames=4)
    for path in tmp_path.glob("*.png"):
        assert pixels_of(path).size
    with pytest.raises(UserError, match="layers 0-"):
        mg.edit.mix(run, tmp_path / "x.png", rows=(0,), columns=(1,), layers=(99,))
    with pytest.raises(UserError, match="there are directions 0-1"):
        mg.edit.move(run, tmp_path / "x.png", latents=latents, along=tmp_path / "found.safetensors", numbers=(2,))


@pytest.mark.parametrize("method", ["sefa", "pca"])
def test_directions_of_noise_go_to_a_file_and_back(runs: dict[str, mg.Run], method: str, tmp_path: Path) -> None:
    run = runs["class"]
    mg.edit.directions(run, tmp_path / "found.png", method=method, number=3, seeds=(0, 1), class_="1")
    found = mg.Directions.read(tmp_path / "found.safetensors", run)
    found.save(tmp_path / "again.safetensors")
    again = mg.Directions.read(tmp_path / "again.safetensors")
    assert torch.equal(found.vectors, again.vectors)
    assert found.names == again.names == [f"{method} {i}" for i in range(3)]
    assert torch.allclose(found.spread, torch.ones(3), atol=0.1), "noise is as wide in every direction"
    with pytest.raises(UserError, match="holds no latents"):
        mg.Latents.read(tmp_path / "found.safetensors")


def test_attributes_are_of_labels_that_g_is_not_given(
    runs: dict[str, mg.Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = sys.modules["mulligan.latent.directions"]
    monkeypatch.setattr(module, "STEPS", 2)

    def by_light(net: object, images: torch.Tensor, device: object) -> torch.Tensor:
        light = images.float().mean((1, 2, 3))
        return torch.nn.functional.one_hot((light > light.median()).long(), 2).float()

    monkeypatch.setattr(module, "outputs", by_light)
    run = runs["free"]
    result = mg.edit.attribute(run, tmp_path / "found.png")
    assert result["accuracy"] > 0.8 and [row["direction"] for row in result["directions"]] == ["0 to 1"]
    (vector,) = mg.Directions.read(tmp_path / "found.safetensors", run).vectors
    with torch.no_grad():
        light, dark = (run.G(sign * 3 * vector[None], Condition()).mean() for sign in (1, -1))
    assert light > dark
    data = Path(runs["free"].description["data"]["spec"])
    result = mg.edit.attribute(runs["class"], tmp_path / "given.png", data=data)
    assert result["accuracy"] > 0.6, "other labels than those that it is given"
    with pytest.raises(UserError, match="is given the class"):
        mg.edit.attribute(runs["class"], tmp_path / "x.png")
    with pytest.raises(UserError, match="no labels"):
        mg.edit.attribute(runs["colour"], tmp_path / "x.png")


def test_files_with_older_names_are_read(runs: dict[str, mg.Run], tmp_path: Path) -> None:
    stamp = stamp_of(runs["free"].G)
    points, vectors, spread = torch.randn(2, 64), torch.eye(64)[:1], torch.ones(1)
    facts = {"kind": "latents", "space": "z", "of": stamp, "names": ["a", "b"]}
    save_file({"places": points}, tmp_path / "latents.safetensors", {"facts": json.dumps(facts)})
    latents = mg.Latents.read(tmp_path / "latents.safetensors", runs["free"])
    assert torch.equal(latents.latents, points) and latents.names == ["a", "b"] and latents.classes is None
    facts = {"kind": "directions", "space": "z", "names": ["0 to 1"], "of": stamp, "layers": None, "told": 0.75}
    tensors = {"vectors": vectors, "spread": spread}
    save_file(tensors, tmp_path / "directions.safetensors", {"facts": json.dumps(facts)})
    found = mg.Directions.read(tmp_path / "directions.safetensors", runs["free"])
    assert torch.equal(found.vectors, vectors) and found.accuracy == 0.75
    latents.save(tmp_path / "latents.safetensors"), found.save(tmp_path / "directions.safetensors")
    with safe_open(tmp_path / "latents.safetensors", "pt") as file:
        assert list(file.keys()) == ["latents"]
    with safe_open(tmp_path / "directions.safetensors", "pt") as file:
        written = json.loads(file.metadata()["facts"])
    assert written["accuracy"] == 0.75 and "told" not in written


def test_the_command_line_offers_what_there_is() -> None:
    assert SPACES == spaces.SPACES and METHODS == directions.METHODS


def test_films(runs: dict[str, mg.Run], tmp_path: Path) -> None:
    run = runs["class"]
    mg.edit.interpolate(run, tmp_path / "walk.gif", seeds=(0, 1, 2), classes=("0",), frames=4, loop=True)
    with Image.open(tmp_path / "walk.gif") as film:
        assert film.n_frames == 9 and film.size == (256, 256)
    mg.edit.interpolate(run, tmp_path / "morph.png", seeds=(0,), classes=("0", "1"), frames=5)
    assert pixels_of(tmp_path / "morph.png").shape == (66, 5 * 65 + 1)
    with pytest.raises(UserError, match=r"name\.mp4"):
        mg.edit.interpolate(run, tmp_path / "walk.avi", seeds=(0, 1))
    with pytest.raises(UserError, match="2 classes for 3 keyframes"):
        mg.edit.interpolate(run, tmp_path / "x.png", seeds=(0, 1, 2), classes=("0", "1"))
    with pytest.raises(UserError, match="needs 2 keyframes"):
        mg.edit.interpolate(run, tmp_path / "x.png", seeds=(0,))
    try:
        import imageio_ffmpeg
    except ImportError:
        with pytest.raises(UserError, match=r"mulligan\[video\]"):
            mg.edit.interpolate(run, tmp_path / "walk.mp4", seeds=(0, 1))
    else:
        mg.edit.interpolate(run, tmp_path / "walk.mp4", seeds=(0, 1), frames=4)
        assert imageio_ffmpeg.count_frames_and_secs(str(tmp_path / "walk.mp4"))[0] == 4


def test_bad_photos_and_masks_do_not_stop_the_others(runs: dict[str, mg.Run], tmp_path: Path) -> None:
    folder, run = tmp_path / "in", runs["class"]
    photo(folder / "a.png", run.sample(1)[0])
    photo(folder / "b.png", torch.randint(0, 256, (3, 16, 16), dtype=torch.uint8))
    (folder / "c.png").write_bytes(b"no image")
    photo(folder / "d.png", torch.randint(0, 256, (1, 20, 31), dtype=torch.uint8))
    words = ["invert", run.path, folder, tmp_path / "gone.png", "--out", tmp_path / "out", "--steps", "2", "--json"]
    done = mulligan(*words)
    assert done.returncode == 2 and len(done.stderr.strip().splitlines()) == 3 and "Traceback" not in done.stderr
    found = json.loads(done.stdout)
    assert [Path(each["photo"]).name for each in found["failed"]] == ["b.png", "c.png", "gone.png"]
    assert found["photos"] == 2 and "31x20 scaled" in found["pictures"][1]["scaled"]
    before = (folder / "a.png").read_bytes()
    result = mg.invert(run, [folder / "a.png"], folder, search=QUICK)
    assert "another --out" in result.failed[0][1] and (folder / "a.png").read_bytes() == before
    masks = {"black": (16, 16, 0), "white": (16, 16, 255), "large": (20, 20, 255)}
    for name, (height, width, value) in masks.items():
        Image.new("L", (width, height), value).save(tmp_path / f"{name}.png")
    for name, complaint in {
        "black": "no hole",
        "white": "leaves nothing",
        "large": "20x20",
    }.items():
        failed = mg.invert(run, [folder / "a.png"], tmp_path / "x", mask=tmp_path / f"{name}.png", search=QUICK).failed
        assert complaint in failed[0][1], name
    with pytest.raises(UserError, match=r"gone\.png: no such mask"):
        mg.invert(run, [folder / "a.png"], tmp_path / "x", mask=tmp_path / "gone.png", search=QUICK)


def test_directions_replace_only_directions(runs: dict[str, mg.Run], tmp_path: Path) -> None:
    run = runs["free"]
    mg.invert(run, [photo(tmp_path / "a.png", run.sample(1)[0])], tmp_path / "inverted", search=QUICK)
    before = (tmp_path / "inverted" / "latents.safetensors").read_bytes()
    with pytest.raises(UserError, match="holds no directions"):
        mg.edit.directions(run, tmp_path / "inverted" / "latents.png", number=2)
    assert (tmp_path / "inverted" / "latents.safetensors").read_bytes() == before
    for number in (2, 3):
        mg.edit.directions(run, tmp_path / "found.png", number=number)
    assert len(mg.Directions.read(tmp_path / "found.safetensors", run).vectors) == 3


@pytest.mark.parametrize(
    ("name", "words", "complaint"),
    [
        ("inpaint", ["invert", "{photo}", "--out", "x"], "from images"),
        ("inpaint", ["edit interpolate", "--seeds", "0,1", "--out", "x.png"], "from images"),
        ("points", ["invert", "{photo}", "--out", "x"], "for image samples"),
        ("points", ["edit directions", "--out", "x.png"], "for image samples"),
        ("class", ["invert", "{photo}", "--out", "x", "--space", "w"], "no styles"),
        ("class", ["invert", "{photo}", "--out", "x", "--class", "cat"], "is not one of 0, 1"),
        ("free", ["invert", "{photo}", "--out", "x", "--class", "1"], "without classes"),
        ("class", ["invert", "{photo}", "--out", "x", "--starts", "0"], "at least 1"),
        ("class", ["invert", "{photo}", "--out", "x", "--samples", "0"], "at least 1"),
        ("class", ["invert", "{photo}", "--out", "x", "--features", "inceptoin"], "inception"),
        ("class", ["invert", "{photo}", "--out", "x", "--features", "self"], "gives no maps"),
        ("class", ["invert", "{photo}", "--out", "x", "--shrink", "2", "--mask", "m"], "give one"),
        ("class", ["invert", "--out", "x", "{empty}"], "no photos"),
        ("class", ["edit mix", "--out", "x.png"], "'shuffle' has none"),
        ("class", ["edit interpolate", "--out", "x.png"], "--seeds"),
        ("class", ["edit interpolate", "--out", "x.png", "--seeds", "3-1"], "3-1"),
        ("class", ["edit interpolate", "--out", "x.png", "--latents", "gone"], "no such file"),
        ("class", ["edit directions", "--out", "x.gif"], "name.png"),
        ("class", ["edit directions", "--out", "x.png", "--number", "65"], "1 to 64"),
        ("class", ["edit directions", "--out", "x.png", "--layers", "0"], "this space is z"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else value.replace(" ", "-"),
)
def test_what_does_not_fit_is_one_line(
    runs: dict[str, mg.Run], name: str, words: list[str], complaint: str, tmp_path: Path
) -> None:
    shot = photo(tmp_path / "in" / "a.png", torch.zeros(1, 16, 16, dtype=torch.uint8))
    (tmp_path / "empty").mkdir()
    (tmp_path / "out").mkdir()
    verb, *rest = words
    filled = [each.format(photo=shot, empty=tmp_path / "empty") for each in rest]
    if "--out" in filled:
        at = filled.index("--out") + 1
        filled[at] = str(tmp_path / "out" / filled[at])
    done = CliRunner().invoke(cli, [*verb.split(), str(runs[name].path), *filled], standalone_mode=False)
    assert isinstance(done.exception, UserError | click.ClickException), done
    text = getattr(done.exception, "message", None) or str(done.exception)
    assert complaint in text and "\n" not in text
    assert not list((tmp_path / "out").iterdir())


def mulligan(*words: str | Path) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "mulligan", *map(str, words)], capture_output=True, text=True, timeout=120
    )
