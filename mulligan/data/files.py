"""Images as files, in a folder or a zip: found, looked at by their headers, then decoded by a few threads in order."""

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
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from mulligan.core.errors import UserError
from mulligan.data.decode import EXTENSIONS, BadImage, read_header, read_pixels, reason
from mulligan.data.sources import Progress, Survey

THREADS = min(4, os.cpu_count() or 1)  # Pillow decodes outside the GIL; each may hold one image of MAX_PIXELS
BLOCK = 32 << 20  # bytes of decoded images on their way to the disk
MAX_UNPACKED = 256 << 20  # bytes of one file in a zip


class Entry(NamedTuple):
    name: str  # path under the root, with slashes, as it may be shown
    where: Any  # a path, or a ZipInfo
    size: int  # bytes
    stamp: tuple[int, ...]  # another one when the file has changed


@dataclass
class Listing:
    entries: list[Entry] = field(default_factory=list)
    bad: list[tuple[str, str]] = field(default_factory=list)  # image files not worth opening, and why
    ignored: Counter[str] = field(default_factory=Counter)  # other files, by extension


class ImageFiles:
    """The source behind `kind` "folder" and "zip"; see `sources.Source`."""

    heldout = None

    def __init__(self, kind: str, path: Path, labels: bool) -> None:
        self.kind, self.path = kind, path
        self.name = path.name if kind == "zip" else f"{path.name}/"
        listing = list_folder(path) if kind == "folder" else list_zip(path)
        self.entries = sorted(listing.entries, key=lambda entry: entry.name)
        self.bad = listing.bad
        self.ignored = dict(listing.ignored.most_common())
        self.files = len(self.entries) + len(self.bad)
        self.bytes = sum(entry.size for entry in self.entries)
        if not self.files:
            others = f"; of {listing.ignored.total():,} files none has an image's extension" if listing.ignored else ""
            raise UserError(f"{path}: holds no images ({', '.join(sorted(EXTENSIONS))}){others}")
        content = hashlib.blake2b(repr((labels, self.bad, self.ignored)).encode())
        for entry in self.entries:
            content.update(repr((entry.name, entry.size, entry.stamp)).encode())
        self.stamp = content.hexdigest()
        self.classes = self._read_classes() if labels else []

    def _read_classes(self) -> list[str]:
        """Sub-folders as classes. One folder around all of them, as zips have, is not one; nor is a class with no images."""
        folders = [PurePosixPath(entry.name).parent for entry in self.entries]
        while len({folder.parts[:1] for folder in folders}) == 1 and folders[0].parts:
            folders = [PurePosixPath(*folder.parts[1:]) for folder in folders]
        classes = [folder.parts[0] if folder.parts else "" for folder in folders]
        names = sorted(set(classes) - {""})
        if len(names) < 2:
            raise UserError(f"{self.path}: --labels takes sub-folders as classes, and it has no two with images in them")
        self.bad += [(e.name, "in no class's sub-folder") for e, name in zip(self.entries, classes, strict=True) if not name]
        self.entries = [entry for entry, name in zip(self.entries, classes, strict=True) if name]
        ids = {name: i for i, name in enumerate(names)}
        self._class_of = {entry.name: ids[name] for entry, name in zip(self.entries, filter(None, classes), strict=True)}
        return names

    @property
    def labels(self) -> np.ndarray | None:
        return np.array([self._class_of[e.name] for e in self.entries], np.int64) if self.classes else None

    def name_of(self, position: int) -> str:
        return self.entries[position].name

    def survey(self, progress: Progress) -> Survey:
        """Read every header; files without a usable one move to `bad`."""
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
        together = max(THREADS, min(256, BLOCK // (channels * height * width)))
        start = 0
        for entries, decoded in self._mapped(lambda file: read_pixels(file, height, width, channels), together):
            good = [i for i, pixels in enumerate(decoded) if not isinstance(pixels, BadImage)]
            self.bad += [(e.name, str(why)) for e, why in zip(entries, decoded, strict=True) if isinstance(why, BadImage)]
            if good:
                yield np.array(good) + start, np.stack([decoded[i] for i in good])
            start += len(entries)
            progress(self.files + start, 2 * self.files)

    def _mapped(self, read: Callable[[BinaryIO], Any], together: int) -> Iterator[tuple[list[Entry], list[Any]]]:
        """`read` of every file, some at a time; where that fails, a BadImage in its place."""
        with self._opener() as opened, ThreadPoolExecutor(THREADS) as pool:

            def one(entry: Entry) -> Any:
                if not entry.size:
                    return BadImage("an empty file")
                try:
                    with opened(entry) as file:
                        return read(file)
                except Exception as error:  # decoders meet damaged data with every exception there is
                    return BadImage(reason(error))

            for start in range(0, len(self.entries), together):
                entries = self.entries[start : start + together]
                yield entries, list(pool.map(one, entries))

    @contextmanager
    def _opener(self) -> Iterator[Callable[[Entry], BinaryIO]]:
        if self.kind == "folder":
            yield lambda entry: Path(entry.where).open("rb")
        else:
            with zipfile.ZipFile(self.path) as archive:  # read in memory: nothing is ever extracted
                yield lambda entry: io.BytesIO(archive.read(entry.where))


def list_folder(root: Path) -> Listing:
    """Image files under `root`. Every real folder is read once, so that links in circles end.

    Linked folders are followed after all others, so that a folder inside goes by its own name; links to where `root`
    itself lies are not.
    """
    listing, real_root = Listing(), root.resolve()
    folders, links, seen = [("", str(root))], [], set()
    while folders or links:
        prefix, folder = folders.pop() if folders else links.pop(0)
        try:
            about = Path(folder).stat()
            if (about.st_dev, about.st_ino) in seen:
                continue
            seen.add((about.st_dev, about.st_ino))
            with os.scandir(folder) as found:
                children = sorted(found, key=lambda child: child.name)
        except OSError as error:
            if not prefix:
                raise UserError(f"{root}: {reason(error)}") from None
            listing.bad.append((printable(prefix), reason(error)))
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
                elif _is_image(name, listing):
                    listing.entries.append(_entry(name, child))
            except (OSError, BadImage) as error:  # a link to itself, a file just gone, a pipe
                if _is_image(name, listing):
                    listing.bad.append((printable(name), reason(error)))
    return listing


def _entry(name: str, child: os.DirEntry) -> Entry:
    about = child.stat()
    if not stat.S_ISREG(about.st_mode):
        raise BadImage("not a regular file")  # to open a pipe would wait for ever
    return Entry(printable(name), child.path, about.st_size, (about.st_mtime_ns, about.st_mode))


def list_zip(path: Path) -> Listing:
    """Image files in a zip. Names that try to leave it are refused, though nothing is ever written under them."""
    listing = Listing()
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise UserError(f"{path}: not a zip that can be read ({error})") from None
    for member in members:
        parts = PurePosixPath(member.filename.replace("\\", "/")).parts
        if member.is_dir() or _is_hidden(parts) or not _is_image(member.filename, listing):
            continue
        name = printable("/".join(parts))
        if ".." in parts or parts[0] == "/" or ":" in parts[0]:
            listing.bad.append((name, "a path that leaves the zip"))
        elif member.flag_bits & 1:
            listing.bad.append((name, "encrypted"))
        elif member.file_size > MAX_UNPACKED:
            listing.bad.append((name, f"{member.file_size:,} bytes when unpacked, more than {MAX_UNPACKED >> 20} MB"))
        else:
            listing.entries.append(Entry(name, member, member.file_size, (member.CRC,)))
    return listing


def printable(name: str) -> str:
    """The name with what a terminal would obey, or could not print, spelt out."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in name)


def _is_hidden(parts: Iterable[str]) -> bool:
    """.DS_Store and its like, passed over without a word."""
    return any(part == "__MACOSX" or (part.startswith(".") and part != "..") for part in parts)


def _is_image(name: str, listing: Listing) -> bool:
    """By extension; other files are counted."""
    extension = PurePosixPath(name).suffix.lower()
    if extension not in EXTENSIONS:
        listing.ignored[printable(extension) or "no extension"] += 1
    return extension in EXTENSIONS
