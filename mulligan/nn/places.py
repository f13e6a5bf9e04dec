"""The end of a discriminator that judges every place of a map.

Legend: B batch, F features, K classes, h w the map, p q the places judged.
"""

from __future__ import annotations

from torch import Tensor, nn


class PlaceHead(nn.Module):
    """A convolution to one logit a place; with classes, the same number is added to all of a sample: a projection.

    That is the inner product of the class's embedding with the mean features (Miyato, Koyama 2018, arXiv 1802.05637).
    """

    def __init__(self, features: int, kernel: int, classes: int) -> None:
        super().__init__()
        self.logit = nn.Conv2d(features, 1, kernel)
        self.embed = nn.Embedding(classes, features) if classes else None
        if self.embed is not None:
            nn.init.normal_(self.embed.weight, std=features**-0.5)

    def forward(self, x: Tensor, cond: Tensor | None) -> Tensor:
        """x (B, F, h, w), cond (B,) class ids or None -> (B, p, q)."""
        logits = self.logit(x).squeeze(1)
        if self.embed is None:
            return logits
        assert cond is not None
        return logits + (self.embed(cond) * x.mean((2, 3))).sum(1)[:, None, None]
