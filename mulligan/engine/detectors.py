"""What can go wrong in a game, and how one sees it: a table of functions that read what the run has written down.

A detector says in plain words, with the numbers that show it, what is wrong, or nothing. It reads numbers alone, never
which recipe, loss or data they come from. Another one is another function here; of those that speak, the first is
believed. Thresholds were set on runs ruined on purpose and on healthy ones (`benchmarks/faults.py`).
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from mulligan.engine.budget import believable, best_of, converged

Row = Mapping[str, Any]

TRACKED = "kid"  # the metric that says how good samples are; smaller is better
SETTLED_STEPS, SETTLED_IMAGES = 20, 5_000  # of an attempt, before its numbers mean anything
YOUNG = 0.05  # how far weights have come at most: at a rate of 1e-4 `dcgan` begins to draw strokes at 0.03
USUAL_TURNS = 5  # of D to one of G, in WGANs; D having gone as many times as far is no illness of a game
POOR = 0.1  # coverage of samples that D's numbers explain
BARREN = 0.03  # coverage of samples that show nothing yet; healthy runs had three times that by half of their budget
WINDOW = 4  # rows of averages looked at together


@dataclass(frozen=True)
class History:
    """What is known of a run, oldest first; of what was given up, nothing."""

    rows: Sequence[Row]  # averages, of this attempt
    looks: Sequence[Row]  # measurements of samples, also from before a rewind
    budget: int  # images

    @property
    def settled(self) -> bool:
        """Whether this attempt has gone on for long enough to be judged by its numbers."""
        first, last = self.rows[:1], self.rows[-1:]
        lasted = (
            {key: last[0][key] - first[0][key] for key in ("step", "images")} if first else {"step": 0, "images": 0}
        )
        return lasted["step"] >= SETTLED_STEPS and lasted["images"] >= SETTLED_IMAGES and not self.young

    @property
    def young(self) -> bool:
        """Whether nothing can have been learnt yet, and nothing was."""
        return self.way < YOUNG and all(float(look["coverage"]) < POOR for look in self.looks)

    @cached_property
    def way(self) -> float:
        """How far this attempt can have carried a weight: in a step of Adam's as far as the learning rate, about.

        G's, or a share of D's that outpaces it. Endless in runs of before this was written down.
        """
        steps = [(row, row["step"] - before["step"]) for before, row in itertools.pairwise(self.rows)]
        if not all("g/lr" in row for row, _ in steps):
            return math.inf
        of_g = sum(count * row["g/lr"] for row, count in steps)
        of_d = sum(count * row["d/lr"] * row["d_turns"] for row, count in steps)
        return max(of_g, of_d / USUAL_TURNS)

    def latest(self, name: str, rows: int = WINDOW) -> float:
        """The median of a number over the last rows; nan where it is not known."""
        known = [float(row[name]) for row in self.rows[-rows:] if name in row]
        return statistics.median(known) if len(known) == rows else math.nan

    def usual(self, name: str) -> float:
        """Its median over this attempt, but for the first tenth and the last rows; nan while there are few."""
        known = [float(row[name]) for row in self.rows[len(self.rows) // 10 : -WINDOW] if name in row]
        return statistics.median(known) if len(known) >= 2 * WINDOW else math.nan


def history_of(rows: Iterable[Row], budget: int) -> History:
    """From the rows of a run's `stats.jsonl`."""
    averages: list[Row] = []
    looks: list[Row] = []
    for row in rows:
        if row["kind"] == "progress":
            averages.append(row)
        elif row["kind"] == "metric":
            looks.append(row)
        elif row["what"] == "rewound":
            averages, looks = [], [look for look in looks if look["images"] <= row["to"]]
    return History(averages, looks, budget)


@dataclass(frozen=True)
class Detector:
    name: str
    says: Callable[[History], str | None]
    cures: tuple[
        str, ...
    ] = ()  # names of remedies, the first to be tried first; none: nothing that training could change
    hint: str = ""  # what people can do about it
    grave: bool = True  # the guard acts; else it only says so
    fatal: bool = False  # without the guard, too, there is no going on


DETECTORS: dict[str, Detector] = {}


def detector(name: str, **options: Any) -> Callable[[Callable[[History], str | None]], Callable[[History], str | None]]:
    def add(says: Callable[[History], str | None]) -> Callable[[History], str | None]:
        DETECTORS[name] = Detector(name, says, **options)
        return says

    return add


def diagnose(history: History) -> tuple[Detector, str] | None:
    """The first detector with something to say, and what it says."""
    for found in DETECTORS.values():
        if why := found.says(history):
            return found, why
    return None


