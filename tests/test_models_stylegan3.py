"""StyleGAN3 against its paper: sizes, bands, and above all equivariance, in decibels."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from mulligan.core import registry
from mulligan.core.condition import NOTHING, Condition, by_class
from mulligan.core.errors import UserError
from mulligan.core.step import Step
from mulligan.kinds.image import ImageSample
from mulligan.models.stylegan2 import StyleGAN2Discriminator
from mulligan.models.stylegan3 import AliasFreeLayer, StyleGAN3Generator, bands
from mulligan.nn.equalised import act
from mulligan.nn.filters import FilteredAct
from mulligan.nn.resample import fir
from mulligan.runs.parts import load_parts
from mulligan.terms.blur import blurred

TINY = {"base": 256, "most": 8, "layers": 6, "margin": 6}
NO_COND = Condition()


def image(*shape: int) -> ImageSample:
    return ImageSample(shape=shape)


def classes_of(*ids: int) -> Condition:
    return Condition({"class": torch.tensor(ids)})


def small(rotation: bool = False, shape: tuple[int, ...] = (1, 28, 28), **options: int) -> StyleGAN3Generator:
    torch.manual_seed(0)
    return StyleGAN3Generator(image(*shape), NOTHING, rotation=rotation, **{**TINY, **options}).eval()


@pytest.mark.parametrize("rotation", [False, True])
@pytest.mark.parametrize("classes", [0, 3])
@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (3, 64, 64), (4, 32, 48), (1, 31, 45), (2, 8, 9)], ids=str)
def test_shapes_and_gradients(shape: tuple[int, ...], classes: int, rotation: bool) -> None:
    torch.manual_seed(0)
    G = StyleGAN3Generator(image(*shape), by_class(classes), rotation=rotation, **TINY)
    fake = G(torch.randn(3, *G.z_shape), classes_of(0, 1, classes - 1) if classes else NO_COND)
    assert fake.shape == (3, *shape)
    (fake * torch.randn_like(fake)).sum().backward()
    assert not [name for name, p in G.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]


@pytest.mark.parametrize(
    ("shape", "options", "said"),
    [
        ((1, 6, 30), {}, "8x30"),
        ((1, 28, 28), {"critical": 8}, "critical=8"),
    ],
)
def test_what_it_cannot_make_is_refused(shape: tuple[int, ...], options: dict[str, int], said: str) -> None:
    with pytest.raises(UserError, match=said):
        StyleGAN3Generator(image(*shape), NOTHING, **options)


def test_layers_of_stylegan3_r_count_as_in_a_log_of_the_authors_code() -> None:
    """At 128x128 and its default widths; per layer its kernel and bias, and the affine map from a style to scales."""
    load_parts()
    recipe = registry.recipes["stylegan3-r-ffhq1024"]().resolve()
    G = recipe.generator.build(registry.generators, image(3, 128, 128), NOTHING)
    layers = [sum(p.numel() for p in layer.parameters()) for layer in (*G.synthesis.layers, G.synthesis.to_image)]
    assert layers == [
        *[1049600 + 525312] * 10, 934800 + 525312, 623579 + 467856, 350208 + 350379, 262656 + 262656, 1539 + 262656
    ]  # fmt: skip
    assert sum(p.numel() for p in G.parameters()) == sum(layers) + 1048576 + 2052 + 2 * 262656


def test_bands_are_the_papers() -> None:
    made = bands((3, 1024, 1024), 14, 2, 10)
    for i, band in enumerate(made):  # eq. 35, 36
        t = min(i / 12, 1)
        cutoff, stop = 2 * (512 / 2) ** t, 2**2.1 * (512 * 2**0.3 / 2**2.1) ** t
        rate = 2 ** math.ceil(math.log2(min(2 * stop, 1024)))
        assert band.cutoff == pytest.approx(cutoff) and band.rate == rate
        assert band.half_width == pytest.approx(max(stop, rate / 2) - cutoff)
        assert band.grid == ((rate + 20,) * 2 if i < 13 else (1024, 1024))
    assert [made[i].rate for i in (0, 11, 12, 13)] == [16, 1024, 1024, 1024]
    assert [band.rate for band in bands((1, 28, 28), 8, 2, 6)] == [14] * 3 + [28] * 5
    assert bands((1, 62, 31), 8, 2, 6)[0].grid == (31 + 12, 16 + 12)


class Aliasing(nn.Module):
    """As in StyleGAN2: the filter [1, 3, 3, 1] where the grid grows, and a pointwise activation."""

    def __init__(self, like: FilteredAct, grid: tuple[int, int]) -> None:
        super().__init__()
        self.grid, self.up = grid, like.up > like.down

    def forward(self, x: Tensor) -> Tensor:
        if self.up:
            wide = torch.zeros(*x.shape[:2], 2 * x.shape[2], 2 * x.shape[3])
            wide[:, :, ::2, ::2] = x
            x = fir(wide, before=2, after=1, gain=4.0)
        trim = [(a - b) // 2 for a, b in zip(x.shape[2:], self.grid, strict=True)]
        return act(x[:, :, trim[0] : trim[0] + self.grid[0], trim[1] : trim[1] + self.grid[1]])


def aliasing(G: StyleGAN3Generator, shape: tuple[int, ...], margin: int) -> StyleGAN3Generator:
    made = bands(shape, len(G.synthesis.layers), 2, margin)
    for layer, band in zip(G.synthesis.layers, made, strict=True):
        layer.filtered = Aliasing(layer.filtered, band.grid)
    return G


def lanczos(x: Tensor, shift: float, a: int = 3) -> Tensor:
    """Rows moved to the right by `shift` samples (app. E.2)."""
    n = x.shape[-1]
    d = (torch.arange(n)[:, None] - shift - torch.arange(n)).double()
    taps = torch.where(d.abs() < a, torch.sinc(d) * torch.sinc(d / a), 0.0)
    return x @ (taps / taps.sum(1, keepdim=True)).T.to(x.dtype)


def decibels(want: Tensor, got: Tensor, made: Tensor) -> float:
    """PSNR (eq. 18) of images scaled to a standard deviation of 0.5, as of natural images in [-1, 1]."""
    error = (want - got).square().mean() / made.var() * 0.25
    return 10 * math.log10(4 / error.item())


@torch.no_grad()
def eq_t(G: StyleGAN3Generator, move: Callable[[Tensor, int, int], Tensor] | None = None) -> float:
    """EQ-T (eq. 23, 24): the mean over a few styles and whole shifts of up to an eighth."""
    errors, count = [], 4
    for seed in range(count):
        torch.manual_seed(seed)
        ws = G.styled(torch.randn(4, *G.z_shape), NO_COND)
        made = G.synthesis(ws)
        h, w = made.shape[2:]
        side, x, y = min(h, w), seed % 3 + 1, -(seed % 4)
        shifted = G.synthesis(ws, shift=(x / side, y / side))
        errors.append(10 ** (-decibels(made[:, :, -y:, :-x], shifted[:, :, : h + y, x:], made) / 10))
    return -10 * math.log10(sum(errors) / count)


@torch.no_grad()
def eq_t_frac(G: StyleGAN3Generator) -> float:
    """EQ-T of fractional shifts, along a row (eq. 25), against Lanczos."""
    torch.manual_seed(0)
    ws = G.styled(torch.randn(8, *G.z_shape), NO_COND)
    made = G.synthesis(ws)
    shifted = G.synthesis(ws, shift=(0.37 / made.shape[3], 0.0))
    return decibels(lanczos(made, 0.37)[..., 4:-4], shifted[..., 4:-4], made)


@torch.no_grad()
def eq_r(G: StyleGAN3Generator, degrees: float) -> float:
    """EQ-R (eq. 29): both images are filtered to frequencies that a rotated square can hold, then one is rotated."""
    torch.manual_seed(0)
    ws, angle = G.styled(torch.randn(8, *G.z_shape), NO_COND), math.radians(degrees)
    straight, turned = G.synthesis(ws), G.synthesis(ws, turn=angle)
    n = straight.shape[-1]
    at = torch.arange(n) + 0.5 - n / 2
    y, x = torch.meshgrid(at, at, indexing="ij")
    from_x, from_y = (x * math.cos(angle) + y * math.sin(angle)), (y * math.cos(angle) - x * math.sin(angle))

    def sampled(made: Tensor, x: Tensor, y: Tensor) -> Tensor:
        """The image, low-pass filtered to a disc of two thirds of its band, at P positions: (B, C, P)."""
        dx, dy = x.flatten()[:, None, None] - at, y.flatten()[:, None, None] - at[:, None]
        r = torch.hypot(dx, dy).double()
        taps = 2 * torch.special.bessel_j1(2 / 3 * math.pi * r) / (2 / 3 * math.pi * r).clamp(min=1e-9)
        taps = torch.where(r == 0, 1.0, taps) * torch.cos(math.pi * r / 14).square() * (r < 7)
        return torch.einsum("bchw,phw->bcp", made.double(), taps / taps.sum((1, 2), keepdim=True))

    inside = torch.hypot(x, y).flatten() < n / 2 - 7
    want, got = sampled(straight, from_x, from_y)[..., inside], sampled(turned, x, y)[..., inside]
    return decibels(want, got, sampled(straight, x, y)[..., inside])


def test_a_shifted_input_is_a_shifted_image() -> None:
    """StyleGAN2's layers, for comparison, are far from it."""
    found = eq_t(small())
    assert found > 45 and eq_t(small(rotation=True)) > 60
    assert eq_t(aliasing(small(), (1, 28, 28), TINY["margin"])) < found - 12
    assert eq_t(small(margin=10)) > found + 30 and eq_t(small(margin=2)) < found - 10  # borders are what is left


