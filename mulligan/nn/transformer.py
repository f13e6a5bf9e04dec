"""Parts of transformers on images; all layers start with Glorot's weights and zero bias.

Legend: B batch, C channels, H W image size, p side of a patch, h w the grid of patches, N tokens, E numbers in a token,
D numbers in a head, S numbers of a style.
"""

from __future__ import annotations

import contextlib

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from mulligan.core.errors import UserError

Turns = tuple[Tensor, Tensor]  # cosines and sines of rotary embeddings, (N, D / 2) each
PERIOD = 10_000.0  # of the slowest wave, about, in radians


def glorot(layer: nn.Linear, gain: float = 1.0) -> nn.Linear:
    """Glorot's uniform weights times `gain`, and zero bias."""
    nn.init.xavier_uniform_(layer.weight, gain=gain)
    nn.init.zeros_(layer.bias)
    return layer


def patchify(x: Tensor, patch: int) -> Tensor:
    """(B, C, H, W) -> (B, h w, C p p)."""
    return F.pixel_unshuffle(x, patch).flatten(2).transpose(1, 2)


def unpatchify(tokens: Tensor, patch: int, grid: tuple[int, int]) -> Tensor:
    """(B, h w, C p p) -> (B, C, H, W), the inverse."""
    return F.pixel_shuffle(tokens.transpose(1, 2).unflatten(2, grid), patch)


def _waves(at: Tensor, count: int) -> Tensor:
    """Positions (N,) -> (N, count): each times `count` frequencies from 1 down to about 1 / PERIOD."""
    return at[:, None] * PERIOD ** (-torch.arange(count, dtype=torch.float64) / count)


def _rows_and_columns(grid: tuple[int, int]) -> tuple[Tensor, Tensor]:
    rows, columns = torch.meshgrid(*(torch.arange(side, dtype=torch.float64) for side in grid), indexing="ij")
    return rows.flatten(), columns.flatten()