def suffering(history: History, least: float = BARREN) -> str | None:
    """Whether samples are much worse than they were, or nothing is being learnt, and by which numbers.

    Whatever the players' numbers look like, a game whose samples are well is well. Nothing is learnt where less than
    `least` is covered by half of the budget, or by a quarter if the metric stands still.
    """
    looks = [row for row in history.looks if math.isfinite(float(row[TRACKED]))]
    if len(looks) < 6 or not history.settled:
        return None
    last, best = looks[-1], min(believable(looks, TRACKED), key=lambda row: row[TRACKED])
    half = [min(row[TRACKED] for row in part) for part in (looks[: len(looks) // 2], looks[len(looks) // 2 :])]
    covered = max(row["coverage"] for row in looks[-2:])
    standing = last["images"] > history.budget / 4 and half[1] > 0.8 * half[0] and covered < least
    late = last["images"] > history.budget / 2 and max(row["coverage"] for row in looks) < least
    if standing or late:
        return (
            f"after {last['images']:,} images nothing is being learnt: samples cover {covered:.1%} of the real images, "
            f"and {TRACKED.upper()}, {half[0]:.3g} at best before, is now {last[TRACKED]:.3g} (smaller is better)"
        )
    lately = looks[-2:]
    if best in lately or any(row["attempt"] != last["attempt"] for row in lately):
        return None

    def worse(row: Row) -> bool:
        noise = 4 * max(row[f"{TRACKED}_se"], best[f"{TRACKED}_se"])  # its own, not that of a worse one
        return row[TRACKED] > 2 * max(best[TRACKED], 0.0) + noise

    if all(map(worse, lately)):
        return (
            f"samples have become worse: {TRACKED.upper()} {last[TRACKED]:.3g} after {last['images']:,} images, "
            f"{best[TRACKED]:.3g} after {best['images']:,} (smaller is better)"
        )
    return None


@detector(
    "numbers that are no numbers",
    cures=("other dice", "equal rates", "slower", "stronger penalty", "slower", "by the book"),
    fatal=True,
)
def not_finite(history: History) -> str | None:
    for row in (*history.rows[-1:], *history.looks[-1:]):
        bad = [name for name, value in row.items() if value in ("nan", "inf", "-inf")]
        if bad:
            return f"{', '.join(bad)} became infinite or not a number"
    return None


@detector("broken data", hint="look at the data: `mulligan inspect DATA`")
def broken_data(history: History) -> str | None:
    alike = history.latest("spread/real")
    if alike < 0.01:
        return f"the real images that D is shown are all alike (they differ by {alike:.2g} of 2 in a pixel)"
    return None


@detector(
    "mode collapse", cures=("other dice", "equal rates", "stronger penalty", "no momentum", "slower", "by the book")
)
def mode_collapse(history: History) -> str | None:
    fake, real = history.latest("spread/fake"), history.latest("spread/real")
    if history.settled and fake < 0.15 * real:
        return f"G makes one picture whatever it is told: samples differ by {fake:.2g}, real images by {real:.2g}"
    deaf = [float(row.get("g/noise", 1.0)) for row in history.looks[-2:]]
    if history.settled and deaf and max(deaf) < 0.05:
        return f"G is deaf to its noise: other noise changes its pictures by {deaf[-1]:.2g} of what real ones differ by"
    if why := suffering(history):
        last, best = history.looks[-1], best_of(history.looks, TRACKED)
        if best and last["coverage"] < min(0.1, best["coverage"] / 3) and last["precision"] > 3 * last["coverage"]:
            return f"{why}; they cover {last['coverage']:.0%} of the real images, {best['coverage']:.0%} at their best"
    return None


@detector(
    "an overpowering discriminator",
    cures=("other dice", "equal rates", "stronger penalty", "nonsaturating", "fewer D turns", "by the book"),
)
def d_overpowers(history: History) -> str | None:
    sure = history.latest("d/wins")
    if sure > 0.99 and (why := suffering(history, POOR)):
        return f"D tells real from generated in {sure:.1%} of all pairs, and G learns nothing from that; {why}"
    return None


@detector(
    "a discriminator too weak", cures=("other dice", "equal rates", "weaker penalty", "more D turns", "by the book")
)
def d_too_weak(history: History) -> str | None:
    sure = history.latest("d/wins")
    if sure < 0.56 and (why := suffering(history)):
        return f"D does no better than guessing (right in {sure:.1%} of all pairs), so G is told nothing; {why}"
    return None


@detector(
    "a discriminator that memorises",
    cures=("other dice", "augmentation", "stronger penalty", "slower D", "by the book"),
)
def d_memorises(history: History) -> str | None:
    if not history.looks or not (why := suffering(history)):
        return None
    known = float(history.looks[-1].get("d/memory", 0.5))
    if known > 0.75:
        return f"D ranks images it was trained on above held-out ones in {known:.0%} of all pairs; {why}"
    return None


@detector("divergence", cures=("other dice", "equal rates", "slower", "stronger penalty", "slower", "by the book"))
def divergence(history: History) -> str | None:
    why = suffering(history)
    for name, words in (("d/gradient", "D's gradient"), ("g/gradient", "G's gradient")):
        now, usual = history.latest(name), history.usual(name)
        if why and now > 20 * usual:
            return f"{words} is {now:.3g}, {now / usual:.0f} times what it usually was; {why}"
    return None


@detector("mode dropping", cures=("other dice", "stronger penalty", "equal rates", "slower", "by the book"))
def mode_dropping(history: History) -> str | None:
    if why := suffering(history):
        last, best = history.looks[-1], best_of(history.looks, TRACKED)
        if best and last["recall"] < 0.5 * best["recall"] and last["precision"] > 0.5 * best["precision"]:
            return f"{why}; recall fell from {best['recall']:.0%} to {last['recall']:.0%}, precision did not"
    return None


@detector("no progress", cures=("other dice", "equal rates", "stronger penalty", "by the book", "slower"))
def no_progress(history: History) -> str | None:
    return suffering(history)


@detector("a short run", grave=False, hint="give it more images or minutes, or the players higher learning rates")
def short(history: History) -> str | None:
    last = history.looks[-1] if history.looks else None
    if last is None or last["images"] < history.budget or not history.young:
        return None
    return (
        f"after all {history.budget:,} images samples cover {last['coverage']:.1%} of the real images; at these "
        f"learning rates no weight can have come further than {history.way:.2g}, which is little"
    )


@detector("a stalled metric", grave=False)
def stalled(history: History) -> str | None:
    return converged(history.looks, TRACKED, patience=8) if history.settled else None
