"""What a data set contains, what is wrong with it, and what training will do with it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

from mulligan.core.errors import UserError

NAMED = 20  # unusable files that an error message names
MOST_LISTED = 8  # sizes, and pairs of duplicates, that a check-up lists


@dataclasses.dataclass(frozen=True, kw_only=True)
class CheckUp:
    """What was found. All of it is JSON. `files` counts all samples, other counts only usable ones."""

    source: str  # "folder", "zip", "npz", "idx", "digits", ...
    path: str
    bytes: int  # of the files
    files: int
    samples: int
    shape: dict[str, int]  # of a sample in training, by axis: "channels", "height", "width"
    classes: dict[str, int] = dataclasses.field(default_factory=dict)
    train: int
    heldout: int
    duplicates: int = 0  # samples that are an exact copy of an earlier one, once all have one shape
    duplicate_pairs: list[list[str]] = dataclasses.field(default_factory=list)  # the first few: the original, the copy
    unreadable: list[list[str]] = dataclasses.field(default_factory=list)  # [name, reason]
    ignored: dict[str, int] = dataclasses.field(default_factory=dict)  # number of other files, by extension
    found: dict[str, Any] = dataclasses.field(default_factory=dict)  # facts that only samples of this kind have
    plan: list[str]  # sentences that continue "Training will"

    def as_dict(self) -> dict[str, Any]:
        """All of it in one dict: the entries of `found` become entries like the others."""
        fields = dataclasses.asdict(self)
        found, plan = fields.pop("found"), fields.pop("plan")
        return fields | found | {"plan": plan}


def refuse_too_bad(path: str, files: int, bad: list, max_bad: float) -> None:
    """Raises UserError where the share of unusable image files is above `max_bad`, or where none can be used."""
    if len(bad) == files:
        raise UserError(f"{path}: none of {files:,} image files can be used: {listed(bad)}")
    if len(bad) > max_bad * files + 1e-9:
        enough = math.ceil(100 * len(bad) / files) / 100
        raise UserError(
            f"{path}: {len(bad):,} of {files:,} image files cannot be used, and the limit is {max_bad:.1%}: "
            f"{listed(bad)}; --max-bad {enough} skips them"
        )


def listed(bad: Sequence[Sequence[str]]) -> str:
    """Files [name, reason] in one line, the first `NAMED` of them, grouped by reason."""
    by_reason: dict[str, list[str]] = {}
    for name, why in bad[:NAMED]:
        by_reason.setdefault(why, []).append(name)
    words = "; ".join(f"{', '.join(names)} ({why})" for why, names in by_reason.items())
    more = f"; and {len(bad) - NAMED:,} more: `mulligan inspect --json` lists all (for pairs, add --pairs)"
    return words + (more if len(bad) > NAMED else "")
