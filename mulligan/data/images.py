"""Images from a folder, a zip, an .npz or IDX files. They are decoded once into the cache, and read from there."""

from __future__ import annotations

import dataclasses
import hashlib
import warnings
from array import array
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from pydantic import PositiveInt

from mulligan.core.errors import UserError
from mulligan.core.registry import readers
from mulligan.core.run import read_json, write_json
from mulligan.data import arrays, split
from mulligan.data.cache import RowFile, cache_root, ensure, require_space
from mulligan.data.checkup import MOST_LISTED, CheckUp, refuse_too_bad
from mulligan.data.dataset import Dataset
from mulligan.data.decode import CHANNELS, RESIZE_RULE
from mulligan.data.files import ImageFiles, printable
from mulligan.data.opening import Opening
from mulligan.data.sources import Progress, Source, Survey
from mulligan.kinds.image import ImageSample

FORMAT = 2  # version of the cache folders; with another number, images are decoded again, into new folders
MOST_PIXELS = 1 << 26  # of one image in training
PIXELS, ABOUT = "pixels.u8", "about.json"
LABELS, HELD_OUT = "labels.npy", "heldout.npy"
COLOURS = {1: "grey", 3: "RGB", 4: "RGBA"}

Size = int | tuple[int, int] | None  # pixels; `decoded` checks the range
Channels = Literal[1, 3, 4] | None


def _claims(path: Path) -> bool:
    return path.is_dir() or path.suffix.lower() in (".zip", ".npz") or bool(arrays.IDX_IMAGES.search(path.name))


@readers.register("images", kinds={"image"}, claims=_claims)
def images(
    spec: str | Path,
    opening: Opening,
    *,
    size: Size = None,  # height and width of all images, in pixels; None: the most frequent size
    labels: bool = False,  # sub-folders are classes; labels in arrays are always read
    channels: Channels = None,  # of all images: 1, 3 or 4; None: as most images have
    max_bad: float = 0.10,  # share of files, 0 to 1, that may be unusable; they are skipped
    fit: PositiveInt | None = None,  # without `size`: the shorter side has at most this many pixels
) -> Dataset:
    """A folder or zip of images, an .npz with `images`, or IDX files."""
    source = source_at(Path(spec).expanduser().absolute(), labels)
    return decoded(source, opening, size=size, labels=labels, channels=channels, max_bad=max_bad, fit=fit)


def source_at(path: Path, labels: bool) -> Source:
    """The source of the images at a path. Raises UserError for other files."""
    found = arrays.idx_in(path) if path.is_dir() else path
    if found is None:
        return ImageFiles("folder", path, labels)
    if path.suffix.lower() == ".zip":
        return ImageFiles("zip", path, labels)
    if path.suffix.lower() == ".npz":
        return arrays.npz(path)
    if arrays.IDX_IMAGES.search(found.name):
        return arrays.idx(found)
    raise UserError(f"{path}: not usable as images; give a folder, .zip, .npz or IDX file (*-images-idx3-ubyte[.gz])")


def decoded(
    source: Source, opening: Opening, *, size: Any = None, labels: bool = False, channels: int | None = None,
    max_bad: float = 0.10, fit: int | None = None,
) -> Dataset:  # fmt: skip
    """The images of a source. They are decoded into the cache, unless that was done and nothing has changed since."""
    target = _checked_size(size)
    fit = None if target else fit
    if not 0 <= max_bad <= 1:
        raise UserError(f"--max-bad {max_bad}: must be a share of the files, from 0 to 1")
    identity = repr((FORMAT, source.format, str(source.path), source.stamp, target, channels, *([fit] if fit else [])))
    key = hashlib.blake2b(identity.encode(), digest_size=12).hexdigest()
    folder = cache_root(opening.cache) / f"{source.format}-{key}"

    def write(draft: Path) -> None:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="PIL")  # the check-up says what is wrong with a file
            build(source, draft, target, channels, max_bad, opening.progress, fit)

    data = ensure(folder, lambda cached: load(cached, source.name), write)
    refuse_too_bad(str(source.path), data.checkup.files, data.checkup.unreadable, max_bad)
    if labels and not data.classes:
        raise UserError(f"{source.name}: --labels was given, but these data have no labels")
    return data


