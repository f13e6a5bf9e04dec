"""Augmentation against explicit matrices, scipy, and the rules of its random numbers; at any size and channel count."""

from __future__ import annotations

import math

import pytest
import torch
from scipy import ndimage
from torch import Tensor

import mulligan.augment.consistency  # noqa: F401  registers its terms
from mulligan.augment.operations import CHANGES, COLOURS, OPERATIONS, WARPS, SampleRng, augment, recolour, warp
from mulligan.augment.parts import AdaptiveAugmentation
from mulligan.core.batch import Judgement, append_dims
from mulligan.core.condition import Condition
from mulligan.core.errors import UserError
from mulligan.core.registry import augmentations, refuse, terms
from mulligan.core.step import Step, unchanged
from mulligan.kinds.image import ImageSample
from mulligan.kinds.points import PointSample

CPU = torch.device("cpu")


def rng(strength: float = 1.0, count: int = 6, n: int | None = None, seed: int = 0) -> SampleRng:
    return SampleRng(seed, strength, count, count if n is None else n, CPU)


def images(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype) * 2 - 1


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 17, 24), (4, 8, 5)], ids=str)
@pytest.mark.parametrize("name", OPERATIONS)
def test_every_operation(name: str, shape: tuple[int, ...]) -> None:
    x = images(6, *shape)
    treated = augment(x, (name,), rng())
    assert treated.shape == x.shape and treated.isfinite().all()
    torch.testing.assert_close(augment(x, (name,), rng(strength=0)), x)
    torch.testing.assert_close(augment(x[:2], (name,), rng(n=2)), treated[:2])  # the first two change as before
    if shape[0] > 1 or name not in ("hue", "saturation"):
        assert not torch.allclose(treated, x)
    if shape[0] == 4 and name in COLOURS:
        torch.testing.assert_close(treated[:, 3], x[:, 3])


@pytest.mark.parametrize("name", [name for name in OPERATIONS if name != "color"])
def test_gradients_are_those_of_the_matrix_that_an_operation_is(name: str) -> None:
    """Every operation but one is affine in the image; the matrix is read off by treating every unit image."""
    shape, size = (3, 4, 6), 72
    x, w = images(2, *shape).requires_grad_(), images(2, *shape, seed=1).requires_grad_()
    offset = augment(torch.zeros(2, *shape, dtype=torch.float64), (name,), rng(count=2))
    units = torch.eye(size, dtype=torch.float64).reshape(size, 1, *shape).expand(-1, 2, -1, -1, -1)
    columns = torch.stack([augment(unit, (name,), rng(count=2)) - offset for unit in units]).flatten(2)
    matrix = columns.permute(1, 2, 0)  # (2, out, in)
    flat = (matrix @ x.flatten(1)[..., None]).squeeze(-1) + offset.flatten(1)
    treated = augment(x, (name,), rng(count=2))
    torch.testing.assert_close(treated.flatten(1), flat)
    (once,) = torch.autograd.grad((treated * w).sum(), x, create_graph=True)
    torch.testing.assert_close(once.flatten(1), (matrix.mT @ w.flatten(1)[..., None]).squeeze(-1))
    (twice,) = torch.autograd.grad(once.square().sum(), w)  # as a gradient penalty needs it
    expected = 2 * matrix @ matrix.mT @ w.flatten(1)[..., None]
    torch.testing.assert_close(twice.flatten(1), expected.squeeze(-1))


def test_color_can_be_differentiated_twice() -> None:
    x = images(2, 3, 3, 3).requires_grad_()
    assert torch.autograd.gradgradcheck(lambda x: augment(x, ("color",), rng(count=2)), (x,))


def test_warp_as_scipy_does_it() -> None:
    x = images(1, 1, 9, 12)
    source = torch.tensor([[0.8, 0.3, 1.7], [-0.4, 1.2, -3.1], [0, 0, 1]], dtype=torch.float64)
    rows, columns = torch.meshgrid(torch.arange(9.0) - 4, torch.arange(12.0) - 5.5, indexing="ij")
    positions = source @ torch.stack([columns.flatten(), rows.flatten(), torch.ones(108)]).double()
    expected = ndimage.map_coordinates(
        x[0, 0].numpy(), [positions[1].numpy() + 4, positions[0].numpy() + 5.5], order=1, mode="mirror"
    )
    torch.testing.assert_close(warp(x, source[None])[0, 0].flatten(), torch.from_numpy(expected))


