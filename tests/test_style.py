"""Translation without pairs: two sets of images, in both directions, through the same loop and the command line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

import mulligan as mg
from mulligan.core import registry
from mulligan.core.batch import Judgement, append_dims
from mulligan.core.condition import Condition, ConditionSpec, Field
from mulligan.core.errors import UserError
from mulligan.core.network import Discriminator, Generator
from mulligan.core.recipe import Part
from mulligan.core.run import read_json
from mulligan.core.step import Step
from mulligan.data import open_data
from mulligan.data.dataset import Dataset
from mulligan.engine import checkpoint
from mulligan.engine.device import device_setting
from mulligan.engine.loop import Stop
from mulligan.kinds.image import ImageSample
from mulligan.models.patch import PatchDiscriminator
from mulligan.models.two_way import TwoWayDiscriminator, TwoWayGenerator
from mulligan.models.unet import Translator, UNetGenerator
from mulligan.runs.build import build_networks, recipe_named
from mulligan.runs.dealing import Dealer, Vary
from mulligan.runs.observer import RunObserver
from mulligan.runs.parts import load_parts
from mulligan.runs.translated import translated
from mulligan.terms.patch_contrast import contrast, identity_nce, patch_nce
from mulligan.terms.translation import cycle, identity, pool

load_parts()
RECIPES = ("cyclegan", "restyle", "cut", "fastcut", "restyle-cut")
TINY = {"generator.width": 4, "discriminator.width": 4, "discriminator.strides": 1}
CPU = torch.device("cpu")


def image_condition(
    channels: int, size: tuple[int, int] = (16, 12), *, paired: bool = False, side: bool = False
) -> ConditionSpec:
    sides = [Field("side", classes=2)] if side else []
    return ConditionSpec((Field("image", (channels, *size), along="HW"), *sides), paired=paired)


@pytest.fixture(scope="module")
def two_sets(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Dark pictures and bright ones, a few more of the latter."""
    root = tmp_path_factory.mktemp("sets")
    rng = np.random.default_rng(0)
    for name, low, count in (("a", 0, 30), ("b", 128, 40)):
        np.savez(root / f"{name}.npz", images=rng.integers(low, low + 128, (count, 16, 12), dtype=np.uint8))
    return root / "a.npz", root / "b.npz"


def order(recipe: str, **more: object) -> dict[str, object]:
    less = {"generator.heads": 8} if "cut" in recipe else {}
    less |= {"generator.blocks": 2} if registry.recipes[recipe]().generator.name == "translator" else {}
    settings = {**TINY, **less, "batch": 4, **more}
    return {"recipe": recipe, "samples": 8, "settings": settings, "quiet": True, "features": "random", "guard": "off"}


def opened(two_sets: tuple[Path, Path]) -> Dataset:
    return open_data(two_sets[0], reader="unpaired", other=two_sets[1])


def dealer_of(two_sets: tuple[Path, Path], directions: int = 2, vary: Vary | None = None) -> Dealer:
    data = opened(two_sets)
    task = Part("style", directions=directions).build(registry.tasks, data)
    return Dealer(task, data, CPU, seed=3, vary=vary)


def same(one: tuple[Tensor, Condition], other: tuple[Tensor, Condition], rows: slice = slice(None)) -> bool:
    """Whether two batches are the same, the second one in some of its rows."""
    other_real, other_cond = other[0][rows], other[1].take(rows)
    fields = (torch.equal(one[1][name], other_cond[name]) for name in one[1])
    return list(one[1]) == list(other_cond) and torch.equal(one[0], other_real) and all(fields)


