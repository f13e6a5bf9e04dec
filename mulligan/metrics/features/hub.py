"""`dinov2` and `clip`: large nets trained on hundreds of millions of photographs, read by `transformers`.

They notice differences that the net of the FID does not (Stein 2023, arXiv 2306.04675; Jayasumana 2024, arXiv
2401.09603). Their weights (1.2 GB each) do not come with Mulligan; only safetensors are read.
"""

from __future__ import annotations

import os
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from mulligan.core.errors import UserError
from mulligan.core.registry import features
from mulligan.metrics.features.net import FeatureNet, freeze, stamp_of
from mulligan.metrics.features.pixels import to_rgb

IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # mean and deviation that DINOv2 was trained with
CLIP = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


class HubNet(FeatureNet):
    """A vision transformer with its preprocessing: RGB, resized bicubic with antialiasing, normalised."""

    block = 16
    costly = True

    def __init__(self, net: Any, output: str, dim: int, size: int, normal: tuple[Any, Any], name: str) -> None:
        super().__init__()
        self.net, self.output, self.dim, self.size = net, output, dim, size
        mean, deviation = (torch.tensor(each)[:, None, None] for each in normal)
        self.register_buffer("mean", mean, persistent=False)
        self.register_buffer("deviation", deviation, persistent=False)
        freeze(self)
        self.stamp, self.describe = stamp_of(net), name
        self.resizing = f"RGB, {size}x{size} bicubic antialias"

    def forward(self, images: Tensor) -> Tensor:
        """(B, 1 | 3 | 4, H, W) float in [-1, 1] -> (B, dim)."""
        x = F.interpolate(to_rgb(images), (self.size, self.size), mode="bicubic", antialias=True).clamp(-1, 1)
        return getattr(self.net(((x + 1) / 2 - self.mean) / self.deviation), self.output)


@features.register(kinds={"image"})
def dinov2(
    *,
    weights: str = "",  # folder or name on the hub; if empty, MULLIGAN_DINOV2_WEIGHTS, else facebook/dinov2-large
    size: int = 224,  # pixels of the side that images are resized to, a multiple of 14
) -> HubNet:
    """The class token of DINOv2 (Oquab 2023, arXiv 2304.07193), as FD-DINOv2 uses it. Needs the extra `hub`."""
    if size < 14 or size % 14:
        raise UserError(f"feature net 'dinov2': size={size} must be a multiple of 14")
    net, where = _read("dinov2", "Dinov2Model", weights, "facebook/dinov2-large")
    return HubNet(net, "pooler_output", net.config.hidden_size, size, IMAGENET, f"dinov2: {where}")


@features.register(kinds={"image"})
def clip(
    *,
    weights: str = "",  # as for dinov2, from MULLIGAN_CLIP_WEIGHTS or openai/clip-vit-large-patch14-336
) -> HubNet:
    """CLIP's image embedding (Radford 2021, arXiv 2103.00020); `gaussian` of it is CMMD. Needs the extra `hub`."""
    net, where = _read("clip", "CLIPVisionModelWithProjection", weights, "openai/clip-vit-large-patch14-336")
    config = net.config
    return HubNet(net, "image_embeds", config.projection_dim, config.image_size, CLIP, f"clip: {where}")


def _read(name: str, kind: str, weights: str, published: str) -> tuple[Any, str]:
    """The net, and where its weights are from. Raises UserError, with what to do, if it cannot be loaded."""
    try:
        import transformers
    except ImportError:
        raise UserError(f"feature net {name!r} needs transformers: pip install 'mulligan[hub]'") from None
    variable = f"MULLIGAN_{name.upper()}_WEIGHTS"
    where = weights or os.environ.get(variable) or published
    try:
        net = getattr(transformers, kind).from_pretrained(where, use_safetensors=True)
    except (OSError, ValueError, RuntimeError) as error:
        why = " ".join(str(error).split()).partition(". ")[0]
        raise UserError(
            f"feature net {name!r}: the weights {where} cannot be read or fetched ({why[:120]}); put a folder with "
            f"config.json and model.safetensors of {published} on this machine, and name it with {variable}"
        ) from None
    return net, f"weights {where}"