def _checked_size(size: int | tuple[int, int] | None) -> tuple[int, int] | None:
    if size is None:
        return None
    height, width = (size, size) if isinstance(size, int) else size
    if min(height, width) < 1 or height * width > MOST_PIXELS:
        raise UserError(f"--size {height}x{width}: must have from 1x1 to {MOST_PIXELS:,} pixels")
    return height, width


def build(
    source: Source,
    draft: Path,
    target: tuple[int, int] | None,
    channels: int | None,
    max_bad: float,
    progress: Progress,
    fit: int | None = None,
) -> None:
    """Decode the images of a source into the folder `draft`."""
    survey = source.survey(progress)
    refuse_too_bad(str(source.path), source.files, source.bad, max_bad)
    native = _most_frequent_size(survey)
    height, width = target or (fitted(*native, fit) if fit else native)
    channels = channels or max(CHANNELS, key=lambda n: (survey.channels[n], n))
    shape = (channels, height, width)
    require_space(draft, survey.sizes.total() * height * width * channels)

    digests, positions, constant = bytearray(), array("q"), 0
    with (draft / PIXELS).open("wb") as file:
        for where, pixels in source.blocks(shape, progress):
            file.write(np.ascontiguousarray(pixels).data)
            positions.extend(where)
            constant += int((pixels == pixels[:, :1, :1]).all(axis=(1, 2, 3)).sum())
            for row in pixels:
                digests += hashlib.blake2b(np.ascontiguousarray(row).data, digest_size=16).digest()
    refuse_too_bad(str(source.path), source.files, source.bad, max_bad)

    usable = np.frombuffer(positions, np.int64)
    ids, classes = None, source.classes
    if source.labels is not None:
        used, ids = np.unique(source.labels[usable], return_inverse=True)  # a class may have no usable image
        ids, classes = ids.astype(np.int64), [source.classes[i] for i in used]
    first, copies = split.groups_of(np.frombuffer(digests, "V16"))
    heldout = split.choose_heldout(first, copies, ids) if source.heldout is None else source.heldout
    repeats = np.flatnonzero(first != np.arange(len(first)))

    def name_of(row: int) -> str:
        return source.name_of(usable[row])

    found: dict[str, Any] = {
        "source": source.format,
        "path": printable(str(source.path)),
        "bytes": source.bytes,
        "files": source.files,
        "samples": len(usable),
        "shape": dict(zip(("channels", "height", "width"), shape, strict=True)),
        "classes": {} if ids is None else dict(zip(classes, np.bincount(ids).tolist(), strict=True)),
        "train": len(usable) - len(heldout),
        "heldout": len(heldout),
        "duplicates": len(repeats),
        "duplicate_pairs": [[name_of(first[i]), name_of(i)] for i in repeats[:MOST_LISTED]],
        "unreadable": [list(pair) for pair in source.bad],
        "ignored": source.ignored,
        "found": {
            "sizes": top_sizes(survey),  # "28x28": height x width as stored, most frequent first, the rest as "other"
            "modes": dict(survey.modes.most_common()),  # "grey", "RGB", "palette", ... as stored
            "constant": constant,  # number of images in which all pixels are equal
            "resize": RESIZE_RULE,
        },
    }
    found["plan"] = list(
        plan(survey, found, native=native, sized=target is not None, heldout_given=source.heldout is not None)
    )
    digest = hashlib.blake2b(repr((shape, classes)).encode(), digest_size=16)
    digest.update(digests)
    digest.update(b"" if ids is None else ids.tobytes())
    save_about(draft, CheckUp(**found), digest.hexdigest(), ids, heldout)