def test_batches_alternate_between_both_directions(two_sets: tuple[Path, Path]) -> None:
    dealer, (a, _) = dealer_of(two_sets), opened(two_sets).sides
    real, cond = dealer.train(0, 8)
    assert real.shape == cond["image"].shape == (8, 1, 16, 12)
    assert cond["side"].dtype == torch.int64 and cond["side"].tolist() == [0, 1] * 4
    assert torch.equal(real[0::2], cond["image"][1::2]) and torch.equal(real[1::2], cond["image"][0::2])
    assert (real[0::2] > 0).all() and (real[1::2] < 0.01).all(), "b is bright, a is dark"
    for start, count in ((3, 5), (1, 2), (7, 1)):
        assert same(dealer.train(start, count), dealer.train(0, 8), slice(start, start + count))
    given = dealer.train(0, 2 * len(a.train)).cond["image"][0::2]
    assert len(torch.unique(given.flatten(1), dim=0)) == len(a.train), "all of a, each once"
    one = dealer_of(two_sets, directions=1).train(0, 6)
    assert list(one.cond) == ["image"] and one.cond["image"].shape == (6, 1, 16, 12) and (one.real > 0).all()


@pytest.mark.parametrize("directions", [1, 2])
def test_only_training_pictures_vary(two_sets: tuple[Path, Path], directions: int) -> None:
    vary = registry.augmentations["jitter"](enlarge=1).vary
    varied, plain = dealer_of(two_sets, directions, vary), dealer_of(two_sets, directions)
    assert torch.equal(varied.train(4, 6).real, varied.train(4, 6).real)
    flips = []
    (real, cond), (plain_real, plain_cond) = varied.train(0, 30), plain.train(0, 30)
    assert list(cond) == list(plain_cond) and all(
        torch.equal(cond[name], plain_cond[name]) for name in cond if name != "image"
    )
    for theirs, ours in ((real, plain_real), (cond["image"], plain_cond["image"])):
        mirrored = (theirs == ours.flip(-1)).flatten(1).all(1)
        assert (mirrored | (theirs == ours).flatten(1).all(1)).all() and 5 < mirrored.sum() < 25
        flips.append(mirrored)
    assert not torch.equal(*flips), "what goes with nothing need not be mirrored alike"
    assert same(varied.heldout(6, 0), plain.heldout(6, 0))


def test_a_and_b_have_orders_of_their_own(two_sets: tuple[Path, Path], tmp_path: Path) -> None:
    """Also where they are the same pictures, so that a row of pairs by accident is none."""
    images = np.arange(40, dtype=np.uint8)[:, None, None].repeat(8, 1).repeat(8, 2)
    for name, more in (("a", 0), ("b", 100)):
        np.savez(tmp_path / f"{name}.npz", images=images + np.uint8(more))
    real, cond = dealer_of((tmp_path / "a.npz", tmp_path / "b.npz"), directions=1).train(0, 36)
    together = (real - cond["image"])[:, 0, 0, 0] * 127.5
    assert (together.round() == 100).sum() < 6


def test_what_is_held_out_is_never_trained_on(two_sets: tuple[Path, Path]) -> None:
    dealer, (a, b) = dealer_of(two_sets), opened(two_sets).sides
    assert (len(a.heldout), len(b.heldout)) == (3, 4), "fewer than 8: training images stand in"
    real, cond = dealer.heldout(7, 0)
    assert (cond["side"] == 0).all() and (real > 0).all(), "to evaluate: from a to b"
    assert same(dealer.heldout(3, 4), (real, cond), slice(4, 7))
    assert dealer.heldout(6).cond["side"].tolist() == [0, 1] * 3, "for a probe, as in training: both directions"


