"""Image files in a folder or a zip: listed, checked by their headers, then decoded by a few threads, in order."""

from __future__ import annotations

import hashlib
import io
import os
import stat
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from mulligan.core.errors import UserError
from mulligan.data.decode import EXTENSIONS, BadImage, read_header, read_pixels, reason
from mulligan.data.sources import Progress, Survey

THREADS = min(4, os.cpu_count() or 1)  # Pillow decodes without the GIL; each may hold an image of MAX_PIXELS
BLOCK = 16 << 20  # bytes of decoded images that are written together
MAX_UNPACKED = 256 << 20  # bytes of one unpacked file of a zip


class Entry(NamedTuple):
    """An image file. It takes little memory, since there may be millions."""

    name: str  # path below the root, with slashes, safe to print
    where: Any  # the same path unchanged, or a ZipInfo
    stamp: int  # changes when the file changes


@dataclass
class Listing:
    entries: list[Entry] = field(default_factory=list)
    bytes: int = 0  # of these files
    bad: list[tuple[str, str]] = field(default_factory=list)  # image files that cannot be used, and why
    ignored: Counter[str] = field(default_factory=Counter)  # number of other files, by extension

    def add(self, name: str, where: Any, size: int, version: int) -> None:
        if size:
            self.entries.append(Entry(printable(name), where, hash((size, version))))
            self.bytes += size
        else:
            self.refuse(name, "an empty file")

    def refuse(self, name: str, why: str) -> None:
        self.bad.append((printable(name), why))