def fitted(height: int, width: int, most: int) -> tuple[int, int]:
    """The nearest (height, width) whose shorter side is from 16 to `most`, in steps of an eighth of a power of two.

    >>> fitted(28, 28, 64), fitted(50, 50, 64), fitted(480, 640, 64)
    ((28, 28), (48, 48), (64, 88))
    """
    shorter = min(height, width)
    wanted = min(max(shorter, 16), most)
    step = max(4, (1 << (wanted - 1).bit_length()) // 8)
    height, width = (max(16, round(side * wanted / shorter / step) * step) for side in (height, width))
    return height, width


def _most_frequent_size(survey: Survey) -> tuple[int, int]:
    """(height, width); the smallest of equally frequent ones, since shrinking invents nothing and enlarging does."""
    return min(survey.sizes, key=lambda size: (-survey.sizes[size], size[0] * size[1], size))


def top_sizes(survey: Survey) -> dict[str, int]:
    """How many images have the most frequent sizes, and all others as "other"."""
    ranked = survey.sizes.most_common()
    frequent = {f"{height}x{width}": count for (height, width), count in ranked[:MOST_LISTED]}
    return frequent | ({"other": sum(count for _, count in ranked[MOST_LISTED:])} if len(ranked) > MOST_LISTED else {})


def plan(
    survey: Survey, found: dict[str, Any], *, native: tuple[int, int], sized: bool, heldout_given: bool
) -> Iterator[str]:
    """What training will do, in words, from the other fields of the CheckUp.

    `native` is the most frequent size. `sized`: the user gave the size. `heldout_given`: the source names the held-out
    images.
    """
    channels, height, width = found["shape"].values()
    total = survey.sizes.total()
    yield f"see {found['train']:,} images, {COLOURS[channels]}, {height} x {width}"
    if found["heldout"]:
        how = "the last 50 of each class" if heldout_given else "chosen by position, always the same"
        yield f"never see {found['heldout']:,} others, held out for measuring ({how})"
    else:
        yield "hold nothing out for measuring: there are too few different images"
    if found["classes"]:
        fewest = min(found["classes"], key=found["classes"].__getitem__)
        yield f"find {len(found['classes'])} classes, the smallest ({fewest}) with {found['classes'][fewest]:,} images"

    same = survey.sizes[height, width]
    if same < total:
        smaller = sum(count for (h, w), count in survey.sizes.items() if h < height or w < width)
        enlarged = f" ({smaller:,} of them smaller, so they are enlarged)" if smaller else ""
        yield f"resize {total - same:,} images of another size{enlarged} to {height} x {width}, each {RESIZE_RULE}"
    if not sized and (height, width) != native:
        large = min(native) > 1.2 * min(height, width)
        why = "too large to train on enough of them in time" if large else "which networks cannot halve"
        yield f"use that size although most are {native[0]} x {native[1]}, {why}; --size sets another"
    elif not sized and same <= total / 2:
        yield f"use that size because it is the most frequent, but only {same:,} images have it; --size sets another"
    others = Counter({COLOURS[n]: count for n, count in survey.channels.items() if n != channels})
    if others:
        what = " and ".join(f"{count:,} {colour}" for colour, count in others.most_common())
        yield f"convert {what} images to {COLOURS[channels]}; --channels sets another"
    if survey.channels[4] and channels < 4:
        yield "make transparent parts white"
    if any(mode.startswith("16-bit") for mode in survey.modes):
        yield "scale 16-bit images from 0..65,535 to 0..255"

    if found["unreadable"]:
        yield f"skip {len(found['unreadable']):,} image files that cannot be used"
    if found["duplicates"]:
        yield f"keep the {found['duplicates']:,} exact copies, each in the same part of the split as its original"
    if found["found"]["constant"]:
        yield f"keep {found['found']['constant']:,} images of one single colour"


def save_about(
    folder: Path, checkup: CheckUp, fingerprint: str, labels: np.ndarray | None, heldout: np.ndarray
) -> None:
    """Save everything about a data set except its pixels, which are in `folder` already."""
    if labels is not None:
        np.save(folder / LABELS, labels)
    np.save(folder / HELD_OUT, heldout)
    write_json(folder / ABOUT, {"fingerprint": fingerprint, "checkup": dataclasses.asdict(checkup)})


def load(folder: Path, name: str) -> Dataset | None:
    """The data set in `folder`; None if it is not there or incomplete: somebody may have deleted files in the cache."""
    try:
        about = read_json(folder / ABOUT)
        checkup = CheckUp(**about["checkup"])
        channels, height, width = checkup.shape.values()
        heldout = np.load(folder / HELD_OUT)
        stored = RowFile(folder / PIXELS, checkup.samples, (height, width, channels))
        return Dataset(
            name=name,
            sample=ImageSample(shape=(channels, height, width)),
            rows=lambda indices: torch.from_numpy(stored.take(indices)).permute(0, 3, 1, 2),  # channels-last memory
            classes=list(checkup.classes),
            labels=np.load(folder / LABELS) if checkup.classes else None,
            train=np.setdiff1d(np.arange(checkup.samples), heldout),
            heldout=heldout,
            fingerprint=about["fingerprint"],
            checkup=checkup,
        )
    except (OSError, ValueError, TypeError, KeyError, EOFError):
        return None
