"""The last layers of a discriminator: from features to a judgement, where the class enters.

Legend: B batch, F features, K classes, E numbers in an embedding.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mulligan.core.batch import Judgement

ClassBy = Literal["projection", "classifier", "both", "twin", "contrastive"]


def normalised(x: Tensor) -> Tensor:
    """(B, F), every row scaled to mean square 1 (pixel norm; Karras 2018, arXiv 1710.10196, sec. 4.2)."""
    return x * (x.square().mean(1, keepdim=True) + 1e-8).rsqrt()


class Head(nn.Module):
    """One logit per sample; `class_by` says how the class enters, where there are classes.

    projection: the inner product of the class embedding with the features is added to the logit (Miyato, Koyama 2018,
        arXiv 1802.05637).
    classifier: class logits, for the `auxiliary` term (Odena 2017, arXiv 1610.09585).
    both: projection and classifier.
    twin: two classifiers, for the `twin` and `discriminative` terms.
    contrastive: embeddings of the sample and of its class, for the `contrastive` and `data-to-data` terms.

    With `codes`, it also predicts the code in G's noise, for the `information` term.
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

    def forward(self, features: Tensor, ids: Tensor | None, activations: list[Tensor]) -> Judgement:
        """features (B, F), class ids (B,) or None; `activations` become the features of the judgement."""
        logit = self.logit(features).squeeze(1)
        if self.embed is not None:
            assert ids is not None
            logit = logit + (self.embed(ids) * features).sum(1)
        classes, twins, codes = (each and each(features) for each in (self.classify, self.twin, self.read))
        twins = None if twins is None else twins.unflatten(1, (2, -1))
        embeddings = None
        if self.project is not None:
            assert ids is not None
            pair = self.project(features), self.proxies(ids)  # (B, E) both
            embeddings = torch.stack([F.normalize(each.float(), dim=1) for each in pair], 1)
        return Judgement([logit], activations, classes, twins, codes, embeddings)
