"""Layers against their definitions."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.signal
import scipy.stats
import torch
import torch.nn.functional as F
from torch import nn

from mulligan.nn.attention import SelfAttention
from mulligan.nn.conv import Conv2d, ConvTranspose2d, by_frequency, pays
from mulligan.nn.dropout import Dropout, dropout
from mulligan.nn.equalised import EqualConv2d, EqualLinear
from mulligan.nn.head import Head
from mulligan.nn.norm import AdaptiveInstanceNorm, ConditionalBatchNorm, VectorBatchNorm
from mulligan.nn.resample import downsample, fir, upsample
from mulligan.nn.style import MinibatchStd, ModulatedConv2d


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("p", [0.1, 0.3, 0.5])
def test_dropout_drops_its_share_and_keeps_the_mean(p: float, layout: torch.memory_format) -> None:
    torch.manual_seed(0)
    x = torch.ones(64, 8, 31, 33).contiguous(memory_format=layout)
    y = dropout(x, p)
    assert y.stride() == x.stride()
    assert y.unique().tolist() == pytest.approx([0.0, 1 / (1 - p)], rel=1e-4)
    se = (p * (1 - p) / x.numel()) ** 0.5
    assert abs((y == 0).float().mean().item() - p) < 4 * se + 1e-5
    assert abs(y.mean().item() - 1) < 4 * se / (1 - p)


def test_dropout_lanes_are_independent() -> None:
    torch.manual_seed(0)
    dropped = (dropout(torch.ones(400_000), 0.5) == 0).float() - 0.5
    for lag in (1, 2, 3, 4, 8):
        assert abs((dropped[lag:] * dropped[:-lag]).mean().item()) < 4 * 0.25 / 400_000**0.5


def test_dropout_is_off_in_evaluation_and_follows_the_seed() -> None:
    x, layer = torch.randn(3, 5), Dropout(0.5)
    assert torch.equal(layer.eval()(x), x)
    torch.manual_seed(1)
    first = layer.train()(x)
    torch.manual_seed(1)
    assert torch.equal(layer(x), first)


def test_dropout_gradient_is_its_mask() -> None:
    x = torch.randn(100, requires_grad=True)
    y = dropout(x, 0.3)
    y.sum().backward()
    assert torch.equal(x.grad == 0, y == 0)


SPACES = [(12,), (8, 14), (6, 4, 10)]  # ranks 1 to 3


@pytest.mark.parametrize("space", SPACES)
def test_resampling_keeps_constants_and_samples_away_from_the_border(space: tuple[int, ...]) -> None:
    x = torch.full((1, 2, *space), 0.7)
    inside = (..., *[slice(1, -1)] * len(space))
    for y in (downsample(x), upsample(x)):
        torch.testing.assert_close(y[inside], torch.full_like(y[inside], 0.7))
    noise = torch.randn(1, 2, *space)
    every_other = (..., *[slice(None, None, 2)] * len(space))
    torch.testing.assert_close(upsample(noise)[every_other], noise)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_resampling_keeps_the_type(dtype: torch.dtype) -> None:
    x = torch.randn(1, 2, 8, 8).to(dtype)
    assert downsample(x).dtype == upsample(x).dtype == dtype


@pytest.mark.parametrize(("grid", "kernel"), [((7, 7), 5), ((4, 6), 3), ((1, 5), 5)])
def test_the_frequency_domain_gives_the_convolution_and_its_gradients(grid: tuple[int, int], kernel: int) -> None:
    torch.manual_seed(0)
    x = torch.randn(3, 6, *grid, requires_grad=True)
    weight = torch.randn(6, 4, kernel, kernel, requires_grad=True)
    found, expected = [], []
    for result, y in ((found, by_frequency(x, weight)), (expected, F.conv_transpose2d(x, weight, padding=kernel // 2))):
        first = torch.autograd.grad(y.pow(3).sum(), (x, weight), create_graph=True)
        second = torch.autograd.grad(sum(g.square().sum() for g in first), (x, weight))
        result += [y, *first, *second]
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5 * theirs.abs().max().item())


def test_convolutions_choose_their_algorithm_but_not_their_result() -> None:
    torch.manual_seed(0)
    assert pays((7, 7), 5, 128, 64) and not pays((28, 28), 5, 128, 64) and not pays((7, 7), 5, 1, 64)
    for ours, side in (
        (ConvTranspose2d(128, 64, 5, padding=2, bias=False), 7),  # by frequency
        (ConvTranspose2d(8, 1, 5, stride=2, padding=2, output_padding=1, bias=False), 7),  # by phases
        (ConvTranspose2d(8, 3, 4, stride=2, padding=1, bias=False), 8),
        (ConvTranspose2d(8, 9, 5, stride=2, padding=2, output_padding=1), 7),  # as torch does
        (Conv2d(1, 8, 5, stride=2, padding=2), 28),
        (Conv2d(3, 8, 4, stride=2, padding=1), 16),
        (Conv2d(1, 8, 5, stride=2, padding=2), 27),
        (Conv2d(8, 9, 3, padding=1), 7),
    ):
        x = torch.randn(2, ours.in_channels, side, side, requires_grad=True)
        plain = type(ours).__mro__[1].forward(ours, x)
        dy = torch.randn_like(plain)
        for mine, theirs in zip(
            (ours(x), *torch.autograd.grad(ours(x), (x, ours.weight), dy)),
            (plain, *torch.autograd.grad(plain, (x, ours.weight), dy)),
            strict=True,
        ):
            torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("class_by", ["projection", "classifier", "both"])
def test_a_head_takes_or_predicts_the_class(class_by: str) -> None:
    torch.manual_seed(0)
    head, features, ids = Head(6, 3, class_by), torch.randn(5, 6), torch.tensor([0, 1, 2, 0, 1])
    judgement = head(features, ids, [features])
    expected = head.logit(features).squeeze(1)
    if class_by != "classifier":
        expected = expected + torch.einsum("bf,bf->b", head.embed.weight[ids], features)
    torch.testing.assert_close(judgement.logits[0], expected)
    assert judgement.features[0] is features
    if class_by == "projection":
        assert judgement.classes is None
    else:
        torch.testing.assert_close(judgement.classes, head.classify(features))
    unlabelled = Head(6, 0, class_by)(features, None, [])
    assert unlabelled.classes is None and unlabelled.logits[0].shape == (5,)


@pytest.mark.parametrize("shape", [(4,), (4, 5), (4, 3, 2)])
def test_conditional_batch_norm_is_batch_norm_and_a_scale_and_shift_of_the_class(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    norm, x, ids = ConditionalBatchNorm(4, 3), torch.randn(6, *shape) * 3 + 1, torch.tensor([0, 1, 2, 0, 1, 2])
    plain = nn.functional.batch_norm(x, None, None, training=True)
    torch.testing.assert_close(norm(x, ids), plain)  # at first the class has no effect
    nn.init.normal_(norm.scale.weight)
    nn.init.normal_(norm.shift.weight)
    found = norm(x, ids)
    for i, each in enumerate(ids.tolist()):
        for channel in range(4):
            expected = plain[i, channel] * norm.scale.weight[each, channel] + norm.shift.weight[each, channel]
            torch.testing.assert_close(found[i, channel], expected)


def test_attention_is_a_weighted_mean_over_all_positions() -> None:
    torch.manual_seed(0)
    layer = SelfAttention(16)
    x = torch.randn(2, 16, 4, 6)
    assert torch.equal(layer(x), x)  # at first
    nn.init.ones_(layer.gain)
    query, key, value = layer.query(x), F.max_pool2d(layer.key(x), 2), F.max_pool2d(layer.value(x), 2)
    found = torch.zeros_like(layer.value(x))
    for b in range(2):
        for i in range(4):
            for j in range(6):
                weights = torch.einsum("c,chw->hw", query[b, :, i, j], key[b]).exp()
                found[b, :, i, j] = (value[b] * weights / weights.sum()).sum((1, 2))
    torch.testing.assert_close(layer(x), x + layer.out(found))


def test_vector_batch_norm_is_batch_norm_with_scale_and_shift_of_a_vector() -> None:
    torch.manual_seed(0)
    layer, x = VectorBatchNorm(3, 5), torch.randn(8, 3, 4, 4)
    torch.testing.assert_close(layer(x, torch.zeros(8, 5)), nn.BatchNorm2d(3)(x))
    vector = torch.randn(8, 5)
    scale, shift = vector @ layer.scale.weight.T, vector @ layer.shift.weight.T
    expected = nn.BatchNorm2d(3)(x) * (1 + scale[:, :, None, None]) + shift[:, :, None, None]
    torch.testing.assert_close(layer(x, vector), expected)


@pytest.mark.parametrize("space", [(4, 5), (7,), (2, 3, 4)])
def test_adain_gives_each_sample_the_mean_and_deviation_of_a_vector(space: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    layer, x, vector = AdaptiveInstanceNorm(3, 5, eps=0.0), torch.randn(2, 3, *space) * 4 + 1, torch.randn(2, 5)
    y = layer(x, vector)
    for b in range(2):
        for c in range(3):
            mean, deviation = (vector[b] @ layer.shift.weight[c]).item(), (vector[b] @ layer.scale.weight[c] + 1).item()
            expected = scipy.stats.zscore(x[b, c].numpy(), axis=None) * deviation + mean
            torch.testing.assert_close(y[b, c], torch.from_numpy(expected).float(), rtol=1e-4, atol=1e-5)
    flat = AdaptiveInstanceNorm(3, 5)
    assert torch.equal(flat(torch.ones(2, 3, *space), vector).flatten(2)[..., 0], flat.shift(vector))


@pytest.mark.parametrize("up", [False, True])
@pytest.mark.parametrize("demodulate", [False, True])
def test_modulation_is_a_kernel_of_its_own_for_every_sample(up: bool, demodulate: bool) -> None:
    torch.manual_seed(0)
    layer = ModulatedConv2d(5, 4, 3, 6, up=up, demodulate=demodulate)
    x, w = torch.randn(3, 5, 6, 7), torch.randn(3, 6)
    style = w @ layer.style.weight.T / 6**0.5 + layer.style.bias
    for b in range(3):
        kernel = layer.weight / (5 * 9) ** 0.5 * style[b][None, :, None, None]
        if demodulate:
            kernel = kernel / (kernel.square().sum((1, 2, 3), keepdim=True) + 1e-8).sqrt()
        if up:
            wide = torch.zeros(1, 5, 11, 13)
            wide[:, :, ::2, ::2] = x[b]
            full = F.conv2d(F.pad(wide, (2, 2, 2, 2)), kernel.flip(2, 3))  # a transposed convolution, by its definition
            taps = np.array([1, 3, 3, 1]) / 4
            smooth = scipy.signal.convolve(full.detach().numpy()[0], np.outer(taps, taps)[None], "full")
            expected = torch.from_numpy(smooth[:, 2:-2, 2:-2]).float()
        else:
            expected = F.conv2d(x[b : b + 1], kernel, padding=1)[0]
        torch.testing.assert_close(layer(x, w)[b], expected, rtol=1e-4, atol=1e-5)


def test_fir_is_scipys() -> None:
    x = torch.randn(2, 3, 9, 6)
    taps = np.array([1, 3, 3, 1]) / 8
    for b in range(2):
        for c in range(3):
            expected = scipy.signal.convolve2d(np.pad(x[b, c].numpy(), ((2, 1), (2, 1))), np.outer(taps, taps), "valid")
            expected = torch.from_numpy(expected).float()
            torch.testing.assert_close(fir(x, before=2, after=1, gain=4.0)[b, c], 4 * expected)
            torch.testing.assert_close(fir(x, before=2, after=1, stride=2)[b, c], expected[::2, ::2])


@pytest.mark.parametrize("count", [8, 6, 3, 1])
def test_minibatch_deviation_is_of_groups(count: int) -> None:
    x = torch.randn(count, 2, 3, 3)
    y = MinibatchStd(4)(x)
    assert torch.equal(y[:, :2], x)
    groups = -(-count // 4)
    for i in range(count):
        mine = x[i % groups :: groups]
        expected = (mine - mine.mean(0)).square().mean(0).add(1e-8).sqrt().mean()
        torch.testing.assert_close(y[i, 2], expected.expand(3, 3))


def test_equalised_layers_are_unit_normal_and_scaled() -> None:
    torch.manual_seed(0)
    linear, conv = EqualLinear(400, 300, rate=0.01), EqualConv2d(40, 30, 3, padding=1)
    assert (linear.weight * 0.01).std().item() == pytest.approx(1, rel=0.02)
    assert linear(torch.randn(500, 400)).std().item() == pytest.approx(1, rel=0.05)
    assert conv(torch.randn(4, 40, 16, 16))[:, :, 1:-1, 1:-1].std().item() == pytest.approx(1, rel=0.05)