def test_a_shift_by_a_fraction_of_a_pixel() -> None:
    found = eq_t_frac(small(margin=10))
    assert found > 55 and found > eq_t_frac(aliasing(small(margin=10), (1, 28, 28), 10)) + 15


def test_a_rotated_input_is_a_rotated_image() -> None:
    for degrees in (30.0, 137.0):
        found = eq_r(small(rotation=True, margin=10, shape=(1, 32, 32)), degrees)
        assert found > 50 and found > eq_r(small(margin=10, shape=(1, 32, 32)), degrees) + 25


@pytest.mark.parametrize("rotation", [False, True])
def test_sides_and_shifts_of_any_size(rotation: bool) -> None:
    assert eq_t(small(rotation, (2, 31, 45), margin=10)) > 42


def test_each_layer_commutes_with_half_a_pixel() -> None:
    """One layer, away from borders: its output for waves shifted by half a pixel is its output, shifted."""
    band = bands((1, 32, 32), 6, 2, 10)[0]
    G = small(shape=(1, 32, 32), margin=10)
    layer, w = G.synthesis.layers[0].double(), torch.randn(1, 64).double()
    G.synthesis.input.double()
    straight = layer(G.synthesis.input(w, 0.0, (0.0, 0.0)), w)
    shifted = layer(G.synthesis.input(w, 0.0, (0.5 / band.rate, 0.0)), w)
    n = straight.shape[-1]
    d = (torch.arange(n)[:, None] - 0.5 - torch.arange(n)).double()
    taps = torch.where(
        d.abs() < 9, torch.sinc(d) * torch.special.i0(9 * (1 - (d / 9).square()).clamp(min=0).sqrt()), 0.0
    )
    want = straight @ (taps / taps.sum(1, keepdim=True)).T
    inside = (slice(None), slice(None), slice(6, -6), slice(12, -12))
    assert decibels(want[inside], shifted[inside], straight[inside]) > 55


