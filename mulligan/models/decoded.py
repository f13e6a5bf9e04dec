"""A generator of latents behind a frozen autoencoder, as everybody but its opponent sees it: it makes pictures.

Legend: B batch, L latent channels, h w their grid, C image channels, H W image size, S numbers of a style.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mulligan.models.coder import Codec

AT_ONCE = 1 << 20  # pixels that are decoded together


class Autoencoder(nn.Module):
    """A codec whose latents are as generators make them: each channel centred, and scaled to lie in [-1, 1]."""

    def __init__(self, codec: Codec, middle: Tensor, unit: Tensor) -> None:
        """`middle` and `unit` (L,): what is 0, and what is 1 away from it, on the codec's scale."""
        super().__init__()
        self.codec = codec
        self.register_buffer("middle", middle[:, None, None])
        self.register_buffer("unit", unit[:, None, None])
        self.eval().requires_grad_(False)

    def decode(self, latents: Tensor) -> Tensor:
        """(B, L, h, w) in [-1, 1] -> (B, C, H, W), in [-1, 1] or a little beyond. Gradients go through."""
        size = max(1, AT_ONCE // (latents[0, 0].numel() * self.codec.factor**2))
        return torch.cat([self.codec.decode(some * self.unit + self.middle) for some in latents.float().split(size)])


class DecodedSynthesis(nn.Module):
    """From styles to pictures."""

    def __init__(self, synthesis: nn.Module, autoencoder: Autoencoder) -> None:
        super().__init__()
        self.latents, self.autoencoder, self.count = synthesis, autoencoder, synthesis.count

    def forward(self, styles: Tensor) -> Tensor:
        """(B, layers, S) -> (B, C, H, W)."""
        return self.autoencoder.decode(self.latents(styles))


class Decoded(nn.Module):
    """G in its last stage, and the decoder. Styles are those of G, where it has any."""

    def __init__(self, G: nn.Module, autoencoder: Autoencoder) -> None:
        super().__init__()
        self.G, self.autoencoder, self.z_shape = G, autoencoder, G.z_shape
        if hasattr(G, "styled") and hasattr(G, "synthesis"):
            self.styled, self.synthesis = G.styled, DecodedSynthesis(G.synthesis, autoencoder)
        self.eval()

    def forward(self, z: Tensor, cond: Tensor | None) -> Tensor:
        """z (B, *z_shape), cond (B,) class ids or None -> (B, C, H, W)."""
        return self.autoencoder.decode(self.G(z, cond))
