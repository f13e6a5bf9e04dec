"""Translation without pairs: two sets of pictures, both ways, through the same loop and the command line."""

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

import mulligan.api as mg
from mulligan.core import registry
from mulligan.core.batch import Judgement, Shown
from mulligan.core.errors import UserError
from mulligan.core.recipe import Part
from mulligan.core.run import read_json
from mulligan.core.step import Step
from mulligan.data import open_data
from mulligan.engine import checkpoint
from mulligan.models.patch import PatchDiscriminator
from mulligan.models.unet import Translator, UNetGenerator
from mulligan.models.ways import BothDiscriminators, BothGenerators
from mulligan.runs.build import build_networks, load_parts, recipe_named
from mulligan.runs.dealing import UnpairedDealer, Vary
from mulligan.runs.observer import Host
from mulligan.runs.translated import translated
from mulligan.terms.places import contrast, identity_nce, patch_nce
from mulligan.terms.ways import cycle, identity, pool

load_parts()
RECIPES = ("cyclegan", "restyle", "cut", "fastcut", "restyle-cut")
TINY = {"generator.width": 4, "discriminator.width": 4, "discriminator.strides": 1}
TWO = Shown(2, unpaired=True, sides=True)
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def kinds(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Dark pictures and bright ones, a few more of the latter."""
    root = tmp_path_factory.mktemp("kinds")
    dice = np.random.default_rng(0)
    for name, low, count in (("a", 0, 30), ("b", 128, 40)):
        np.savez(root / f"{name}.npz", images=dice.integers(low, low + 128, (count, 16, 12), dtype=np.uint8))
    return root / "a.npz", root / "b.npz"


def order(recipe: str, **more: object) -> dict[str, object]:
    less = {"generator.heads": 8} if "cut" in recipe else {}
    less |= {"generator.blocks": 2} if registry.recipes[recipe]().generator.name == "translator" else {}
    settings = {**TINY, **less, "batch": 4, **more}
    return {"recipe": recipe, "images": 8, "settings": settings, "quiet": True, "features": "random", "guard": "off"}


def dealt(kinds: tuple[Path, Path], ways: int = 2, vary: Vary | None = None) -> UnpairedDealer:
    data = open_data(kinds[0], other=kinds[1], unpaired=True)
    return UnpairedDealer(Part("style", ways=ways).build(registry.tasks, data), data, CPU, seed=3, vary=vary)


def test_batches_go_both_ways_by_turns(kinds: tuple[Path, Path]) -> None:
    deal = dealt(kinds)
    data = deal.data
    real, cond = deal.train(0, 8)
    assert real.shape == (8, 1, 16, 12) and cond.shape == (8, 2, 16, 12)
    assert cond[:, 1].flatten(1).unique(dim=1).squeeze(1).tolist() == [0, 1] * 4
    assert torch.equal(real[0::2], cond[1::2, :1]) and torch.equal(real[1::2], cond[0::2, :1])
    assert (real[0::2] > 0).all() and (real[1::2] < 0.01).all(), "b is bright, a is dark"
    for start, count in ((3, 5), (1, 2), (7, 1)):
        assert all(torch.equal(some, all_[start : start + count]) for some, all_ in zip(
            deal.train(start, count), deal.train(0, 8), strict=True))  # fmt: skip
    seen = deal.train(0, 2 * len(data.a.train)).cond[0::2, 0]
    assert len(torch.unique(seen.flatten(1), dim=0)) == len(data.a.train), "all of a, each once"
    one = dealt(kinds, ways=1).train(0, 6)
    assert one.cond.shape == (6, 1, 16, 12) and (one.real > 0).all()


@pytest.mark.parametrize("ways", [1, 2])
def test_only_training_pictures_vary(kinds: tuple[Path, Path], ways: int) -> None:
    vary = registry.augmentations["jitter"](enlarge=1).dealt
    varied, plain = dealt(kinds, ways, vary), dealt(kinds, ways)
    assert torch.equal(varied.train(4, 6).real, varied.train(4, 6).real)
    flips = []
    for theirs, ours in zip(varied.train(0, 30), plain.train(0, 30), strict=True):
        mirrored = (theirs == ours.flip(-1)).flatten(1).all(1)
        assert (mirrored | (theirs == ours).flatten(1).all(1)).all() and 5 < mirrored.sum() < 25
        flips.append(mirrored)
    assert not torch.equal(*flips), "what goes with nothing need not be mirrored alike"
    assert all(torch.equal(*each) for each in zip(varied.heldout(6, 0), plain.heldout(6, 0), strict=True))


def test_a_and_b_have_orders_of_their_own(kinds: tuple[Path, Path], tmp_path: Path) -> None:
    """Also where they are the same pictures, so that a row of pairs by accident is none."""
    images = np.arange(40, dtype=np.uint8)[:, None, None].repeat(8, 1).repeat(8, 2)
    for name, more in (("a", 0), ("b", 100)):
        np.savez(tmp_path / f"{name}.npz", images=images + np.uint8(more))
    real, cond = dealt((tmp_path / "a.npz", tmp_path / "b.npz"), ways=1).train(0, 36)
    together = (real - cond)[:, 0, 0, 0] * 127.5
    assert (together.round() == 100).sum() < 6


def test_what_is_held_out_is_never_trained_on(kinds: tuple[Path, Path]) -> None:
    deal = dealt(kinds)
    assert (len(deal.data.a.heldout), len(deal.data.b.heldout)) == (3, 4), "fewer than 8: training images stand in"
    real, cond = deal.heldout(7, 0)
    assert (cond[:, 1] == 0).all() and (real > 0).all(), "looked at: from a to b"
    assert torch.equal(deal.heldout(3, 4).cond, cond[4:7])
    assert deal.heldout(6).cond[:, 1, 0, 0].tolist() == [0, 1] * 3, "asked as in training: both ways"


def test_networks_of_both_ways_route_rows_and_reach_every_weight() -> None:
    torch.manual_seed(0)
    recipe = recipe_named("cyclegan", TINY)
    G, D = build_networks(recipe, (1, 16, 12), 0, CPU, TWO)
    assert isinstance(G, BothGenerators) and isinstance(D, BothDiscriminators) and D.alone and G.step == 4
    cond = torch.cat(
        [torch.rand(5, 1, 16, 12), torch.tensor([0.0, 1, 1, 0, 1])[:, None, None, None].expand(5, 1, 16, 12)], 1
    )
    z = torch.randn(5, 0)
    made = G(z, cond)
    for row, side in enumerate((0, 1, 1, 0, 1)):
        torch.testing.assert_close(made[row], G.nets[side](z[row : row + 1], cond[row : row + 1, :1])[0])
    judgement = D(made, cond)
    for row, side in enumerate((0, 1, 1, 0, 1)):
        alone = D.nets[side](made[row : row + 1], None if D.alone is None else cond[row : row + 1, :1])
        torch.testing.assert_close(judgement.logits[0][row], alone.logits[0][0])
        torch.testing.assert_close(judgement.features[1][row], alone.features[1][0])
    judgement.logits[0].square().sum().backward()
    for net in (G, D):
        dead = [name for name, p in net.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
        assert not [name for name in dead if "bias" not in name], "instance norm takes biases away"
    assert G(z[:1], cond[:1]).shape == (1, 1, 16, 12), "all rows to one side"


def test_a_patch_d_of_what_is_unpaired_sees_pictures_alone() -> None:
    torch.manual_seed(0)
    D = PatchDiscriminator((3, 16, 16), 0, Shown(3, unpaired=True), width=4, strides=1)
    x = torch.randn(2, 3, 16, 16)
    assert torch.equal(D.eval()(x, torch.randn_like(x)).logits[0], D(x, torch.zeros_like(x)).logits[0])
    paired = PatchDiscriminator((3, 16, 16), 0, Shown(3), width=4, strides=1).eval()
    assert not torch.equal(paired(x, torch.randn_like(x)).logits[0], paired(x, torch.zeros_like(x)).logits[0])


@pytest.mark.parametrize(("options", "pixels"), [((3, 3), 54), ((3, 4), 70), ((2, 3), 26), ((2, 4), 34), ((1, 4), 16)])
def test_a_logit_depends_on_a_patch_of_so_many_pixels(options: tuple[int, int], pixels: int) -> None:
    """By the gradient of one in the middle, in a picture that is larger than any patch."""
    strides, last = options
    D = PatchDiscriminator((1, 160, 160), 0, Shown(1, unpaired=True), width=2, strides=strides, last=last, norm="none")
    x = torch.randn(1, 1, 160, 160, requires_grad=True)
    (logits,) = D(x, x.detach()).logits
    logits[0, logits.shape[1] // 2, logits.shape[2] // 2].backward()
    assert [int((x.grad[0, 0] != 0).any(axis).sum()) for axis in (0, 1)] == [pixels, pixels]


def test_published_recipes_judge_patches_of_70_pixels_and_small_pictures_are_refused() -> None:
    for name in ("pix2pix", "cyclegan", "cut", "fastcut"):
        patches = recipe_named(name, {}).discriminator
        assert (patches.name, patches.options["strides"], patches.options["last"]) == ("patch", 3, 4)
    smallest = PatchDiscriminator((1, 24, 24), 0, Shown(1, unpaired=True), last=4)
    assert smallest.heads[0](torch.randn(2, 1, 24, 24))[0].shape == (2, 1, 1)
    with pytest.raises(UserError, match="16x16 is too small for strides=3, last=4"):
        PatchDiscriminator((1, 16, 16), 0, Shown(1), last=4)


class Shift(nn.Module):
    """To b one adds 0.25, to a one halves: the way back is not the way there backwards."""

    sides = True

    def forward(self, z: Tensor, cond: Tensor) -> Tensor:
        return torch.where(cond[:, -1:] > 0.5, cond[:, :-1] / 2, cond[:, :-1] + 0.25)


class Alone(nn.Module):
    alone = True

    def forward(self, x: Tensor, cond: Tensor | None) -> Judgement:
        return Judgement([x.flatten(1).sum(1)], [])


def step_of(G: nn.Module, sides: list[float], side: str = "g", memory: dict | None = None, seed: int = 0) -> Step:
    dice = torch.Generator().manual_seed(seed)
    shown, real = (torch.rand(len(sides), 1, 3, 2, generator=dice) for _ in range(2))
    plane = torch.tensor(sides)[:, None, None, None].expand_as(shown)
    cond = torch.cat([shown, plane], 1)
    z = torch.zeros(len(sides), 0)
    return Step(side, G, Alone(), z, cond, real, G(z, cond), memory=memory)


def test_cycle_and_identity_by_hand() -> None:
    step = step_of(Shift(), [0, 1, 1])
    x, y = step.cond[:, 0], step.real[:, 0]
    back = torch.stack([(x[0] + 0.25) / 2, x[1] / 2 + 0.25, x[2] / 2 + 0.25])
    torch.testing.assert_close(cycle().fn(step), (back - x).abs().mean((1, 2)))
    stays = torch.stack([y[0] + 0.25, y[1] / 2, y[2] / 2])
    torch.testing.assert_close(identity().fn(step), (stays - y).abs().mean((1, 2)))
    one = Step("g", Translator((1, 16, 16), 0, Shown(1), width=4, blocks=1), Alone(), torch.zeros(2, 0),
               torch.rand(2, 1, 16, 16), torch.rand(2, 1, 16, 16), torch.rand(2, 1, 16, 16))  # fmt: skip
    torch.testing.assert_close(identity().fn(one), (one.G(one.z, one.real) - one.real).abs().mean((1, 2, 3)))
    with pytest.raises(UserError, match=r"task\.ways=2"):
        cycle().fn(one)


def test_contrast_against_a_loop() -> None:
    torch.manual_seed(0)
    made, shown = (F.normalize(torch.randn(2, 5, 7), dim=2) for _ in range(2))
    found = contrast(made, shown, 0.07)
    for b in range(2):
        for p in range(5):
            logits = torch.stack([made[b, p] @ shown[b, q] / 0.07 for q in range(5)])
            torch.testing.assert_close(found[b, p], F.cross_entropy(logits[None], torch.tensor([p])))
    assert (contrast(shown, shown, 0.07) < contrast(shown.roll(1, 1), shown, 0.07)).all(), "each place with its own"


@pytest.mark.parametrize("apart", [False, True])
@pytest.mark.parametrize(
    ("family", "how", "layers", "least"), [(Translator, {"blocks": 3}, 5, 12), (UNetGenerator, {"levels": 2}, 2, 12)]
)
def test_patch_nce_of_every_place_is_the_mean_over_layers_and_reaches_heads(
    family: type[nn.Module], how: dict[str, int], layers: int, least: int, apart: bool
) -> None:
    torch.manual_seed(0)
    G = family((3, 16, 12), 0, Shown(3, unpaired=True), width=4, heads=8, apart=apart, norm="none", std=0.1, **how)
    shown, real = torch.rand(2, 3, 16, 12), torch.rand(2, 3, 16, 12)
    z = torch.zeros(2, 0)
    fake = G(z, shown)
    step = Step("g", G, Alone(), z, shown, real, fake)
    own = G.heads_of_made if apart else G.heads
    for term, made, of, heads in ((patch_nce(), fake, shown, G.heads), (identity_nce(), G(z, real), real, own)):
        by_layer = []
        for mine, its, ours, theirs in zip(own, heads, G.encoded(z, made), G.encoded(z, of), strict=True):
            ours, theirs = mine(ours.flatten(2).mT), its(theirs.flatten(2).mT)
            assert torch.allclose(ours.norm(dim=2), torch.ones(()))
            by_layer.append(contrast(ours, theirs, 0.07).mean(1) if ours.shape[1] <= 256 else None)
        assert len(by_layer) == layers and ours.shape[1] == least and None not in by_layer
        torch.testing.assert_close(term.fn(step), torch.stack(by_layer).mean(0))
    patch_nce(places=7).fn(step).mean().backward()
    assert not [name for name, p in G.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    with pytest.raises(UserError, match=r"generator\.heads"):
        patch_nce().fn(Step("g", Translator((3, 16, 12), 0, Shown(3), width=4), Alone(), z, shown, real, fake))


def test_patch_nce_of_mirrored_inputs_holds_places_against_their_mirror_images() -> None:
    class Seen(nn.Module):
        """Tells places by what is there and to the left of it."""

        heads, heads_of_made = nn.ModuleList([nn.Flatten(2)]), None

        def encoded(self, z: Tensor, x: Tensor) -> list[Tensor]:
            return [torch.cat([x, 0.5 * x.roll(1, 3)], 1)]

    def value(mirror: float, seed: int = 0) -> Tensor:
        torch.manual_seed(seed)
        return patch_nce(places=999, temperature=1.0, mirror=mirror).fn(step)

    shown, made = torch.randn(2, 3, 4, 5), torch.randn(2, 3, 4, 5)
    step = Step("g", Seen(), Alone(), torch.zeros(2, 0), shown, made, made)
    ours, theirs = Seen().encoded(step.z, made)[0], Seen().encoded(step.z, shown.flip(-1))[0]
    wanted = contrast(ours.flip(-1).flatten(2).mT, theirs.flatten(2).mT, 1.0).mean(1)
    torch.testing.assert_close(value(1.0), wanted)
    assert not torch.allclose(value(0.0), wanted)
    some = torch.stack([value(0.5, seed) for seed in range(40)])
    assert 10 < torch.isclose(some, wanted).all(1).sum() < 30
    with pytest.raises(UserError, match="mirror=2 is how often"):
        patch_nce(mirror=2)


def test_a_pool_keeps_fakes_by_side_and_shows_old_ones() -> None:
    memory: dict[str, Tensor] = {}
    history: dict[float, list[Tensor]] = {0.0: [], 1.0: []}
    old = 0
    for turn in range(60):
        torch.manual_seed(turn)
        step = step_of(Shift(), [0, 1, 0, 1], "d", memory, seed=turn)
        step.pass_through(pool(size=6).fn(step, 0.5))
        seen = step.view_fake(step.fake)
        assert torch.equal(seen, step.view_fake(step.fake)) and torch.equal(seen[:2], step.view_fake(step.fake[:2]))
        assert torch.equal(step.view_real(step.real), step.real)
        for row, side in enumerate((0.0, 1.0, 0.0, 1.0)):
            history[side].append(step.fake[row])
            (match,) = [k for k, each in enumerate(history[side]) if torch.equal(each, seen[row])]
            fresh = torch.equal(seen[row], step.fake[row])
            assert fresh or match < len(history[side]) - 1
            assert fresh or turn >= 3, "all are shown until there are enough"
            old += not fresh
    assert {name: len(kept) for name, kept in memory.items()} == {"pool.a": 6, "pool.b": 6}
    assert 0.35 < old / (4 * 57) < 0.65
    for side, name in ((0.0, "pool.b"), (1.0, "pool.a")):
        assert all(any(torch.equal(kept, each) for each in history[side]) for kept in memory[name])
    step.D.alone = False
    with pytest.raises(UserError, match="pool"):
        pool().fn(step, 0.5)


@pytest.mark.parametrize("recipe", RECIPES)
def test_two_steps_a_break_a_resume_and_photos_through_it(
    recipe: str, kinds: tuple[Path, Path], tmp_path: Path
) -> None:
    how = order(recipe, **({"terms.pool.size": 1} if recipe == "cyclegan" else {}))
    whole = mg.train(*kinds, out=tmp_path / "whole", **how)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Host, "interrupted", lambda self: True)
        assert mg.train(*kinds, out=tmp_path / "broken", **how).summary["status"] == "interrupted"
    broken = mg.train(*kinds, out=tmp_path / "broken", **how)
    assert weights(whole) == weights(broken)
    if recipe == "cyclegan":
        kept = checkpoint.read_last(whole.folder.checkpoints)[0].tensors
        assert kept["memory.d.pool.a"].shape == kept["memory.d.pool.b"].shape == (1, 1, 16, 12)
    assert broken.sample(3).shape == (3, 1, 16, 12)
    summary = whole.summary
    assert "kid" in summary["metrics"] and "psnr" not in summary["metrics"] and not summary["protocol"]["pairs"]
    found = whole.evaluate(features="random")
    assert "kid" in found["metrics"] and "psnr" not in found["metrics"]
    assert list(whole.folder.samples.glob("*.png"))
    look = translated(whole.G, whole.pairs.heldout, 3, seed=0, pairs=False)
    assert look.shape == (3, 1, 16, 2 * 12), "what was shown and made; nothing was wanted"
    described = read_json(whole.folder.run)
    assert [described["asked"]["data"][each] for each in ("spec", "other")] == list(map(str, kinds))
    assert described["data"]["name"] == "a.npz to b.npz"

    photo = tmp_path / "photo.png"
    Image.fromarray(np.random.default_rng(1).integers(0, 255, (21, 13), dtype=np.uint8)).save(photo)
    results = {}
    for direction in (None, "a2b", "b2a"):
        out = tmp_path / f"out-{direction}"
        if direction == "b2a" and not whole.shown.sides:
            with pytest.raises(UserError, match="from a to b alone"):
                mg.apply(whole, [photo], out, direction=direction)
            continue
        assert not mg.apply(whole, [photo], out, direction=direction).failed
        results[direction] = np.asarray(Image.open(out / "photo.png"))
        assert results[direction].shape == (21, 13)
    assert (results[None] == results["a2b"]).all()
    assert "b2a" not in results or (results["b2a"] != results["a2b"]).any()


def test_a_batch_of_one_is_no_broken_data(kinds: tuple[Path, Path], tmp_path: Path) -> None:
    one = order("cut", batch=1) | {"images": 12, "guard": "on"}
    assert mg.train(*kinds, out=tmp_path / "run", **one).summary["status"] == "finished"


def weights(run: mg.Run) -> bytes:
    last, _ = checkpoint.read_last(run.folder.checkpoints)
    name = f"step-{last.state['attempt']:02d}-{last.state['step']:09d}.safetensors"
    return (run.folder.checkpoints / name).read_bytes()


def test_a_folder_of_two_is_the_same_as_two(kinds: tuple[Path, Path], tmp_path: Path) -> None:
    for side, path in zip("ab", kinds, strict=True):
        (tmp_path / "both" / side).mkdir(parents=True)
        for index, pixels in enumerate(np.load(path)["images"]):
            Image.fromarray(pixels).save(tmp_path / "both" / side / f"{index:02}.png")
    one = open_data(tmp_path / "both", unpaired=True)
    two = open_data(kinds[0], other=kinds[1], unpaired=True)
    assert one.fingerprint == two.fingerprint and one.name == "a/ to b/" and two.count == 40
    rows = np.arange(30)
    assert torch.equal(one.partners(rows), two.partners(rows)) and torch.equal(one.images(rows), two.images(rows))
    assert open_data(kinds[1], other=kinds[0], unpaired=True).fingerprint != two.fingerprint
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


def test_what_cannot_be_translated_is_one_line(kinds: tuple[Path, Path], tmp_path: Path) -> None:
    a, b = kinds
    rgb, few = tmp_path / "rgb.npz", tmp_path / "few.npz"
    np.savez(rgb, images=np.zeros((20, 16, 12, 3), np.uint8) + np.arange(20, dtype=np.uint8)[:, None, None, None])
    np.savez(few, images=np.zeros((3, 16, 12), np.uint8))

    def refused(*data: object, **how: object) -> str:
        with pytest.raises(UserError) as error:
            mg.train(*data, out=tmp_path / "x", images=8, quiet=True, features="random", **how)
        assert not (tmp_path / "x").exists()
        assert "\n" not in str(error.value) and len(str(error.value)) < 400
        return str(error.value)

    style = {"settings": {"task": "style"}}
    assert "mulligan train A B --task style" in refused(a, **style)
    assert "are the same images" in refused(a, a, **style)
    assert "--size and --channels" in refused(a, rgb, **style) and "3x20x16" in refused(a, rgb, **style)
    assert "holds 3 images" in refused(a, few, **style)
    assert "two data sets are for --task style" in refused(a, b)
    assert "two data sets are for --task style" in refused(a, b, settings={"task": "denoise"})
    assert "gone.npz: no such file" in refused(a, tmp_path / "gone.npz", **style)
    assert "none" in refused(a, "ring", **style)
    assert "labels" in refused(a, b, options=mg.DataOptions(labels=True), **style)
    assert "terms.l1=none" in refused(a, b, recipe="pix2pix", settings={"task": "style", "discriminator.strides": 1})
    channels = mg.DataOptions(channels=1)
    assert mg.dry_run(
        a, rgb, options=channels, images=4, quiet=True, features="random", settings={"task": "style", **TINY}
    )


def test_the_command_line_says_so_in_one_line_and_two(kinds: tuple[Path, Path], tmp_path: Path) -> None:
    run = mg.train(*kinds, out=tmp_path / "run", **order("restyle-cut"))
    photo = tmp_path / "photo.png"
    Image.new("L", (9, 9)).save(photo)
    said = mulligan("apply", run.path, photo, "--direction", "b2a", "--out", tmp_path / "out")
    assert said.returncode == 2 and len(said.stderr.strip().splitlines()) == 1 and "a to b alone" in said.stderr
    assert mulligan("apply", run.path, photo, "--out", tmp_path / "out", "--quiet").returncode == 0


def test_a_run_that_was_trained_on_pairs_takes_no_direction(kinds: tuple[Path, Path], tmp_path: Path) -> None:
    settings = {"task": "denoise", "generator.width": 4, "discriminator.width": 4, "batch": 2}
    run = mg.train(kinds[0], out=tmp_path / "run", images=2, settings=settings, quiet=True, features="random")
    with pytest.raises(UserError, match="takes no --direction"):
        mg.apply(run, [tmp_path], tmp_path / "out", direction="a2b")


def test_other_data_are_another_run(kinds: tuple[Path, Path], tmp_path: Path) -> None:
    a, b = kinds
    mg.train(a, b, out=tmp_path / "run", **order("restyle"))
    with pytest.raises(UserError, match="another data"):
        mg.train(b, a, out=tmp_path / "run", **order("restyle"))


def test_the_named_task_leaves_a_recipe_of_it_as_it_is() -> None:
    assert recipe_named("cut", {"task": "style"}).task.options["ways"] == 1
    assert recipe_named("cut", {"task.ways": 2}).task.options["ways"] == 2
    assert recipe_named("restore", {"task": "style"}).task.options["ways"] == 2


def mulligan(*words: object) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "mulligan", *map(str, words)], capture_output=True, text=True, timeout=120
    )


def test_what_d_sees_alone_may_be_augmented(kinds: tuple[Path, Path], tmp_path: Path) -> None:
    """Nothing that G was shown lies beside it, so it cannot be moved away from that."""
    run = mg.train(
        *kinds, out=tmp_path / "run", images=8, seed=3, quiet=True, features="random",
        settings={"task": "style", "augment": "ada", "augment.p": 0.5, "augment.operations": ["flip", "shift"], **TINY},
    )  # fmt: skip
    assert run.summary["status"] == "finished"
