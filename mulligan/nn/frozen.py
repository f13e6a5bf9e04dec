"""A net that is looked through and never trained."""

from __future__ import annotations

from typing import get_type_hints

from torch import Tensor, nn

from mulligan.core.errors import UserError
from mulligan.core.registry import features


def with_maps() -> list[str]:
    """The feature nets that show what they see on the way."""
    return [name for name in features if hasattr(get_type_hints(features[name]).get("return"), "maps")]


class Frozen(nn.Module):
    """The maps of a feature net. It has no parameters and no state, so nothing keeps or changes it.

    Its weights are buffers that are not kept, and `train` leaves it as it is. Raises UserError for a net without maps.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        if name in features and name not in with_maps():
            raise UserError(f"feature net {name!r} shows no maps of what it sees; valid: {', '.join(with_maps())}")
        self.net = features[name]()
        for module in self.net.modules():
            held = [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]
            for own, tensor in held:
                delattr(module, own)
                module.register_buffer(own, tensor.detach(), persistent=False)
        self.train(False)

    def train(self, mode: bool = True) -> Frozen:
        return super().train(False)

    def forward(self, images: Tensor) -> list[Tensor]:
        """(B, C, H, W) in [-1, 1] -> maps (B, ., h, w), fine to coarse."""
        return self.net.maps(images)