class ImageFiles:
    """The source of the formats "folder" and "zip"; see `sources.Source`."""

    heldout: np.ndarray | None = None

    def __init__(self, format: str, path: Path, labels: bool) -> None:
        self.format, self.path = format, path
        self.name = path.name if format == "zip" else f"{path.name}/"
        listing = list_folder(path) if format == "folder" else list_zip(path)
        self.entries = sorted(listing.entries, key=lambda entry: entry.name)
        self.bad = listing.bad
        self.ignored = dict(listing.ignored.most_common())
        self.files = len(self.entries) + len(self.bad)
        self.bytes = listing.bytes
        if not self.files:
            others = f"; none of {listing.ignored.total():,} files has such an extension" if listing.ignored else ""
            raise UserError(f"{path}: holds no images ({', '.join(sorted(EXTENSIONS))}){others}")
        digest = hashlib.blake2b(repr((labels, self.bytes, self.bad, self.ignored)).encode())
        for entry in self.entries:
            digest.update(f"{entry.name}\n{entry.stamp}\n".encode())
        self.stamp = digest.hexdigest()
        self.classes = self._read_classes() if labels else []

    def _read_classes(self) -> list[str]:
        """Names of the sub-folders, sorted. An image that is in none of them cannot be used."""
        class_of = class_folders([entry.name for entry in self.entries])
        classes = sorted(set(class_of.values()) - {""})
        if len(classes) < 2:
            raise UserError(f"{self.path}: --labels takes sub-folders as classes, and no two of them hold images")
        self.bad += [(entry.name, "in no sub-folder of a class") for entry in self.entries if not class_of[entry.name]]
        self.entries = [entry for entry in self.entries if class_of[entry.name]]
        ids = {name: i for i, name in enumerate(classes)}
        self._class_ids = {entry.name: ids[class_of[entry.name]] for entry in self.entries}
        return classes

    @property
    def labels(self) -> np.ndarray | None:
        return np.array([self._class_ids[entry.name] for entry in self.entries], np.int64) if self.classes else None

    def name_of(self, position: int) -> str:
        return self.entries[position].name

    def survey(self, progress: Progress) -> Survey:
        """Reads every header. Files without a usable one move to `bad`."""
        found, good = Survey(), []
        for entries, headers in self._mapped(read_header, 1024):
            for entry, header in zip(entries, headers, strict=True):
                if isinstance(header, BadImage):
                    self.bad.append((entry.name, str(header)))
                else:
                    found.add(*header)
                    good.append(entry)
            progress(len(good) + len(self.bad), 2 * self.files)
        self.entries = good
        return found

    def blocks(self, shape: tuple[int, int, int], progress: Progress) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """(positions (b,), pixels uint8 (b, H, W, C)) in order; files that do not decode move to `bad`."""
        channels, height, width = shape
        size = max(THREADS, min(256, BLOCK // (channels * height * width)))
        start = 0
        for entries, decoded in self._mapped(lambda file: read_pixels(file, height, width, channels), size):
            failed = [isinstance(pixels, BadImage) for pixels in decoded]
            good = np.flatnonzero(np.logical_not(failed))
            self.bad += [(entries[i].name, str(decoded[i])) for i in np.flatnonzero(failed)]
            if len(good):
                yield good + start, np.stack([decoded[i] for i in good])
            start += len(entries)
            progress(self.files + start, 2 * self.files)

    def _mapped(self, read: Callable[[IO[bytes]], Any], size: int) -> Iterator[tuple[list[Entry], list[Any]]]:
        """The results of `read` for all files, in blocks of `size`; a BadImage where it raises."""
        with self._opener() as opened, ThreadPoolExecutor(THREADS) as pool:

            def one(entry: Entry) -> Any:
                try:
                    with opened(entry) as file:
                        return read(file)
                except Exception as error:  # decoders raise any exception on damaged data
                    return BadImage(reason(error))

            for start in range(0, len(self.entries), size):
                entries = self.entries[start : start + size]
                yield entries, list(pool.map(one, entries))

    @contextmanager
    def _opener(self) -> Iterator[Callable[[Entry], IO[bytes]]]:
        if self.format == "folder":
            yield lambda entry: (self.path / entry.where).open("rb")
        else:
            with zipfile.ZipFile(self.path) as archive:  # files are read into memory; nothing is extracted
                yield lambda entry: io.BytesIO(archive.read(entry.where))


def class_folders(names: list[str]) -> dict[str, str]:
    """The first folder of each path, "" where it has none. Folders around all files, as in many zips, do not count."""
    folder_of = {name: name.rpartition("/")[0] for name in names}
    while len({folder.partition("/")[0] for folder in folder_of.values()}) == 1 and any(folder_of.values()):
        folder_of = {name: folder.partition("/")[2] for name, folder in folder_of.items()}
    return {name: folder.partition("/")[0] for name, folder in folder_of.items()}


def list_folder(root: Path) -> Listing:
    """Image files below `root`. Every real folder is read once, so cycles of links do no harm.

    Links to folders are followed after all other folders, so that a folder inside `root` is listed under its own name.
    A link to a folder that contains `root` is not followed.
    """
    listing, real_root = Listing(), root.resolve()
    folders: list[tuple[str, str]] = [("", str(root))]
    links: list[tuple[str, str]] = []
    visited: set[tuple[int, int]] = set()
    while folders or links:
        prefix, folder = folders.pop() if folders else links.pop(0)
        try:
            about = Path(folder).stat()
            if (about.st_dev, about.st_ino) in visited:
                continue
            visited.add((about.st_dev, about.st_ino))
            with os.scandir(folder) as found:
                children = sorted(found, key=lambda child: child.name)
        except OSError as error:
            if not prefix:
                raise UserError(f"{root}: {reason(error)}") from None
            listing.refuse(prefix, reason(error))
            continue
        for child in children:
            if _is_hidden([child.name]):
                continue
            name = prefix + child.name
            try:
                if child.is_dir():
                    if not child.is_symlink():
                        folders.append((f"{name}/", child.path))
                    elif not real_root.is_relative_to(Path(child.path).resolve()):
                        links.append((f"{name}/", child.path))
                elif _is_image(child.name, listing):
                    about = child.stat()
                    if not stat.S_ISREG(about.st_mode):
                        raise BadImage("not a regular file")  # opening a pipe would block
                    listing.add(name, name, about.st_size, about.st_mtime_ns ^ about.st_mode << 64)
            except (OSError, BadImage) as error:  # a link to itself, a file that was just removed, a pipe
                if _is_image(child.name, listing):
                    listing.refuse(name, reason(error))
    return listing


def list_zip(path: Path) -> Listing:
    """Image files in a zip. Names that point outside of it are refused, although nothing is ever extracted."""
    listing = Listing()
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise UserError(f"{path}: not a zip, or a damaged one ({error})") from None
    for member in members:
        parts = member.filename.replace("\\", "/").split("/")
        if member.is_dir() or _is_hidden(parts) or not _is_image(parts[-1], listing):
            continue
        name = "/".join(parts)
        if ".." in parts or not parts[0] or ":" in parts[0]:
            listing.refuse(name, "a path that points outside of the zip")
        elif member.flag_bits & 1:
            listing.refuse(name, "encrypted")
        elif member.file_size > MAX_UNPACKED:
            listing.refuse(name, f"{member.file_size:,} bytes when unpacked, more than {MAX_UNPACKED >> 20} MB")
        else:
            listing.add(name, member, member.file_size, member.CRC)
    return listing


def printable(name: str) -> str:
    """The name with control characters, and characters that cannot be printed, escaped."""
    if name.isprintable():
        return name
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in name)


def _is_hidden(parts: Iterable[str]) -> bool:
    """Whether it is a hidden file or folder, such as .DS_Store. Those are not even counted."""
    return any(part == "__MACOSX" or (part.startswith(".") and part not in (".", "..")) for part in parts)


def _is_image(name: str, listing: Listing) -> bool:
    """Whether a file has the extension of an image; other files are counted in the listing."""
    stem, dot, end = name.rpartition(".")
    extension = dot + end.lower() if stem else ""
    if extension not in EXTENSIONS:
        listing.ignored[printable(extension) or "no extension"] += 1
    return extension in EXTENSIONS