def test_networks_of_both_directions_route_rows_and_reach_every_weight() -> None:
    torch.manual_seed(0)
    recipe = recipe_named("cyclegan", TINY)
    spec = image_condition(1, side=True)
    G, D = build_networks(recipe, ImageSample(shape=(1, 16, 12)), spec, device_setting("cpu", "fp32"))
    assert isinstance(G, TwoWayGenerator) and isinstance(D, TwoWayDiscriminator)
    assert G.two_way and D.two_way and D.unconditional and G.grid == 4
    cond = Condition({"image": torch.rand(5, 1, 16, 12), "side": torch.tensor([0, 1, 1, 0, 1])})
    image = Condition({"image": cond["image"]})
    z = torch.randn(5, 0)
    made = G(z, cond)
    for row, side in enumerate((0, 1, 1, 0, 1)):
        torch.testing.assert_close(made[row], G.nets[side](z[row : row + 1], image.take([row]))[0])
    judgement = D(made, cond)
    for row, side in enumerate((0, 1, 1, 0, 1)):
        alone = D.nets[side](made[row : row + 1], image.take([row]))
        torch.testing.assert_close(judgement.logits[0][row], alone.logits[0][0])
        torch.testing.assert_close(judgement.features[1][row], alone.features[1][0])
    judgement.logits[0].square().sum().backward()
    for net in (G, D):
        dead = [name for name, p in net.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
        assert not [name for name in dead if "bias" not in name], "instance norm takes biases away"
    assert G(z[:1], cond.take(slice(1))).shape == (1, 1, 16, 12), "all rows to one side"


def test_a_patch_d_of_what_is_unpaired_sees_pictures_alone() -> None:
    torch.manual_seed(0)
    sample, size = ImageSample(shape=(3, 16, 16)), (16, 16)
    D = PatchDiscriminator(sample, image_condition(3, size), width=4, strides=1)
    x = torch.randn(2, 3, 16, 16)
    one, other = Condition({"image": torch.randn_like(x)}), Condition({"image": torch.zeros_like(x)})
    assert D.unconditional and torch.equal(D.eval()(x, one).logits[0], D(x, other).logits[0])
    paired = PatchDiscriminator(sample, image_condition(3, size, paired=True), width=4, strides=1).eval()
    assert not paired.unconditional and not torch.equal(paired(x, one).logits[0], paired(x, other).logits[0])


@pytest.mark.parametrize(("options", "pixels"), [((3, 3), 54), ((3, 4), 70), ((2, 3), 26), ((2, 4), 34), ((1, 4), 16)])
def test_a_logit_depends_on_a_patch_of_so_many_pixels(options: tuple[int, int], pixels: int) -> None:
    """By the gradient of one in the middle, in a picture that is larger than any patch."""
    strides, last = options
    sample, spec = ImageSample(shape=(1, 160, 160)), image_condition(1, (160, 160))
    D = PatchDiscriminator(sample, spec, width=2, strides=strides, last=last, norm="none")
    x = torch.randn(1, 1, 160, 160, requires_grad=True)
    (logits,) = D(x, Condition({"image": x.detach()})).logits
    logits[0, logits.shape[1] // 2, logits.shape[2] // 2].backward()
    assert [int((x.grad[0, 0] != 0).any(axis).sum()) for axis in (0, 1)] == [pixels, pixels]


def test_published_recipes_judge_patches_of_70_pixels_and_small_pictures_are_refused() -> None:
    for name in ("pix2pix", "cyclegan", "cut", "fastcut"):
        patches = recipe_named(name, {}).discriminator
        assert (patches.name, patches.options["strides"], patches.options["last"]) == ("patch", 3, 4)
    smallest = PatchDiscriminator(ImageSample(shape=(1, 24, 24)), image_condition(1, (24, 24)), last=4)
    assert smallest.heads[0](torch.randn(2, 1, 24, 24))[0].shape == (2, 1, 1)
    with pytest.raises(UserError, match="16x16 is too small for strides=3, last=4"):
        PatchDiscriminator(ImageSample(shape=(1, 16, 16)), image_condition(1, (16, 16), paired=True), last=4)


class Shift(Generator):
    """To b it adds 0.25, to a it halves: one direction is not the inverse of the other."""

    two_way = True

    def forward(self, z: Tensor, cond: Condition) -> Tensor:
        return torch.where(append_dims(cond["side"] == 1, 4), cond["image"] / 2, cond["image"] + 0.25)


class Unconditional(Discriminator):
    unconditional = True

    def forward(self, x: Tensor, cond: Condition) -> Judgement:
        return Judgement([x.flatten(1).sum(1)], [])


def step_of(G: Generator, sides: list[int], side: str = "g", memory: dict | None = None, seed: int = 0) -> Step:
    rng = torch.Generator().manual_seed(seed)
    given, real = (torch.rand(len(sides), 1, 3, 2, generator=rng) for _ in range(2))
    cond = Condition({"image": given, "side": torch.tensor(sides)})
    z = torch.zeros(len(sides), 0)
    return Step(side, G, Unconditional(), z, cond, real, G(z, cond), memory=memory)


def test_cycle_and_identity_by_hand() -> None:
    step = step_of(Shift(), [0, 1, 1])
    x, y = step.cond["image"][:, 0], step.real[:, 0]
    back = torch.stack([(x[0] + 0.25) / 2, x[1] / 2 + 0.25, x[2] / 2 + 0.25])
    torch.testing.assert_close(cycle().fn(step), (back - x).abs().mean((1, 2)))
    stays = torch.stack([y[0] + 0.25, y[1] / 2, y[2] / 2])
    torch.testing.assert_close(identity().fn(step), (stays - y).abs().mean((1, 2)))
    spec = image_condition(1, (16, 16))
    one_way = Translator(ImageSample(shape=(1, 16, 16)), spec, width=4, blocks=1)
    given, real, fake = (torch.rand(2, 1, 16, 16) for _ in range(3))
    one = Step("g", one_way, Unconditional(), torch.zeros(2, 0), Condition({"image": given}), real, fake)
    again = one.G(one.z, Condition({"image": real}))
    torch.testing.assert_close(identity().fn(one), (again - real).abs().mean((1, 2, 3)))
    with pytest.raises(UserError, match=r"needs a generator of both directions; set task\.directions=2"):
        cycle().fn(one)


def test_contrast_against_a_loop() -> None:
    torch.manual_seed(0)
    made, given = (F.normalize(torch.randn(2, 5, 7), dim=2) for _ in range(2))
    found = contrast(made, given, 0.07)
    for b in range(2):
        for p in range(5):
            logits = torch.stack([made[b, p] @ given[b, q] / 0.07 for q in range(5)])
            torch.testing.assert_close(found[b, p], F.cross_entropy(logits[None], torch.tensor([p])))
    assert (contrast(given, given, 0.07) < contrast(given.roll(1, 1), given, 0.07)).all(), "each patch with its own"


@pytest.mark.parametrize("own_heads", [False, True])
@pytest.mark.parametrize(
    ("family", "how", "layers", "least"), [(Translator, {"blocks": 3}, 5, 12), (UNetGenerator, {"levels": 2}, 2, 12)]
)
def test_patch_nce_of_every_patch_is_the_mean_over_layers_and_reaches_heads(
    family: type[Generator], how: dict[str, int], layers: int, least: int, own_heads: bool
) -> None:
    torch.manual_seed(0)
    sample, spec = ImageSample(shape=(3, 16, 12)), image_condition(3)
    G = family(sample, spec, width=4, heads=8, own_heads=own_heads, norm="none", std=0.1, **how)
    given, real = torch.rand(2, 3, 16, 12), torch.rand(2, 3, 16, 12)
    z, cond = torch.zeros(2, 0), Condition({"image": given})
    fake = G(z, cond)
    step = Step("g", G, Unconditional(), z, cond, real, fake)
    own = G.heads_of_made if own_heads else G.heads
    again = G(z, Condition({"image": real}))
    for term, made, of, heads in ((patch_nce(), fake, given, G.heads), (identity_nce(), again, real, own)):
        by_layer = []
        features = (G.encoded(z, Condition({"image": image})) for image in (made, of))
        for mine, its, ours, theirs in zip(own, heads, *features, strict=True):
            ours, theirs = mine(ours.flatten(2).mT), its(theirs.flatten(2).mT)
            assert torch.allclose(ours.norm(dim=2), torch.ones(()))
            by_layer.append(contrast(ours, theirs, 0.07).mean(1) if ours.shape[1] <= 256 else None)
        assert len(by_layer) == layers and ours.shape[1] == least and None not in by_layer
        torch.testing.assert_close(term.fn(step), torch.stack(by_layer).mean(0))
    patch_nce(patches=7).fn(step).mean().backward()
    assert not [name for name, p in G.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    with pytest.raises(UserError, match=r"generator\.heads"):
        patch_nce().fn(Step("g", Translator(sample, spec, width=4), Unconditional(), z, cond, real, fake))


def test_patch_nce_of_mirrored_inputs_compares_patches_with_their_mirror_images() -> None:
    class WithLeft(Generator):
        """The features of a pixel are its own values and those of its left neighbour."""

        has_heads = True
        heads, heads_of_made = nn.ModuleList([nn.Flatten(2)]), None

        def encoded(self, z: Tensor, cond: Condition) -> list[Tensor]:
            return [torch.cat([cond["image"], 0.5 * cond["image"].roll(1, 3)], 1)]

    def value(mirror: float, seed: int = 0) -> Tensor:
        torch.manual_seed(seed)
        return patch_nce(patches=999, temperature=1.0, mirror=mirror).fn(step)

    given, made = torch.randn(2, 3, 4, 5), torch.randn(2, 3, 4, 5)
    step = Step("g", WithLeft(), Unconditional(), torch.zeros(2, 0), Condition({"image": given}), made, made)
    images = (Condition({"image": each}) for each in (made, given.flip(-1)))
    ours, theirs = (WithLeft().encoded(step.z, each)[0] for each in images)
    wanted = contrast(ours.flip(-1).flatten(2).mT, theirs.flatten(2).mT, 1.0).mean(1)
    torch.testing.assert_close(value(1.0), wanted)
    assert not torch.allclose(value(0.0), wanted)
    some = torch.stack([value(0.5, seed) for seed in range(40)])
    assert 10 < torch.isclose(some, wanted).all(1).sum() < 30
    with pytest.raises(UserError, match="mirror=2 must be a chance from 0 to 1"):
        patch_nce(mirror=2)


def test_a_pool_stores_fakes_by_side_and_d_sees_old_ones() -> None:
    memory: dict[str, Tensor] = {}
    history: dict[int, list[Tensor]] = {0: [], 1: []}
    old = 0
    for turn in range(60):
        torch.manual_seed(turn)
        step = step_of(Shift(), [0, 1, 0, 1], "d", memory, seed=turn)
        step.add_views(pool(size=6).fn(step, 0.5))
        viewed = step.view_fake(step.fake)
        assert torch.equal(viewed, step.view_fake(step.fake)) and torch.equal(viewed[:2], step.view_fake(step.fake[:2]))
        assert torch.equal(step.view_real(step.real), step.real)
        for row, side in enumerate((0, 1, 0, 1)):
            history[side].append(step.fake[row])
            (match,) = [k for k, each in enumerate(history[side]) if torch.equal(each, viewed[row])]
            fresh = torch.equal(viewed[row], step.fake[row])
            assert fresh or match < len(history[side]) - 1
            assert fresh or turn >= 3, "D sees new ones until there are enough"
            old += not fresh
    assert {name: len(stored) for name, stored in memory.items()} == {"pool.a": 6, "pool.b": 6}
    assert 0.35 < old / (4 * 57) < 0.65
    for side, name in ((0, "pool.b"), (1, "pool.a")):
        assert all(any(torch.equal(stored, each) for each in history[side]) for stored in memory[name])
    step.D.unconditional = False
    with pytest.raises(UserError, match=r"stores fakes without their condition, .*terms\.pool=none"):
        pool().fn(step, 0.5)


@pytest.mark.parametrize("recipe", RECIPES)
def test_two_steps_a_break_a_resume_and_photos_through_it(
    recipe: str, two_sets: tuple[Path, Path], tmp_path: Path
) -> None:
    how = order(recipe, **({"terms.pool.size": 1} if recipe == "cyclegan" else {}))
    whole = mg.train(*two_sets, out=tmp_path / "whole", **how)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RunObserver, "pause", lambda self, state: Stop("interrupted", "asked to stop"))
        assert mg.train(*two_sets, out=tmp_path / "broken", **how).summary["status"] == "interrupted"
    broken = mg.train(*two_sets, out=tmp_path / "broken", **how)
    assert weights(whole) == weights(broken)
    if recipe == "cyclegan":
        saved = checkpoint.read_last(whole.folder.checkpoints)[0].tensors
        assert saved["memory.d.pool.a"].shape == saved["memory.d.pool.b"].shape == (1, 1, 16, 12)
    assert broken.sample(3).shape == (3, 1, 16, 12)
    summary = whole.summary
    assert "kid" in summary["metrics"] and "psnr" not in summary["metrics"] and not summary["protocol"]["pairs"]
    found = whole.evaluate(features="random")
    assert "kid" in found["metrics"] and "psnr" not in found["metrics"]
    assert list(whole.folder.samples.glob("*.png"))
    sheet = translated(whole.G, whole.sample_kind, whole.dealer.heldout, 3, seed=0, pairs=False)
    assert sheet.shape == (3, 1, 16, 2 * 12), "what was given and made; nothing was wanted"
    described = read_json(whole.folder.run)
    asked = described["asked"]["data"]
    assert [asked["spec"], asked["options"]["other"]] == list(map(str, two_sets)) and asked["reader"] == "unpaired"
    assert described["data"]["name"] == "a.npz to b.npz"

    photo = tmp_path / "photo.png"
    Image.fromarray(np.random.default_rng(1).integers(0, 255, (21, 13), dtype=np.uint8)).save(photo)
    results = {}
    for direction in (None, "a2b", "b2a"):
        out = tmp_path / f"out-{direction}"
        if direction == "b2a" and "side" not in whole.condition:
            with pytest.raises(UserError, match="only from a to b"):
                mg.apply(whole, [photo], out, direction=direction)
            continue
        assert not mg.apply(whole, [photo], out, direction=direction).failed
        results[direction] = np.asarray(Image.open(out / "photo.png"))
        assert results[direction].shape == (21, 13)
    assert (results[None] == results["a2b"]).all()
    assert "b2a" not in results or (results["b2a"] != results["a2b"]).any()


def test_a_batch_of_one_is_no_broken_data(two_sets: tuple[Path, Path], tmp_path: Path) -> None:
    one = order("cut", batch=1) | {"samples": 12, "guard": "on"}
    assert mg.train(*two_sets, out=tmp_path / "run", **one).summary["status"] == "finished"


def weights(run: mg.Run) -> bytes:
    last, _ = checkpoint.read_last(run.folder.checkpoints)
    name = f"step-{last.state['attempt']:02d}-{last.state['step']:09d}.safetensors"
    return (run.folder.checkpoints / name).read_bytes()


def test_a_folder_of_two_is_the_same_as_two(two_sets: tuple[Path, Path], tmp_path: Path) -> None:
    for side, path in zip("ab", two_sets, strict=True):
        (tmp_path / "both" / side).mkdir(parents=True)
        for index, pixels in enumerate(np.load(path)["images"]):
            Image.fromarray(pixels).save(tmp_path / "both" / side / f"{index:02}.png")
    one = open_data(tmp_path / "both", reader="unpaired")
    two = opened(two_sets)
    assert one.fingerprint == two.fingerprint and one.name == "a/ to b/" and two.count == 40
    rows = np.arange(30)
    assert all(torch.equal(x.records(rows), y.records(rows)) for x, y in zip(one.sides, two.sides, strict=True))
    assert torch.equal(one.records(rows), two.records(rows))
    assert opened(two_sets[::-1]).fingerprint != two.fingerprint
    words = [
        "train",
        tmp_path / "both",
        "--task",
        "style",
        "--images",
        4,
        "--out",
        tmp_path / "run",
        "--json",
        "--quiet",
    ]
    small = [word for name, value in {**TINY, "batch": 2}.items() for word in ("--set", f"{name}={value}")]
    done = mulligan(*words, *small)
    assert done.returncode == 0, done.stderr
    assert read_json(tmp_path / "run" / "recipe.json")["name"] == "restyle"
    photo = tmp_path / "both" / "a" / "00.png"
    for direction, code in (("b2a", 0), ("up", 2)):
        said = mulligan(
            "apply", tmp_path / "run", photo, "--direction", direction, "--out", tmp_path / "out", "--quiet"
        )
        assert said.returncode == code, said.stderr
    assert (tmp_path / "out" / "00.png").exists()


def test_what_cannot_be_translated_is_one_line(two_sets: tuple[Path, Path], tmp_path: Path) -> None:
    a, b = two_sets
    rgb, few = tmp_path / "rgb.npz", tmp_path / "few.npz"
    np.savez(rgb, images=np.zeros((20, 16, 12, 3), np.uint8) + np.arange(20, dtype=np.uint8)[:, None, None, None])
    np.savez(few, images=np.zeros((3, 16, 12), np.uint8))

    def refused(*data: object, **how: object) -> str:
        with pytest.raises(UserError) as error:
            mg.train(*data, out=tmp_path / "x", samples=8, quiet=True, features="random", **how)
        assert not (tmp_path / "x").exists()
        assert "\n" not in str(error.value) and len(str(error.value)) < 400
        return str(error.value)

    style = {"settings": {"task": "style"}}
    assert "mulligan train A B --task style" in refused(a, **style)
    assert "hold the same images" in refused(a, a, **style)
    assert "--size and --channels" in refused(a, rgb, **style) and "3x20x16" in refused(a, rgb, **style)
    assert "holds 3 images" in refused(a, few, **style)
    assert "two data sets are for --task style" in refused(a, b)
    assert "two data sets are for --task style" in refused(a, b, settings={"task": "denoise"})
    assert "gone.npz: no such file" in refused(a, tmp_path / "gone.npz", **style)
    assert "ring: --task style is for two sets of images, and these are points" in refused(a, "ring", **style)
    assert "labels" in refused(a, b, read={"labels": True}, **style)
    assert "terms.l1=none" in refused(a, b, recipe="pix2pix", settings={"task": "style", "discriminator.strides": 1})
    assert mg.dry_run(
        a, rgb, read={"channels": 1}, samples=4, quiet=True, features="random", settings={"task": "style", **TINY}
    )


def test_the_command_line_says_so_in_one_line_and_two(two_sets: tuple[Path, Path], tmp_path: Path) -> None:
    run = mg.train(*two_sets, out=tmp_path / "run", **order("restyle-cut"))
    photo = tmp_path / "photo.png"
    Image.new("L", (9, 9)).save(photo)
    said = mulligan("apply", run.path, photo, "--direction", "b2a", "--out", tmp_path / "out")
    assert said.returncode == 2 and len(said.stderr.strip().splitlines()) == 1 and "only from a to b" in said.stderr
    assert mulligan("apply", run.path, photo, "--out", tmp_path / "out", "--quiet").returncode == 0


def test_a_run_that_was_trained_on_pairs_takes_no_direction(two_sets: tuple[Path, Path], tmp_path: Path) -> None:
    settings = {"task": "denoise", "generator.width": 4, "discriminator.width": 4, "batch": 2}
    run = mg.train(two_sets[0], out=tmp_path / "run", samples=2, settings=settings, quiet=True, features="random")
    with pytest.raises(UserError, match="takes no --direction"):
        mg.apply(run, [tmp_path], tmp_path / "out", direction="a2b")


def test_other_data_are_another_run(two_sets: tuple[Path, Path], tmp_path: Path) -> None:
    a, b = two_sets
    mg.train(a, b, out=tmp_path / "run", **order("restyle"))
    with pytest.raises(UserError, match="another data"):
        mg.train(b, a, out=tmp_path / "run", **order("restyle"))


def test_the_named_task_leaves_a_recipe_of_it_as_it_is() -> None:
    assert recipe_named("cut", {"task": "style"}).task.options["directions"] == 1
    assert recipe_named("cut", {"task.directions": 2}).task.options["directions"] == 2
    assert recipe_named("restore", {"task": "style"}).task.options["directions"] == 2


def mulligan(*words: object) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "mulligan", *map(str, words)], capture_output=True, text=True, timeout=120
    )


def test_what_an_unconditional_d_sees_may_be_augmented(two_sets: tuple[Path, Path], tmp_path: Path) -> None:
    """D does not see the image that G was given, so a change of the fake cannot contradict it."""
    run = mg.train(
        *two_sets, out=tmp_path / "run", samples=8, seed=3, quiet=True, features="random",
        settings={"task": "style", "augment": "ada", "augment.p": 0.5, "augment.operations": ["flip", "shift"], **TINY},
    )  # fmt: skip
    assert run.summary["status"] == "finished"
