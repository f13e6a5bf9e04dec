"""The cache: folders that are whole or not there, and uint8 rows read from a file without filling memory."""

from __future__ import annotations

import contextlib
import errno
import math
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
import platformdirs
from filelock import FileLock, Timeout

from mulligan.core.errors import UserError

T = TypeVar("T")


def cache_root(given: Path | None) -> Path:
    """`given`, else the environment's MULLIGAN_CACHE, else the user's cache folder."""
    return Path(given or os.environ.get("MULLIGAN_CACHE") or platformdirs.user_cache_dir("mulligan")).expanduser()


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
            f"{folder.parent}: the decoded images take {needed / 1e6:,.0f} MB and {free / 1e6:,.0f} MB are free; "
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
    """uint8 rows (count, *shape) in a file, read when asked for.

    Not through a memory map: Linux counts what is mapped as the process's own, and since large folios one touched row
    may bring 2 MB with it, so that 64 rows of 784 bytes took 60 MB. The system caches the file as well this way.
    """

    def __init__(self, path: Path, count: int, shape: tuple[int, ...]) -> None:
        self._count, self._shape, self._bytes = count, shape, math.prod(shape)
        self._file = path.open("rb", buffering=0)
        if path.stat().st_size != count * self._bytes:
            raise ValueError(f"{path}: not {count} rows of {shape}")
        self._seeking = threading.Lock()

    def take(self, indices: np.ndarray) -> np.ndarray:
        """A copy of some rows: uint8 (len(indices), *shape). Raises IndexError beyond 0..count-1."""
        if len(indices) and not 0 <= indices.min() <= indices.max() < self._count:
            raise IndexError(f"{indices.min()}..{indices.max()} of {self._count} rows")
        taken = np.empty((len(indices), *self._shape), np.uint8)
        rows = taken.reshape(len(indices), self._bytes)
        for row, index in zip(rows, indices.tolist(), strict=True):
            if self._read(row, index * self._bytes) != self._bytes:
                raise OSError(errno.EIO, "the data cache was cut short while in use", self._file.name)
        return taken

    def _read(self, row: np.ndarray, start: int) -> int | None:
        if hasattr(os, "preadv"):  # no position that threads or forked processes would share
            return os.preadv(self._file.fileno(), [row.data], start)
        with self._seeking:
            self._file.seek(start)
            return self._file.readinto(row.data)
