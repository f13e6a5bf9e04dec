"""The guard: what is wrong with a game, what has been tried, and what to do next. It advises; the loop acts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from mulligan.core.recipe import Recipe
from mulligan.engine.detectors import Detector
from mulligan.engine.remedies import REMEDIES

MOST = 6  # rewinds of a run
ROOTS = ("equal rates", "proven rules")  # tried first on a game that never was healthy: small changes will not mend it


class Rewind(NamedTuple):
    """Advice to go back and play on with other settings."""

    finding: str  # a detector's name
    evidence: str  # what it said
    remedy: str  # a remedy's name
    settings: Mapping[str, Any]  # what that changes in the recipe
    fresh: bool  # from the beginning, not from a restore point

    def __str__(self) -> str:
        changes = ", ".join(f"{path}={value}" for path, value in self.settings.items())
        cure = REMEDIES[self.remedy].words + (f" ({changes})" if changes else "")
        return f"{self.finding}: {self.evidence}. Remedy: {cure}"


def point_to_restore(points: Sequence[Mapping[str, Any]], tried: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """The point to go back to, of those where a game was healthy, oldest first, after what was `tried` since it began.

    It is the last one. If going back to it did not help, it is the one before: evaluations are of G's average, which
    lags behind the players, so it may have been good when they no longer were.
    """
    used = {entry["to"] for entry in tried}
    return next((each for each in reversed(points) if each["samples"] not in used), points[0])


def remedied(recipe: Recipe, tried: Sequence[Mapping[str, Any]]) -> Recipe:
    """The recipe with all that was tried on it, `Rewind`s as JSON; a remedy that starts anew drops those before it."""
    now = recipe
    for entry in tried:
        now = (recipe if REMEDIES[entry["remedy"]].anew else now).with_set(entry["settings"])
    return now


def advice(
    found: Detector, evidence: str, recipe: Recipe, tried: Sequence[Mapping[str, Any]], was_healthy: bool
) -> Rewind | None:
    """How to play on: by the first of the finding's cures that is not used up and has something to change.

    `was_healthy` says whether there is a restore point. If not, the game begins anew, and another seed alone is not
    tried: what went wrong was no accident. None when nothing is left to try.
    """
    now, used = remedied(recipe, tried), [entry["remedy"] for entry in tried]
    cures = found.cures if was_healthy else sorted(found.cures, key=lambda name: name not in ROOTS)
    for name in cures if len(tried) < MOST else ():
        if name in used:
            used.remove(name)
            continue
        cure = REMEDIES[name]
        settings = cure.change(recipe if cure.anew else now)
        if settings or (settings == {} and was_healthy):
            return Rewind(found.name, evidence, cure.name, settings, cure.anew or not was_healthy)
    return None