def test_flips_quarters_and_shifts_are_exact() -> None:
    x = images(64, 1, 8, 8)
    mirrored, turned, shifted = (augment(x, (name,), rng(count=64)) for name in ("flip", "quarter", "shift"))
    assert all(
        any(torch.equal(one, other) for other in (was, was.flip(-1))) for one, was in zip(mirrored, x, strict=True)
    )
    for one, was in zip(turned, x, strict=True):
        assert min((one - was.rot90(k, (1, 2))).abs().max() for k in range(4)) < 1e-5
    inner = shifted[:, 0, 3:5, 3:5]
    windows = x.unfold(2, 2, 1).unfold(3, 2, 1)[:, 0]  # (64, 7, 7, 2, 2)
    assert ((windows - inner[:, None, None]).abs().amax((3, 4)).flatten(1).amin(1) == 0).all()


def test_operations_happen_as_often_as_they_should() -> None:
    x = images(4000, 1, 4, 4)
    for name, share in (("flip", 0.5), ("noise", 1.0), ("brightness", 1.0)):
        changed = (augment(x, (name,), rng(0.4, 4000)) != x).flatten(1).any(1).double().mean().item()
        assert abs(changed - 0.4 * share) < 4 * math.sqrt(0.25 / 4000), name


def test_colours() -> None:
    x = images(5, 3, 4, 4)
    grey = x[:, :1].expand(-1, 3, -1, -1)
    for name in ("hue", "saturation"):  # grey has neither
        torch.testing.assert_close(augment(grey, (name,), rng(count=5)), grey, atol=1e-6, rtol=0)
    turned = augment(x, ("hue",), rng(count=5))
    torch.testing.assert_close(turned.mean(1), x.mean(1), atol=1e-6, rtol=0)
    torch.testing.assert_close(turned.norm(dim=1), x.norm(dim=1), atol=1e-5, rtol=0)
    inverted = augment(grey, ("invert",), rng(count=5))
    assert {round((a / b).mean().item()) for a, b in zip(inverted, grey, strict=True)} == {-1, 1}
    half = torch.eye(4, dtype=torch.float64)[None] * 0.5
    torch.testing.assert_close(recolour(x[:1, :1], half), x[:1, :1] / 2)


def test_filtering_amplifies_one_octave_at_a_time() -> None:
    """Waves of one frequency keep their shape, and a constant image stays constant."""
    position = torch.arange(32, dtype=torch.float64) + 0.5
    waves = torch.stack([torch.cos(math.pi * position * k / 32).expand(32, 32) for k in (0, 1, 4, 16)])[:, None]
    treated = augment(waves, ("filtered",), rng(count=4))
    ratio = (treated * waves).sum((1, 2, 3)) / waves.square().sum((1, 2, 3))
    torch.testing.assert_close(treated, waves * append_dims(ratio, 4), atol=1e-6, rtol=0)
    assert len({round(r.item(), 3) for r in ratio}) == 4


def test_a_pair_gets_the_same_changes_and_others_do_not() -> None:
    x = images(8, 1, 8, 8, dtype=torch.float32)
    torch.manual_seed(0)
    both = AdaptiveAugmentation(("rotate",), 1.0)
    real, fake = both.views(8, 1.0, CPU, paired=True, fresh=lambda: x)
    torch.testing.assert_close(real(x), fake(x))
    torch.testing.assert_close(real(x), real(x))
    real, fake = both.views(8, 1.0, CPU, paired=False, fresh=lambda: x)
    assert not torch.allclose(real(x), fake(x))
    assert both.views(8, 0.0, CPU, paired=True, fresh=lambda: x) == (unchanged, unchanged)


def test_some_fakes_are_presented_as_real() -> None:
    x, other = images(1000, 1, 2, 2, dtype=torch.float32), torch.full((1000, 1, 2, 2), 5.0)
    torch.manual_seed(0)
    real, fake = augmentations["apa"]().views(1000, 0.3, CPU, paired=False, fresh=lambda: other)
    view = real(x)
    replaced = (view == 5).flatten(1).all(1)
    assert abs(replaced.double().mean() - 0.3) < 0.06 and torch.equal(view[~replaced], x[~replaced])
    assert fake is unchanged
    torch.testing.assert_close(real(x[:9]), view[:9])
    points = torch.rand(1000, 2)
    real, _ = augmentations["apa"]().views(1000, 0.3, CPU, paired=False, fresh=lambda: torch.full((1000, 2), 5.0))
    assert abs((real(points) == 5).all(1).double().mean() - 0.3) < 0.06, "any kind of sample"


