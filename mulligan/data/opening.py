"""From what the user names to a data set: find the source, decode it once into the cache, read it from there."""

from __future__ import annotations

import difflib
import hashlib
import warnings
from array import array
from pathlib import Path
from typing import Any

import numpy as np

from mulligan.core.errors import UserError
from mulligan.data import arrays, checkup, split, stacked
from mulligan.data.cache import cache_root, ensure, require_space
from mulligan.data.dataset import PIXELS, ImageData, load, save_about
from mulligan.data.decode import CHANNELS, RESIZE_RULE
from mulligan.data.files import ImageFiles, printable
from mulligan.data.pairs import PairFiles, halved
from mulligan.data.points import MIXTURES, PointData, open_points, refuse_picture_options
from mulligan.data.sources import Progress, Source, Survey
from mulligan.data.stacked import StackedData
from mulligan.data.unpaired import joined, two_sides

VALID = "'digits', 'stacked', 'ring', 'grid', or a folder, .zip, .npz or IDX file (*-images-idx3-ubyte[.gz]) of images"
BUILT_IN = ("digits", stacked.NAME, *MIXTURES)
FORMAT = 1  # of what is in the cache; another number leaves old folders alone and decodes anew
MOST_PIXELS = 1 << 26  # of one image as training sees it


def open_data(
    spec: str | Path,
    *,
    size: int | tuple[int, int] | None = None,
    labels: bool = False,
    channels: int | None = None,
    max_bad: float = 0.10,
    fit: int | None = None,
    pairs: bool = False,
    unpaired: bool = False,
    other: str | Path | None = None,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> ImageData | PointData | StackedData:
    """Open a data set, decoding it into the cache if it is not there yet or has changed since.

    Args:
        spec: "digits" (5,000 of MNIST, with labels); "stacked" (three of them in a picture); "ring" or "grid" (points
            of 8 or 25 Gaussians in a plane); or the path of a folder, .zip, .npz, IDX file or folder of those.
        size: height and width that all images are brought to, by `decode.RESIZE_RULE`; by default the most frequent.
        fit: without a `size`, the shorter side of the most frequent one is brought to at most this, and both sides to
            multiples that networks can halve (`fitted`).
        labels: sub-folders are classes. Arrays carry their labels anyway; without any, it is an error to ask for them.
        channels: 1, 3 or 4; by default what most images are.
        max_bad: share of the image files, 0 to 1, that may be unusable; they are listed in the check-up and skipped.
        pairs: `spec` is a folder with sub-folders a and b whose files go by the same names, or one of pictures that
            hold both side by side; sizes are those of one of a pair.
        unpaired: two sets of images that go from one to the other as wholes: `spec` and `other`, or the sub-folders a
            and b of `spec`.
        cache: the cache folder; by default that of MULLIGAN_CACHE, or the user's.
        progress: called with (done, of how many) while decoding.

    Raises:
        UserError: nothing usable at `spec`, too much of it damaged, no labels where asked for, an option out of range,
            a cache that cannot be written.
    """
    if pairs and (spec in BUILT_IN or labels):
        raise UserError(
            f"{spec}: --task pairs takes a folder with a/ and b/, or one of pictures side by side, no labels"
        )
    if unpaired:
        if labels:
            raise UserError(f"{spec}: --task style goes by no labels; leave --labels away")
        how = {"size": size, "channels": channels, "max_bad": max_bad, "fit": fit, "cache": cache, "progress": progress}
        specs = two_sides(spec, other)
        a, b = (open_data(side, **how) for side in specs)
        return joined(a, b, specs)
    if other is not None:
        raise UserError(f"{spec} and {other}: two data sets are for --task style; give one, or --task style")
    if spec in MIXTURES:
        refuse_picture_options(str(spec), size=size, channels=channels)
        return open_points(str(spec), labels=labels)
    if spec == stacked.NAME:
        stacked.refuse_other_options(labels, channels)
        digits = open_data("digits", size=size, fit=fit, cache=cache, progress=progress)
        assert isinstance(digits, ImageData)
        return stacked.stack(digits)
    target = _checked_size(size)
    fit = None if target else fit
    if channels not in (None, *CHANNELS):
        raise UserError(f"--channels {channels}: valid: {', '.join(map(str, CHANNELS))}")
    if not 0 <= max_bad <= 1:
        raise UserError(f"--max-bad {max_bad}: a share of the files, 0 to 1")
    source = PairFiles(Path(spec).expanduser().absolute()) if pairs else find(spec, labels)
    target = (target[0], 2 * target[1]) if target and pairs else target
    asked = repr((FORMAT, source.kind, str(source.path), source.stamp, target, channels, *([fit] if fit else [])))
    key = hashlib.blake2b(asked.encode(), digest_size=12).hexdigest()
    folder = cache_root(cache) / f"{source.kind}-{key}"

    def write(draft: Path) -> None:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="PIL")  # what is wrong with a file is in the check-up
            build(source, draft, target, channels, max_bad, progress or (lambda done, total: None), fit)

    data = ensure(folder, lambda made: load(made, source.name), write)
    checkup.refuse_too_bad(str(source.path), data.checkup.files, data.checkup.unreadable, max_bad)
    if labels and not data.classes:
        raise UserError(f"{spec}: --labels was given, and there are none in it")
    return halved(data) if pairs else data


