"""The last layer of a discriminator that judges every patch of a map.

Legend: B batch, F features, K classes, h w the map, p q the patches that are judged.
"""

from __future__ import annotations

from torch import Tensor, nn


class PatchHead(nn.Module):
    """A convolution to one logit per patch; with classes, a projection is added to all logits of a sample alike.

    It is the inner product of the class embedding with the mean features (Miyato, Koyama 2018, arXiv 1802.05637).
    """

    def __init__(self, features: int, kernel: int, classes: int) -> None:
        super().__init__()
        self.logit = nn.Conv2d(features, 1, kernel)
        self.embed = nn.Embedding(classes, features) if classes else None
        if self.embed is not None:
            nn.init.normal_(self.embed.weight, std=features**-0.5)

    def forward(self, x: Tensor, ids: Tensor | None) -> Tensor:
        """x (B, F, h, w), class ids (B,) or None -> (B, p, q)."""
        logits = self.logit(x).squeeze(1)
        if self.embed is None:
            return logits
        assert ids is not None
        return logits + (self.embed(ids) * x.mean((2, 3))).sum(1)[:, None, None]
