"""The cache: folders that are whole or not there, and uint8 rows mapped from a file without filling memory."""

from __future__ import annotations

import contextlib
import mmap
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
import platformdirs
from filelock import FileLock, Timeout

from mulligan.core.errors import UserError

T = TypeVar("T")
FAULT = 1 << 16  # bytes that Linux maps around each page touched
RESIDENT = 32 << 20  # bytes of mapped rows that may stay in memory


def cache_root(given: Path | None) -> Path:
    """`given`, else the environment's MULLIGAN_CACHE, else the user's cache folder."""
    return given or Path(os.environ.get("MULLIGAN_CACHE") or platformdirs.user_cache_dir("mulligan")).expanduser()


def ensure(folder: Path, load: Callable[[Path], T | None], write: Callable[[Path], None]) -> T:
    """What `load` finds in `folder`; where it finds nothing whole, `write` makes the folder first.

    `write` fills a draft beside it, which is synced and then renamed: a kill at any moment leaves the folder whole or
    not there. Of several processes one writes and the others wait. A lock dies with its process, so a draft whose lock
    is free is a dead one's, and is removed.

    Raises:
        UserError: the folder cannot be written, or its disk is full.
    """
    found = load(folder)
    if found is not None:
        return found
    root, draft = folder.parent, _draft(folder)
    try:
        root.mkdir(parents=True, exist_ok=True)
        _remove_dead_drafts(root)
        with _lock(folder):
            found = load(folder)
            if found is not None:
                return found
            for left in (draft, folder):
                shutil.rmtree(left, ignore_errors=True)
            draft.mkdir()
            try:
                write(draft)
                _sync(draft)
                draft.replace(folder)
            finally:
                shutil.rmtree(draft, ignore_errors=True)
            found = load(folder)
            assert found is not None, folder
            return found
    except OSError as error:
        why = error.strerror or str(error)
        raise UserError(
            f"{root}: the data cache cannot be written ({why.lower()}); set MULLIGAN_CACHE to a folder with room for it"
        ) from None


def require_space(folder: Path, needed: int) -> None:
    """Raises UserError where the disk of `folder` cannot take so many bytes: better now than after an hour."""
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise UserError(
            f"{folder.parent}: the decoded images take {needed / 1e9:,.1f} GB and {free / 1e9:,.1f} GB are free; "
            "make them smaller with --size, or set MULLIGAN_CACHE to a folder with room for them"
        )


def _draft(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.draft")


def _lock(folder: Path, timeout: float = -1) -> FileLock:
    return FileLock(folder.with_name(f"{folder.name}.lock"), timeout=timeout)


def _remove_dead_drafts(root: Path) -> None:
    for draft in root.glob("*.draft"):
        with contextlib.suppress(Timeout), _lock(draft.with_suffix(""), timeout=0):
            shutil.rmtree(draft, ignore_errors=True)


def _sync(folder: Path) -> None:
    for path in folder.iterdir():
        with path.open("r+b") as file:
            os.fsync(file.fileno())


class Rows:
    """uint8 rows (count, *shape) in a file, mapped for reading. What has been read is not kept in memory."""

    def __init__(self, path: Path, count: int, shape: tuple[int, ...]) -> None:
        with path.open("rb") as file:
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._rows = np.frombuffer(self._map, np.uint8).reshape(count, *shape)
        self._cost = self._rows[0].nbytes + FAULT  # a row read at random brings its neighbours with it
        self._touched = 0

    def take(self, indices: np.ndarray) -> np.ndarray:
        """A copy of some rows: uint8 (len(indices), *shape)."""
        taken = np.empty((len(indices), *self._rows.shape[1:]), np.uint8)
        together = max(1, RESIDENT // self._cost)
        for start in range(0, len(indices), together):
            some = indices[start : start + together]
            taken[start : start + together] = self._rows[some]
            self._touched += len(some) * self._cost
            if self._touched >= RESIDENT and hasattr(mmap, "MADV_DONTNEED"):
                self._map.madvise(mmap.MADV_DONTNEED)  # mapped pages count as ours; the system still caches the file
                self._touched = 0
        return taken