def test_strength_follows_the_accuracy_of_d() -> None:
    adaptive = augmentations["ada"](target=0.6)
    offset = 0.0
    for step in range(400):  # D is always right: up, in a fifth of 40,000 samples, to the highest
        offset = adaptive.adapt(offset, torch.ones(10), step, 10, 40_000)
        if step == 199:
            assert adaptive.strength(offset) == pytest.approx(0.25)
    assert adaptive.strength(offset) == pytest.approx(0.5)
    for step in range(4000):
        offset = adaptive.adapt(offset, torch.ones(10), step, 10, 40_000)
    assert adaptive.strength(offset) == 0.8
    for step in range(10_000):  # and down again when it guesses
        offset = adaptive.adapt(offset, torch.full((10,), 0.5), step, 10, 40_000)
    assert adaptive.strength(offset) == 0.0
    fixed = augmentations["diffaugment"]()
    assert fixed.adapt(0.0, torch.ones(10), 0, 10, 100) == 0.0 and fixed.strength(0.0) == 1.0


def test_wrong_names_and_other_kinds_are_refused() -> None:
    with pytest.raises(UserError, match="rotate"):
        augmentations["ada"](operations=("rotat",))
    with pytest.raises(UserError, match="p=2"):
        augmentations["diffaugment"](p=2.0)
    for name in augmentations:
        refuse(augmentations, name, ImageSample(shape=(3, 8, 8)))
    for name in ("none", "apa"):
        refuse(augmentations, name, PointSample())
    for name in ("ada", "diffaugment", "jitter"):
        with pytest.raises(UserError, match=f"'{name}' is for image samples.*valid augmentations: apa, none"):
            refuse(augmentations, name, PointSample())
    with pytest.raises(UserError, match="term 'consistency' is for image samples"):
        refuse(terms, "consistency", PointSample())
    refuse(terms, "latent-consistency", PointSample())


def test_which_augmentations_change_what_d_sees() -> None:
    changing = {name for name in augmentations if augmentations[name]().changes_views}
    assert changing == {"ada", "apa", "diffaugment"}
    assert {name for name in augmentations if augmentations[name]().vary} == {"jitter"}


def test_consistency_is_the_squared_difference_under_a_change() -> None:
    """D is the mean of the left half, so a flip changes it; the fakes are symmetric, so there it does not."""

    def D(x: Tensor, cond: Condition) -> Judgement:
        return Judgement([x[..., : x.shape[-1] // 2].mean((1, 2, 3))], [])

    x = images(64, 1, 4, 4, dtype=torch.float32)
    step = Step("d", torch.nn.Identity(), D, torch.zeros(64, 1), Condition(), x, (x + x.flip(-1)) / 2)
    torch.manual_seed(0)
    found = terms["consistency"](operations=("flip",)).fn(step)
    left, right = (half.mean((1, 2, 3)) for half in x.chunk(2, -1))
    flipped = found > 0
    torch.testing.assert_close(found[flipped], (left - right).square()[flipped])
    assert 16 < flipped.sum() < 48
    torch.manual_seed(0)
    torch.testing.assert_close(terms["consistency"](operations=("flip",), fakes=True).fn(step), found)


def test_tables_share_no_name() -> None:
    assert len(OPERATIONS) == len({*WARPS, *COLOURS, *CHANGES})


def test_training_images_are_mirrored_and_cropped() -> None:
    ramp = torch.linspace(-1, 1, 32).expand(400, 1, 16, 32)  # left to right

    def varied(seed: int = 0, x: Tensor = ramp, **options: float) -> Tensor:
        return augmentations["jitter"](**options).vary(x, torch.Generator().manual_seed(seed))

    assert torch.equal(varied(), varied()) and not torch.equal(varied(), varied(seed=1))
    assert torch.equal(varied(enlarge=1, mirror=False), ramp)
    mirrored = varied(enlarge=1)
    flipped = (mirrored == ramp.flip(-1)).flatten(1).all(1)
    assert torch.equal(mirrored[~flipped], ramp[~flipped]) and 160 < flipped.sum() < 240

    slope = 2 / 31 / 1.25
    enlarged = varied(mirror=False, enlarge=1.25)[..., 2:-2]  # without the borders
    torch.testing.assert_close(enlarged.diff(dim=-1), torch.full((400, 1, 16, 27), slope), atol=0.1 * slope, rtol=0)
    lefts = enlarged[:, 0, 0, 0] - 2 * slope
    most = 2 / 31 * 32 * (1 - 1 / 1.25)  # from one end of the image to the other
    assert lefts.min() > -1.05 and most - 0.05 < lefts.max() - lefts.min() < most + 0.05
    assert varied(x=torch.rand(4, 3, 9, 7) * 2 - 1, enlarge=2).abs().max() <= 1

    with pytest.raises(UserError, match=r"enlarge=0.5 must be from 1 to 4"):
        augmentations["jitter"](enlarge=0.5)
