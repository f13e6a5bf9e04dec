"""A feature net that is used for its activations and never trained."""

from __future__ import annotations

from torch import Tensor, nn

from mulligan.core.errors import UserError
from mulligan.core.registry import features


def with_maps() -> list[str]:
    """The feature nets that give maps: intermediate activations."""
    return [name for name in features if "maps" in features.declared(name).gives]


class Frozen(nn.Module):
    """The maps of a feature net. It has no parameters and no state: nothing is saved, and nothing is trained.

    Its weights are non-persistent buffers, and `train` has no effect. Raises UserError for a net without maps.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        if "maps" not in features.declared(name).gives:
            raise UserError(f"feature net {name!r} gives no maps; valid: {', '.join(with_maps())}")
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
