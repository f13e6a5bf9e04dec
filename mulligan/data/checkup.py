"""What is in a data set, what is wrong with it, and what training will do with it."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from mulligan.core.errors import UserError
from mulligan.data.decode import RESIZE_RULE
from mulligan.data.sources import Survey

LISTED = 20  # bad files in a line
SHOWN = 8  # most frequent sizes, pairs of duplicates
COLOURS = {1: "grey", 3: "RGB", 4: "RGBA"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class CheckUp:
    """JSON throughout. `files` counts the images there are, usable or not; all other counts are of the usable ones."""

    kind: str  # "folder", "zip", "npz", "idx", "digits"
    path: str
    bytes: int  # of the files
    files: int
    images: int
    shape: dict[str, int]  # "channels", "height", "width" of what training sees
    sizes: dict[str, int]  # "28x28" (height x width) as stored, most frequent first, the rest as "other"
    modes: dict[str, int]  # "grey", "RGB", "palette", ... as stored
    classes: dict[str, int]
    train: int
    heldout: int
    duplicates: int  # images of which an earlier one is an exact copy, once brought to the common size
    duplicate_pairs: list[list[str]]  # a few: the earlier one, the copy
    constant: int  # images of one single colour
    unreadable: list[list[str]]  # [name, reason]
    ignored: dict[str, int]  # files that are no images, by extension
    resize: str  # the rule for images of another size
    plan: list[str]  # each goes on after "Training will"

    def as_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def refuse_too_bad(path: str, files: int, bad: list, max_bad: float) -> None:
    """Raises UserError where more than the share `max_bad` of the image files cannot be used, or all of them."""
    if len(bad) == files:
        raise UserError(f"{path}: none of {files:,} image files can be used: {listed(bad)}")
    if len(bad) > max_bad * files + 1e-9:
        enough = math.ceil(100 * len(bad) / files) / 100
        raise UserError(
            f"{path}: {len(bad):,} of {files:,} image files cannot be used, and the limit is {max_bad:.1%}: "
            f"{listed(bad)}; --max-bad {enough} skips them"
        )


def listed(bad: Sequence[Sequence[str]]) -> str:
    """Files [name, reason] in one line: so many as can be read there, those of one reason together."""
    said: dict[str, list[str]] = {}
    for name, why in bad[:LISTED]:
        said.setdefault(why, []).append(name)
    words = "; ".join(f"{', '.join(names)} ({why})" for why, names in said.items())
    more = f"; and {len(bad) - LISTED:,} more, which `mulligan inspect --json` lists, of pairs with --pairs"
    return words + (more if len(bad) > LISTED else "")


def top_sizes(survey: Survey) -> dict[str, int]:
    """The most frequent sizes, and what is left as "other"."""
    ranked = survey.sizes.most_common()
    shown = {f"{height}x{width}": count for (height, width), count in ranked[:SHOWN]}
    return shown | ({"other": sum(count for _, count in ranked[SHOWN:])} if len(ranked) > SHOWN else {})


def plan(
    survey: Survey, found: dict[str, Any], *, native: tuple[int, int], sized: bool, held_by_hand: bool
) -> Iterator[str]:
    """What training will do, in words, from the other fields of the CheckUp.

    `native` is the most frequent size; `sized`: the user gave the size.
    """
    channels, height, width = found["shape"].values()
    total = survey.sizes.total()
    yield f"see {found['train']:,} images, {COLOURS[channels]}, {height} x {width}"
    if found["heldout"]:
        how = "the last 50 of each class" if held_by_hand else "chosen by position, the same every time"
        yield f"never see {found['heldout']:,} others, held out to measure by ({how})"
    else:
        yield "hold nothing out to measure by: there are too few different images"
    if found["classes"]:
        fewest = min(found["classes"], key=found["classes"].__getitem__)
        yield f"find {len(found['classes'])} classes, the smallest ({fewest}) of {found['classes'][fewest]:,} images"

    same = survey.sizes[height, width]
    if same < total:
        smaller = sum(count for (h, w), count in survey.sizes.items() if h < height or w < width)
        enlarged = f" ({smaller:,} of them smaller, so enlarged)" if smaller else ""
        yield f"bring {total - same:,} images of another size{enlarged} to {height} x {width}, each {RESIZE_RULE}"
    if not sized and (height, width) != native:
        large = min(native) > 1.2 * min(height, width)
        why = "of which networks see too few in their time" if large else "which networks cannot halve"
        yield f"take that size though most are {native[0]} x {native[1]}, {why}; --size sets another"
    elif not sized and same <= total / 2:
        yield f"take that size because it is the most frequent, but only {same:,} images have it; --size sets another"
    others = Counter({COLOURS[n]: count for n, count in survey.channels.items() if n != channels})
    if others:
        what = " and ".join(f"{count:,} {colour}" for colour, count in others.most_common())
        yield f"turn {what} images into {COLOURS[channels]}; --channels sets another"
    if survey.channels[4] and channels < 4:
        yield "show what is transparent as white"
    if any(kind.startswith("16-bit") for kind in survey.kinds):
        yield "scale 16-bit images from 0..65,535 to 0..255"

    if found["unreadable"]:
        yield f"skip {len(found['unreadable']):,} image files that cannot be used"
    if found["duplicates"]:
        yield f"keep the {found['duplicates']:,} exact copies, each on the side of the split where its original is"
    if found["constant"]:
        yield f"keep {found['constant']:,} images of one single colour"
