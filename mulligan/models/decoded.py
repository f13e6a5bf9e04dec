"""A generator of latents followed by a frozen autoencoder's decoder: it makes images.

In training, D judges latents; everybody else sees the decoded images.

Legend: B batch, L latent channels, h w their grid, C image channels, H W image size, S numbers of a style.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mulligan.core.condition import Condition
from mulligan.core.network import Generator
from mulligan.models.coder import Codec

PIXELS_AT_ONCE = 1 << 20  # decoded together: bounds the memory


class Autoencoder(nn.Module):
    """A codec with latents on the scale that generators use: each channel centred, and scaled to lie in [-1, 1]."""

    def __init__(self, codec: Codec, middle: Tensor, unit: Tensor) -> None:
        """`middle` and `unit` (L,): the values that become 0, and their distance from those that become 1."""
        super().__init__()
        self.codec = codec
        self.register_buffer("middle", middle[:, None, None])
        self.register_buffer("unit", unit[:, None, None])
        self.eval().requires_grad_(False)

    def decode(self, latents: Tensor) -> Tensor:
        """(B, L, h, w) in [-1, 1] -> (B, C, H, W), in [-1, 1] or a little beyond. Differentiable."""
        size = max(1, PIXELS_AT_ONCE // (latents[0, 0].numel() * self.codec.factor**2))
        return torch.cat([self.codec.decode(some * self.unit + self.middle) for some in latents.float().split(size)])


class DecodedSynthesis(nn.Module):
    """From styles to images."""

    def __init__(self, synthesis: nn.Module, autoencoder: Autoencoder) -> None:
        super().__init__()
        self.latents, self.autoencoder, self.count = synthesis, autoencoder, synthesis.count

    def forward(self, styles: Tensor) -> Tensor:
        """(B, layers, S) -> (B, C, H, W)."""
        return self.autoencoder.decode(self.latents(styles))


class Decoded(Generator):
    """G as it samples, and the decoder. Styles are those of G, where it has any."""

    def __init__(self, G: Generator, autoencoder: Autoencoder) -> None:
        super().__init__()
        self.G, self.autoencoder, self.z_shape, self.has_styles = G, autoencoder, G.z_shape, G.has_styles
        if G.has_styles:
            self.styled, self.synthesis = G.styled, DecodedSynthesis(G.synthesis, autoencoder)
        self.eval()

    def forward(self, z: Tensor, cond: Condition) -> Tensor:
        """z (B, *z_shape) -> (B, C, H, W)."""
        return self.autoencoder.decode(self.G(z, cond))