def positions(grid: tuple[int, int], width: int) -> Tensor:
    """Fixed sine-cosine position embeddings, half of each for the row and half for the column: (h w, E).

    Vaswani 2017 (arXiv 1706.03762, sec. 3.5), in two dimensions as in ViT and DiT.
    """
    waves = [_waves(at, width // 4) for at in _rows_and_columns(grid)]
    return torch.cat([part for wave in waves for part in (wave.sin(), wave.cos())], 1).float()


def rotary(grid: tuple[int, int], size: int, still: int = 0) -> Turns:
    """Rotary position embeddings: half of a head's pairs of numbers rotate with the row, half with the column.

    Su 2021 (arXiv 2104.09864, eq. 34) in two dimensions. The first `still` tokens have no position: no rotation.
    """
    angles = torch.cat([_waves(at, size // 4) for at in _rows_and_columns(grid)], 1)  # (h w, D / 2)
    angles = torch.cat([angles.new_zeros(still, angles.shape[1]), angles])
    return angles.cos().float(), angles.sin().float()


def rotated(x: Tensor, turns: Turns) -> Tensor:
    """x (B, heads, N, D), with every pair of numbers (i, i + D / 2) rotated by its angle."""
    cos, sin = turns
    a, b = x.chunk(2, -1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1).to(x.dtype)


class RMSNorm(nn.Module):
    """Scale to mean square 1 along the last axis; `affine`: a learned gain each (Zhang 2019, arXiv 1910.07467)."""

    def __init__(self, width: int, *, affine: bool = True, eps: float = 1e-6) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(width)) if affine else None
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        y = x.float()
        y = (y * (y.square().mean(-1, keepdim=True) + self.eps).rsqrt()).to(x.dtype)
        return y if self.gain is None else y * self.gain


def heads_of(family: str, width: int, head: int) -> int:
    """How many heads of about `head` numbers a token of `width` has. Raises UserError where it cannot be split."""
    heads = max(1, width // head)
    if width % (4 * heads):
        near = max(1, round(width / (4 * heads))) * 4 * heads
        raise UserError(
            f"{family}: width={width} is not {heads} heads of a multiple of four; try width={near}, or another head"
        )
    return heads


class Attention(nn.Module):
    """Multi-head self-attention (Vaswani 2017, arXiv 1706.03762, eq. 1).

    With `qk_norm`, queries and keys have mean square 1, which bounds the logits (Henry 2020, arXiv 2010.04245).
    """

    def __init__(self, width: int, heads: int, *, qk_norm: bool = True) -> None:
        super().__init__()
        self.heads = heads
        self.qkv, self.out = glorot(nn.Linear(width, 3 * width)), glorot(nn.Linear(width, width))
        self.norms = nn.ModuleList(RMSNorm(width // heads) for _ in range(2)) if qk_norm else None

    def forward(self, x: Tensor, turns: Turns | None = None) -> Tensor:
        """x (B, N, E), `turns` from `rotary` -> (B, N, E)."""
        query, key, value = self.qkv(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)  # (B, heads, N, D)
        if self.norms is not None:
            query, key = self.norms[0](query), self.norms[1](key)
        if turns is not None:
            query, key = rotated(query, turns), rotated(key, turns)
        found = F.scaled_dot_product_attention(query, key, value.to(query.dtype))
        return self.out(found.transpose(1, 2).flatten(2))


def attention_for(x: Tensor, net: nn.Module) -> contextlib.AbstractContextManager:
    """Which implementation of attention to use for an input `x` of `net`.

    Fused attention is fast, but has no second derivative. If both the input and the weights require a gradient, a
    penalty may differentiate twice.
    """
    twice = torch.is_grad_enabled() and x.requires_grad and any(p.requires_grad for p in net.parameters())
    return sdpa_kernel(SDPBackend.MATH) if twice else contextlib.nullcontext()


class SwiGLU(nn.Module):
    """E -> E by a gated layer with 8/3 E hidden units (Shazeer 2020, arXiv 2002.05202, eq. 6)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        inner = 8 * width // 3
        self.gated, self.out = glorot(nn.Linear(width, 2 * inner)), glorot(nn.Linear(inner, width))

    def forward(self, x: Tensor) -> Tensor:
        gate, y = self.gated(x).chunk(2, -1)
        return self.out(F.silu(gate) * y)


class MLP(nn.Module):
    """E -> 4 E -> E by GELU, approximated by tanh (Hendrycks, Gimpel 2016, arXiv 1606.08415)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.wide, self.out = glorot(nn.Linear(width, 4 * width)), glorot(nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        return self.out(F.gelu(self.wide(x), approximate="tanh"))


class Modulation(nn.Module):
    """From a style, `count` sets of E scales, shifts or gates for a block (adaLN; Peebles, Xie 2022, arXiv 2212.09748).

    `gain` multiplies Glorot's initial weights; at 0 the block starts as the identity.
    """

    def __init__(self, styles: int, width: int, count: int, *, gain: float) -> None:
        super().__init__()
        self.linear, self.count = glorot(nn.Linear(styles, count * width), gain), count

    def forward(self, style: Tensor) -> tuple[Tensor, ...]:
        """style (B, S) -> `count` of (B, 1, E)."""
        return self.linear(F.silu(style))[:, None].chunk(self.count, -1)


class LayerScale(nn.Module):
    """A learned gain for each number of a token, small at first (Touvron 2021, arXiv 2103.17239, eq. 2)."""

    def __init__(self, width: int, initial: float = 0.1) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.full((width,), initial))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gain


class Block(nn.Module):
    """x + gain * attention(norm(x)), then the same of a SwiGLU: RMSNorm, QK norm, rotary positions."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(RMSNorm(width) for _ in range(2))
        self.attention, self.mlp = Attention(width, heads), SwiGLU(width)
        self.scales = nn.ModuleList(LayerScale(width) for _ in range(2))

    def forward(self, x: Tensor, turns: Turns) -> Tensor:
        """(B, N, E) -> the same shape."""
        x = x + self.scales[0](self.attention(self.norms[0](x), turns))
        return x + self.scales[1](self.mlp(self.norms[1](x)))


class StyledBlock(nn.Module):
    """x + gate * attention((1 + scale) norm(x)), then the same of a SwiGLU; a style gives scales and gates."""

    def __init__(self, width: int, heads: int, styles: int) -> None:
        super().__init__()
        self.norm = RMSNorm(width, affine=False)
        self.attention, self.mlp = Attention(width, heads), SwiGLU(width)
        self.modulation = Modulation(styles, width, 4, gain=0.1)

    def forward(self, x: Tensor, style: Tensor, turns: Turns) -> Tensor:
        """x (B, N, E), style (B, S) -> the shape of x."""
        scale_a, gate_a, scale_m, gate_m = self.modulation(style)
        x = x + gate_a * self.attention(self.norm(x) * (1 + scale_a), turns)
        return x + gate_m * self.mlp(self.norm(x) * (1 + scale_m))


class DiTBlock(nn.Module):
    """x + gate * attention((1 + scale) norm(x) + shift), then the same of an MLP (Peebles, Xie 2022, "adaLN-Zero").

    Its layer norms have no gains; a new block is the identity.
    """

    def __init__(self, width: int, heads: int, styles: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, elementwise_affine=False, eps=1e-6)
        self.attention, self.mlp = Attention(width, heads, qk_norm=False), MLP(width)
        self.modulation = Modulation(styles, width, 6, gain=0.0)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        """x (B, N, E), style (B, S) -> the shape of x."""
        shift_a, scale_a, gate_a, shift_m, scale_m, gate_m = self.modulation(style)
        x = x + gate_a * self.attention(self.norm(x) * (1 + scale_a) + shift_a)
        return x + gate_m * self.mlp(self.norm(x) * (1 + scale_m) + shift_m)
