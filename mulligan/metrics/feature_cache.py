"""A cache of features on disk, by the records they were computed from, so that no costly features are computed twice.

An evaluation that was interrupted continues where it was, and the features of real samples are computed once. Other
records, or another net, have other files.
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

MOST = 2 * 10**9  # bytes; beyond them the files that were unused for longest are deleted
FEATURES = "features"


class FeatureCache:
    """A folder with one file for each block of records."""

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

    def _path(self, net: FeatureNet, records: Tensor) -> Path:
        records = records.contiguous()
        about = f"{net.stamp} {net.resizing} {records.dtype} {tuple(records.shape)}"
        digest = hashlib.blake2b(about.encode(), digest_size=16)
        digest.update(records.numpy())
        return self.folder / f"{digest.hexdigest()}.safetensors"

    def features(self, net: FeatureNet, records: Tensor, compute: Callable[[Tensor], Tensor]) -> Tensor:
        """(b, D) of records (b, ...) on the CPU: from the cache, or computed now and stored.

        Raises OSError where the disk is full or cannot be written.
        """
        path = self._path(net, records)
        try:
            found = load(path.read_bytes())[FEATURES]
            path.touch()
        except (OSError, SafetensorError, KeyError):
            found = compute(records)
            write_whole(path, save({FEATURES: found.contiguous()}))
        return found
