"""Features kept on disk by the pixels they were taken of, so that nothing costly is computed twice.

An evaluation that was killed goes on where it was, and real images are looked at once; of other pixels, or for another
net, nothing is found.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from mulligan.core.run import write_whole
from mulligan.metrics.features.net import FeatureNet

MOST = 2 * 10**9  # bytes; beyond, what was longest not asked for goes
FEATURES = "features"


class Kept:
    """A folder of one file for each block of images."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        files = sorted(
            ((path.stat(), path) for path in folder.glob("*.safetensors")), key=lambda each: -each[0].st_mtime
        )
        total = 0
        for about, path in files:
            total += about.st_size
            if total > MOST:
                path.unlink(missing_ok=True)

    def _path(self, net: FeatureNet, images: Tensor) -> Path:
        pixels = images.contiguous()
        about = f"{net.stamp} {net.resizing} {pixels.dtype} {tuple(pixels.shape)}"
        digest = hashlib.blake2b(about.encode(), digest_size=16)
        digest.update(pixels.numpy())
        return self.folder / f"{digest.hexdigest()}.safetensors"

    def features(self, net: FeatureNet, images: Tensor, take: Callable[[Tensor], Tensor]) -> Tensor:
        """(b, D) of images (b, ...) on the CPU: as they are kept, or taken now, and kept.

        Raises OSError where the disk is full or cannot be written.
        """
        path = self._path(net, images)
        try:
            found = load(path.read_bytes())[FEATURES]
            path.touch()
        except (OSError, SafetensorError, KeyError):
            found = take(images)
            write_whole(path, save({FEATURES: found.contiguous()}))
        return found