def test_magnitudes_are_averaged_only_while_g_learns() -> None:
    torch.manual_seed(0)
    layer = AliasFreeLayer(3, 4, 1, 5, None)
    x, w = 3 * torch.randn(7, 3, 6, 6), torch.randn(7, 5)
    with torch.no_grad():
        layer.bias.normal_()
    plain = layer.eval()(x, w)
    layer(x, w)
    layer.train().requires_grad_(False)(x, w)
    assert layer.magnitude == 1
    layer.requires_grad_(True)(x, w)
    keep = 0.5 ** (7 / 20_000)
    assert layer.magnitude.item() == pytest.approx(keep + (1 - keep) * x.square().mean().item(), rel=1e-6)
    layer.magnitude.fill_(4.0)
    bias = layer.bias[:, None, None]
    torch.testing.assert_close(layer.eval()(x, w) - bias, (plain - bias) / 2)
    assert {"magnitude", "conv.weight"} <= set(layer.state_dict())
    assert not any("rise" in name or "fall" in name for name in small().state_dict())


def test_a_style_positions_the_image() -> None:
    """The input's affine layer does what `turn` and `shift` do: rotate about the centre, then shift."""
    G = small()
    waves, w = G.synthesis.input, torch.zeros(1, 64)
    straight = waves(w, 0.0, (0.0, 0.0))
    with torch.no_grad():
        waves.place.bias.copy_(2.0 * torch.tensor([math.cos(0.3), math.sin(0.3), 0.1, -0.2]))  # of any length
    positioned = waves(w, 0.0, (0.0, 0.0))
    undone = waves(w, -0.3, (0.0, 0.0))
    assert not torch.allclose(positioned, straight, atol=1e-2)
    x, y = 0.1 * math.cos(-0.3) + 0.2 * math.sin(-0.3), 0.1 * math.sin(-0.3) - 0.2 * math.cos(-0.3)
    with torch.no_grad():
        waves.place.bias.copy_(torch.tensor([1.0, 0.0, x, y]))
    torch.testing.assert_close(undone, waves(w, 0.0, (0.0, 0.0)), rtol=1e-4, atol=1e-4)
    with torch.no_grad():
        waves.place.bias.copy_(torch.tensor([1.0, 0.0, 0.0, 0.0]))
    quarter = waves(w, math.pi / 2, (0.0, 0.0))
    torch.testing.assert_close(quarter, straight.rot90(-1, (2, 3)), rtol=1e-4, atol=1e-4)
    aside = waves(w, 0.0, (1 / waves.band.rate, 0.0))
    torch.testing.assert_close(aside[..., 1:], straight[..., :-1], rtol=1e-4, atol=1e-4)
    radius = waves.frequencies.square().sum(0).sqrt()
    assert radius.max() <= 2 and 0.4 < straight.square().mean().sqrt() < 1.6


