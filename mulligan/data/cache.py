"""The cache: folders that are complete or do not exist, and rows that are read from a file as they are needed."""

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
    """What `load` reads from `folder`. Where it returns None, `write` creates the folder first.

    `write` fills a draft next to it, which is synced and then renamed. A kill at any moment leaves a complete folder or
    none. Of several processes one writes, and the others wait. The system releases the lock of a process that ends, so
    a draft whose lock is free is left over from such a process, and is removed.

    Raises:
        UserError: the folder cannot be written, or its disk is full.
    """
    loaded = load(folder)
    if loaded is not None:
        return loaded
    root, draft = folder.parent, _draft(folder)
    try:
        root.mkdir(parents=True, exist_ok=True)
        _remove_stale_drafts(root)
        with _lock(folder):
            loaded = load(folder)
            if loaded is not None:
                return loaded
            for old in (draft, folder):
                shutil.rmtree(old, ignore_errors=True)
            draft.mkdir()
            try:
                write(draft)
                _sync(draft)
                draft.replace(folder)
            finally:
                shutil.rmtree(draft, ignore_errors=True)
            loaded = load(folder)
            assert loaded is not None, folder
            return loaded
    except OSError as error:
        why = error.strerror or str(error)
        raise UserError(
            f"{root}: cannot write the data cache ({why.lower()}); set MULLIGAN_CACHE to a folder with enough space"
        ) from None


def require_space(folder: Path, needed: int) -> None:
    """Raises UserError where the disk of `folder` has fewer free bytes: better now than after an hour."""
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise UserError(
            f"{folder.parent}: the decoded data take {needed / 1e6:,.0f} MB, and only {free / 1e6:,.0f} MB are free; "
            "make them smaller with --size, or set MULLIGAN_CACHE to a folder with enough space"
        )


def _draft(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.draft")


def _lock(folder: Path, timeout: float = -1) -> FileLock:
    return FileLock(folder.with_name(f"{folder.name}.lock"), timeout=timeout)


def _remove_stale_drafts(root: Path) -> None:
    for draft in root.glob("*.draft"):
        with contextlib.suppress(Timeout), _lock(draft.with_suffix(""), timeout=0):
            shutil.rmtree(draft, ignore_errors=True)


def _sync(folder: Path) -> None:
    for path in folder.iterdir():
        with path.open("r+b") as file:
            os.fsync(file.fileno())


class RowFile:
    """Rows (count, *shape) of one dtype in a file, read when they are needed.

    It uses no memory map: Linux counts mapped pages as memory of the process, and with large folios one row may map
    2 MB: 64 rows of 784 bytes took 60 MB. The system caches the file just as well without.
    """

    def __init__(self, path: Path, count: int, shape: tuple[int, ...], dtype: type = np.uint8) -> None:
        self._count, self._shape, self._dtype = count, shape, np.dtype(dtype)
        self._bytes = math.prod(shape) * self._dtype.itemsize
        self._file = path.open("rb", buffering=0)
        if path.stat().st_size != count * self._bytes:
            raise ValueError(f"{path}: not {count} rows of {shape}")
        self._seek_lock = threading.Lock()

    def take(self, indices: np.ndarray) -> np.ndarray:
        """A copy of some rows: (len(indices), *shape). Raises IndexError beyond 0..count-1."""
        if len(indices) and not 0 <= indices.min() <= indices.max() < self._count:
            raise IndexError(f"{indices.min()}..{indices.max()} of {self._count} rows")
        taken = np.empty((len(indices), *self._shape), self._dtype)
        rows = taken.reshape(len(indices), math.prod(self._shape)).view(np.uint8)
        for row, index in zip(rows, indices.tolist(), strict=True):
            if self._read(row, index * self._bytes) != self._bytes:
                raise OSError(errno.EIO, "the data cache was cut short while in use", self._file.name)
        return taken

    def _read(self, row: np.ndarray, start: int) -> int | None:
        if hasattr(os, "preadv"):  # there is no file position that threads or forked processes share
            return os.preadv(self._file.fileno(), [row.data], start)
        with self._seek_lock:
            self._file.seek(start)
            return self._file.readinto(row.data)