def _checked_size(size: int | tuple[int, int] | None) -> tuple[int, int] | None:
    if size is None:
        return None
    height, width = (size, size) if isinstance(size, int) else size
    if min(height, width) < 1 or height * width > MOST_PIXELS:
        raise UserError(f"--size {height}x{width}: from 1x1 to {MOST_PIXELS:,} pixels")
    return height, width


def find(spec: str | Path, labels: bool) -> Source:
    """The source that `spec` names."""
    if spec == "digits":  # as a string; Path("digits") or "./digits" is a folder of that name
        return arrays.Digits()
    if not str(spec):  # which as a path would be the working folder
        raise UserError(f"no data is named; give {VALID}")
    path = Path(spec).expanduser().absolute()
    try:
        path.stat()
        images = arrays.idx_in(path) if path.is_dir() else path
    except FileNotFoundError:
        near = difflib.get_close_matches(str(spec).lower(), BUILT_IN, n=1, cutoff=0.6)
        valid = f"did you mean the built-in {near[0]!r}?" if near else f"give {VALID}"
        raise UserError(f"{spec}: no such file or folder; {valid}") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{spec}: {getattr(error, 'strerror', None) or error}") from None
    if images is None:
        return ImageFiles("folder", path, labels)
    if path.suffix.lower() == ".zip":
        return ImageFiles("zip", path, labels)
    if path.suffix.lower() == ".npz":
        return arrays.npz(path)
    if arrays.IDX_IMAGES.search(images.name):
        return arrays.idx(images)
    raise UserError(f"{spec}: not usable as data; give {VALID}")


def build(
    source: Source,
    draft: Path,
    target: tuple[int, int] | None,
    channels: int | None,
    max_bad: float,
    progress: Progress,
    fit: int | None = None,
) -> None:
    """Decode a source into the folder `draft`."""
    survey = source.survey(progress)
    checkup.refuse_too_bad(str(source.path), source.files, source.bad, max_bad)
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
    checkup.refuse_too_bad(str(source.path), source.files, source.bad, max_bad)

    kept = np.frombuffer(positions, np.int64)
    ids, classes = None, source.classes
    if source.labels is not None:
        used, ids = np.unique(source.labels[kept], return_inverse=True)  # a class may have lost all its images
        ids, classes = ids.astype(np.int64), [source.classes[i] for i in used]
    first, copies = split.groups_of(np.frombuffer(digests, "V16"))
    heldout = split.choose_heldout(first, copies, ids) if source.heldout is None else source.heldout
    repeats = np.flatnonzero(first != np.arange(len(first)))

    def name_of(row: int) -> str:
        return source.name_of(kept[row])

    found: dict[str, Any] = {
        "kind": source.kind,
        "path": printable(str(source.path)),
        "bytes": source.bytes,
        "files": source.files,
        "images": len(kept),
        "shape": dict(zip(("channels", "height", "width"), shape, strict=True)),
        "sizes": checkup.top_sizes(survey),
        "modes": dict(survey.kinds.most_common()),
        "classes": {} if ids is None else dict(zip(classes, np.bincount(ids).tolist(), strict=True)),
        "train": len(kept) - len(heldout),
        "heldout": len(heldout),
        "duplicates": len(repeats),
        "duplicate_pairs": [[name_of(first[i]), name_of(i)] for i in repeats[: checkup.SHOWN]],
        "constant": constant,
        "unreadable": [list(pair) for pair in source.bad],
        "ignored": source.ignored,
        "resize": RESIZE_RULE,
    }  # fmt: skip
    found["plan"] = list(
        checkup.plan(survey, found, native=native, sized=target is not None, held_by_hand=source.heldout is not None)
    )
    content = hashlib.blake2b(repr((shape, classes)).encode(), digest_size=16)
    content.update(digests)
    content.update(b"" if ids is None else ids.tobytes())
    save_about(draft, checkup.CheckUp(**found), content.hexdigest(), ids, heldout)


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
    """(height, width); of equally frequent ones the smallest, since to shrink loses less truth than to enlarge."""
    return min(survey.sizes, key=lambda size: (-survey.sizes[size], size[0] * size[1], size))