def test_path_length_finds_the_styles() -> None:
    load_parts()
    torch.manual_seed(0)
    context = image(1, 28, 28), by_class(3)
    G, D = StyleGAN3Generator(*context, **TINY), StyleGAN2Discriminator(*context, most=8)
    z, cond, real = torch.randn(4, 64), classes_of(0, 1, 2, 0), torch.randn(4, 1, 28, 28)
    penalty = registry.terms["path-length"]().fn(Step("g", G, D, z, cond, real, G(z, cond)))
    penalty.mean().backward()
    assert penalty.shape == (2,) and G.synthesis.layers[0].conv.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("sigma", [0.3, 1.5, 12.0])
def test_blur_is_scipys(sigma: float) -> None:
    from scipy.ndimage import gaussian_filter

    x = torch.randn(2, 3, 28, 19)
    radius = math.ceil(3 * sigma)
    theirs = gaussian_filter(x.double().numpy(), sigma, axes=(2, 3), radius=radius, mode="reflect")
    torch.testing.assert_close(blurred(x, sigma).double(), torch.from_numpy(theirs), rtol=1e-4, atol=1e-5)


def test_d_sees_blurred_samples_until_the_weight_is_zero() -> None:
    load_parts()
    rule, x = registry.terms["blur"](), torch.randn(2, 1, 8, 8)
    real, fake = rule.fn(None, 2.0)
    torch.testing.assert_close(real(x), blurred(x, 2.0))
    assert torch.equal(fake(x), real(x)) and rule.fn(None, 0.0)[0](x) is x
