"""The end of a discriminator: from features to a judgement, where the class comes in.

Legend: B batch, F features, K classes, E embedding.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mulligan.core.batch import Judgement

ClassBy = Literal["projection", "classifier", "both", "twin", "contrastive"]


def normalised(x: Tensor) -> Tensor:
    """(B, F) with every row's mean square at 1 (pixel norm; Karras 2018, arXiv 1710.10196, sec. 4.2)."""
    return x * (x.square().mean(1, keepdim=True) + 1e-8).rsqrt()


class Head(nn.Module):
    """One logit a sample; with classes, of whether it is real and of its class.

    That is by an inner product of the class's embedding with the features (Miyato, Koyama 2018, arXiv 1802.05637), or
    by a classifier beside it, for the `auxiliary` term (Odena 2017, arXiv 1610.09585), or both; or by two, for the
    `twin` and `discriminative` terms; or by where it and its class are embedded, for the `contrastive` and
    `data-to-data` terms. With `codes`, it also reads the code that G was given, for `information`.
    """

    def __init__(
        self, features: int, classes: int, class_by: ClassBy = "projection", codes: int = 0, embedding: int = 128
    ) -> None:
        super().__init__()
        self.logit = nn.Linear(features, 1)
        self.embed = nn.Embedding(classes, features) if classes and class_by in ("projection", "both") else None
        self.classify = nn.Linear(features, classes) if classes and class_by in ("classifier", "both") else None
        self.twin = nn.Linear(features, 2 * classes) if classes and class_by == "twin" else None
        contrastive = classes and class_by == "contrastive"
        self.project = nn.Linear(features, embedding) if contrastive else None
        self.proxies = nn.Embedding(classes, embedding) if contrastive else None
        self.read = nn.Linear(features, codes) if codes else None
        if self.embed is not None:
            nn.init.normal_(self.embed.weight, std=features**-0.5)

    def forward(self, features: Tensor, cond: Tensor | None, seen: list[Tensor]) -> Judgement:
        """features (B, F), cond (B,) class ids or None; `seen` are activations to pass on."""
        logit = self.logit(features).squeeze(1)
        if self.embed is not None:
            assert cond is not None
            logit = logit + (self.embed(cond) * features).sum(1)
        classes, twins, codes = (each and each(features) for each in (self.classify, self.twin, self.read))
        twins = None if twins is None else twins.unflatten(1, (2, -1))
        embeddings = None
        if self.project is not None:
            assert cond is not None
            pair = self.project(features), self.proxies(cond)  # (B, E) both
            embeddings = torch.stack([F.normalize(each.float(), dim=1) for each in pair], 1)
        return Judgement([logit], seen, classes, twins, codes, embeddings)
