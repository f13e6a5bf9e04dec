"""The guard: what is wrong with a game, what has been tried, and what to do next. It advises; the loop acts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from mulligan.core.recipe import Recipe
from mulligan.engine.detectors import Detector
from mulligan.engine.remedies import REMEDIES

MOST = 6  # rewinds of a run
ROOTS = ("equal rates", "by the book")  # what a game that never was well is tried with first: degrees will not mend it


class Rewind(NamedTuple):
    """Advice to go back and play on otherwise."""

    finding: str  # a detector's name
    evidence: str  # what it said
    remedy: str  # a remedy's name
    settings: Mapping[str, Any]  # what that changes in the recipe
    fresh: bool  # from the beginning, not from where it was well

    def __str__(self) -> str:
        changes = ", ".join(f"{path}={value}" for path, value in self.settings.items())
        cure = REMEDIES[self.remedy].words + (f" ({changes})" if changes else "")
        return f"{self.finding}: {self.evidence}. Remedy: {cure}"


def point(goods: Sequence[Mapping[str, Any]], tried: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Of the points where a game was well, oldest first, the one to go back to, after what was tried since it began.

    It is the last; if that was gone back to in vain, the one before: what is judged is an average, which lags behind
    the players, so it may have been well when they were not any more.
    """
    been = {entry["to"] for entry in tried}
    return next((each for each in reversed(goods) if each["images"] not in been), goods[0])


def remedied(recipe: Recipe, tried: Sequence[Mapping[str, Any]]) -> Recipe:
    """The recipe with all that was tried on it, `Rewind`s as JSON; one that begins by the book forgets the others."""
    now = recipe
    for entry in tried:
        now = (recipe if REMEDIES[entry["remedy"]].anew else now).with_set(entry["settings"])
    return now


def advice(
    found: Detector, evidence: str, recipe: Recipe, tried: Sequence[Mapping[str, Any]], was_well: bool
) -> Rewind | None:
    """How to play on: by the first of the finding's cures that is not used up and has something to change.

    `was_well` says whether there is a good point to go back to: if not, the game begins from nothing, and what went
    wrong was no accident that other dice would spare it. None when nothing is left to try.
    """
    now, used = remedied(recipe, tried), [entry["remedy"] for entry in tried]
    cures = found.cures if was_well else sorted(found.cures, key=lambda name: name not in ROOTS)
    for name in cures if len(tried) < MOST else ():
        if name in used:
            used.remove(name)
            continue
        cure = REMEDIES[name]
        settings = cure.change(recipe if cure.anew else now)
        if settings or (settings == {} and was_well):
            return Rewind(found.name, evidence, cure.name, settings, cure.anew or not was_well)
    return None
