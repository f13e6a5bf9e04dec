"""Opens a data set by its name or path, with the reader that claims it."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mulligan.core.errors import UserError, unknown
from mulligan.core.registry import readers
from mulligan.data.dataset import Dataset
from mulligan.data.sources import Progress


@dataclass(frozen=True)
class Opening:
    """What every reader gets in addition to its options."""

    cache: Path | None = None  # the cache folder; None: the one that MULLIGAN_CACHE names, else the user's
    progress: Progress = lambda done, total: None  # called with (done, total) while decoding


def open_data(
    spec: str | Path,
    *,
    reader: str = "auto",
    cache: Path | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> Dataset:
    """Open a data set with the reader that claims it, or with the one that is named.

    Args:
        spec: the name of a built-in data set, such as "digits" or "grid", or a path.
        reader: one of `registry.readers`; "auto": the one that claims `spec`.
        cache: the cache folder; by default the one that MULLIGAN_CACHE names, else the user's.
        progress: called with (done, total) while decoding.
        options: options of the reader (`mulligan parts reader`).

    Raises:
        UserError: nothing usable at `spec`, an option that its reader does not have, or data that it refuses.
    """
    name = reader_of(spec) if reader == "auto" else reader
    known = readers.defaults(name)
    if wrong := [option for option in options if option not in known]:
        raise unknown(f"option of {spec}, which the reader {name!r} opens:", wrong[0], known)
    opening = Opening(cache, progress or (lambda done, total: None))
    return readers[name](spec, opening, **readers.bind(name, options))


def built_in() -> list[str]:
    """Names of the built-in data sets, which need no file."""
    return [name for reader in readers for name in readers.declared(reader).names]


def reader_of(spec: str | Path) -> str:
    """The reader that opens `spec`, a built-in name or a path. Raises UserError where there is none."""
    for reader in readers:
        if isinstance(spec, str) and spec in readers.declared(reader).names:  # Path("digits") is always a path
            return reader
    if not str(spec):  # as a path it would be the working folder
        raise UserError(f"the name of the data is empty; give {_valid()}")
    path = Path(spec).expanduser().absolute()
    try:
        path.stat()
    except FileNotFoundError:
        near = difflib.get_close_matches(str(spec).lower(), built_in(), n=1, cutoff=0.6)
        hint = f"did you mean the built-in {near[0]!r}?" if near else f"give {_valid()}"
        raise UserError(f"{spec}: no such file or folder; {hint}") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{spec}: {getattr(error, 'strerror', None) or error}") from None
    for reader in reversed(readers.in_order()):
        claims: Callable[[Path], bool] | None = readers.declared(reader).claims
        if claims and claims(path):
            return reader
    raise UserError(f"{spec}: not usable as data; give {_valid()}")


def _valid() -> str:
    names = ", ".join(map(repr, built_in()))
    return f"{names}, or a folder, .zip, .npz or IDX file (*-images-idx3-ubyte[.gz]) of images"
