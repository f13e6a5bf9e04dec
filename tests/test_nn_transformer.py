"""The parts of transformers against their definitions."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from mulligan.core.errors import UserError
from mulligan.nn.transformer import (
    Attention,
    Block,
    DiTBlock,
    LayerScale,
    RMSNorm,
    StyledBlock,
    SwiGLU,
    attention_for,
    heads_of,
    patchify,
    positions,
    rotary,
    rotated,
    unpatchify,
)

GRID = (3, 4)
N = 12


def row_and_column(index: int) -> tuple[int, int]:
    return divmod(index, GRID[1])


def test_patches_are_squares_of_the_image_and_go_back() -> None:
    x = torch.randn(2, 3, 6, 8)
    cut = patchify(x, 2)
    for index in range(N):
        row, column = row_and_column(index)
        assert torch.equal(cut[:, index], x[:, :, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2].flatten(1))
    assert torch.equal(unpatchify(cut, 2, GRID), x)


def test_positions_are_sines_and_cosines_of_row_and_column() -> None:
    found = positions(GRID, 16)
    for index in range(N):
        row, column = row_and_column(index)
        expected = [
            wave(at * 10_000 ** (-i / 4)) for at in (row, column) for wave in (math.sin, math.cos) for i in range(4)
        ]
        assert found[index].tolist() == pytest.approx(expected, abs=1e-6)


def test_rotary_embeddings_give_only_the_offset_of_tokens() -> None:
    torch.manual_seed(0)
    query, key = torch.randn(2, 8)
    turns = rotary(GRID, 8)
    a, b = (rotated(x.expand(1, 1, N, 8), turns)[0, 0] for x in (query, key))
    products = a @ b.T
    by_offset: dict[tuple[int, int], list[float]] = {}
    for i in range(N):
        for j in range(N):
            (r, c), (s, d) = row_and_column(i), row_and_column(j)
            by_offset.setdefault((r - s, c - d), []).append(products[i, j].item())
    for values in by_offset.values():
        assert values == pytest.approx([values[0]] * len(values), abs=1e-5)
    means = [values[0] for values in by_offset.values()]
    assert len({round(mean, 3) for mean in means}) > len(means) // 2  # and the offset matters
    torch.testing.assert_close(a.norm(dim=1), query.norm().expand(N))  # lengths do not change


def test_tokens_without_a_position_are_not_rotated() -> None:
    cos, sin = rotary(GRID, 8, still=2)
    assert cos.shape == (N + 2, 4) and (cos[:2] == 1).all() and (sin[:2] == 0).all()
    assert torch.equal(cos[2:], rotary(GRID, 8)[0])


def softmax_by_hand(layer: Attention, x: Tensor, turns: tuple[Tensor, Tensor] | None) -> Tensor:
    """Token by token and head by head."""
    width, heads = x.shape[1], layer.heads
    size = width // heads
    q, k, v = (x @ w.T + b for w, b in zip(layer.qkv.weight.chunk(3), layer.qkv.bias.chunk(3), strict=True))
    found = torch.zeros_like(x)
    for h in range(heads):
        part = slice(h * size, (h + 1) * size)
        qs, ks = [], []
        for i in range(len(x)):
            for given, results, norm in ((q, qs, 0), (k, ks, 1)):
                y = given[i, part]
                if layer.norms is not None:
                    y = y / (y.pow(2).mean() + 1e-6).sqrt() * layer.norms[norm].gain
                if turns is not None:
                    angle = torch.atan2(turns[1][i], turns[0][i])
                    y = torch.view_as_real(torch.complex(*y.chunk(2)) * torch.exp(1j * angle)).T.flatten()
                results.append(y)
        for i in range(len(x)):
            weights = torch.stack([qs[i] @ each / math.sqrt(size) for each in ks]).exp()
            found[i, part] = sum(w / weights.sum() * value for w, value in zip(weights, v[:, part], strict=True))
    return found @ layer.out.weight.T + layer.out.bias


@pytest.mark.parametrize("qk_norm", [True, False])
@pytest.mark.parametrize("rotate", [True, False])
def test_attention_is_a_softmax_over_tokens(qk_norm: bool, rotate: bool) -> None:
    torch.manual_seed(0)
    layer, x = Attention(16, 2, qk_norm=qk_norm), torch.randn(2, N, 16)
    if qk_norm:
        for norm in layer.norms:
            nn.init.normal_(norm.gain)
    turns = rotary(GRID, 8) if rotate else None
    for found, given in zip(layer(x, turns), x, strict=True):
        torch.testing.assert_close(found, softmax_by_hand(layer, given, turns), atol=1e-5, rtol=1e-4)


def test_a_second_derivative_where_a_penalty_needs_one() -> None:
    torch.manual_seed(0)
    layer, x = Attention(8, 1), torch.randn(2, 5, 8)

    def penalised(x: Tensor) -> Tensor:
        with attention_for(x, layer):
            y = layer(x)
        (gradient,) = torch.autograd.grad(y.square().sum(), x, create_graph=True)
        return gradient.square().sum()

    penalised(x.requires_grad_()).backward()
    assert layer.qkv.weight.grad.abs().sum() > 0
    weight, step = layer.qkv.weight, 1e-3
    with torch.no_grad():
        weight[3, 2] += step
        above = penalised_value(penalised, x)
        weight[3, 2] -= 2 * step
        below = penalised_value(penalised, x)
        weight[3, 2] += step
    assert layer.qkv.weight.grad[3, 2].item() == pytest.approx((above - below) / (2 * step), rel=0.05, abs=1e-3)


@torch.enable_grad()
def penalised_value(penalised, x: Tensor) -> float:
    return penalised(x).item()


def test_rms_norm_brings_the_mean_square_to_one() -> None:
    torch.manual_seed(0)
    x = 7 * torch.randn(3, 5, 16)
    torch.testing.assert_close(RMSNorm(16, affine=False)(x).square().mean(-1), torch.ones(3, 5))
    assert not list(RMSNorm(16, affine=False).parameters())
    norm = RMSNorm(16)
    nn.init.normal_(norm.gain)
    torch.testing.assert_close(norm(x), x / x.square().mean(-1, keepdim=True).sqrt() * norm.gain)
    assert norm(x.bfloat16()).dtype == torch.float32  # the dtype of the gain


def test_swiglu_is_a_gated_product() -> None:
    torch.manual_seed(0)
    layer, x = SwiGLU(12), torch.randn(2, 3, 12)
    gate, y = layer.gated(x).split(32, -1)  # two thirds of 4 * 12
    torch.testing.assert_close(layer(x), layer.out(gate * gate.sigmoid() * y))


def test_blocks_with_closed_gates_change_nothing() -> None:
    torch.manual_seed(0)
    x, style, turns = torch.randn(2, N, 16), torch.randn(2, 6), rotary(GRID, 8)
    styled = StyledBlock(16, 2, 6)
    assert not torch.equal(styled(x, style, turns), x)
    nn.init.zeros_(styled.modulation.linear.weight)
    assert torch.equal(styled(x, style, turns), x)
    assert torch.equal(DiTBlock(16, 2, 6)(x, style), x)  # in its initial state
    block = Block(16, 2)
    for scale in block.scales:
        nn.init.zeros_(scale.gain)
    assert torch.equal(block(x, turns), x)
    torch.testing.assert_close(LayerScale(16)(x), 0.1 * x)


def test_a_dit_block_scales_shifts_and_gates_by_its_style() -> None:
    torch.manual_seed(0)
    block, x, style = DiTBlock(8, 2, 6), torch.randn(2, N, 8), torch.randn(2, 6)
    nn.init.normal_(block.modulation.linear.weight)
    parts = (style * style.sigmoid()) @ block.modulation.linear.weight.T
    sa, ca, ga, sm, cm, gm = parts[:, None].split(8, -1)

    def layer_norm(x: Tensor) -> Tensor:
        return (x - x.mean(-1, keepdim=True)) / (x.var(-1, correction=0, keepdim=True) + 1e-6).sqrt()

    y = x + ga * block.attention(layer_norm(x) * (1 + ca) + sa)
    torch.testing.assert_close(block(x, style), y + gm * block.mlp(layer_norm(y) * (1 + cm) + sm))


@pytest.mark.parametrize("kind", ["block", "styled", "dit"])
def test_gradients_reach_every_parameter_of_a_block(kind: str) -> None:
    torch.manual_seed(0)
    x, style, turns = torch.randn(2, N, 16), torch.randn(2, 6), rotary(GRID, 8)
    net = {"block": Block(16, 2), "styled": StyledBlock(16, 2, 6), "dit": DiTBlock(16, 2, 6)}[kind]
    if kind == "dit":
        nn.init.normal_(net.modulation.linear.weight)
    y = {"block": lambda: net(x, turns), "styled": lambda: net(x, style, turns), "dit": lambda: net(x, style)}[kind]()
    (y * torch.randn_like(y)).sum().backward()
    assert not [name for name, p in net.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]


def test_a_width_that_heads_do_not_divide_is_refused() -> None:
    assert heads_of("gat", 64, 32) == 2 and heads_of("gat", 8, 32) == 1 and heads_of("gat", 1152, 72) == 16
    with pytest.raises(UserError, match="try width=72"):
        heads_of("gat", 70, 32)
