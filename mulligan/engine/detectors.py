"""What can go wrong in a game, and how it shows: a table of functions that read what the run has written down.

A detector says in plain words, with the numbers that show it, what is wrong, or nothing. It reads numbers alone, never
which recipe, loss or data they come from; where a number that it needs was not measured, it is silent. Another detector
is another function here; of those that speak, the first is believed. Thresholds were set on runs ruined on purpose and
on healthy ones (`benchmarks/faults.py`).
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

SETTLED_STEPS, SETTLED_SAMPLES = 20, 5_000  # of an attempt, before its numbers mean anything
WARM_UP = 0.05  # how far weights may have travelled meanwhile: at a rate of 1e-4 `dcgan` begins to draw strokes at 0.03
USUAL_TURNS = 5  # of D to one of G, in WGANs; D having travelled so many times as far is no illness of a game
POOR = 0.1  # coverage of samples that D's numbers explain
EMPTY = 0.03  # coverage of samples that show nothing yet; healthy runs had three times that by half of their budget
WINDOW = 4  # rows of averages that are read together
OVERFLOWS = 50  # steps skipped in a row; the loss scale, halved each time, needs about 20 to settle from 65,536


@dataclass(frozen=True)
class History:
    """What is known of a run, oldest first; of what was given up, nothing."""

    rows: Sequence[Row]  # averages, of this attempt
    evaluations: Sequence[Row]  # measurements of samples, also from before a rewind
    budget: int  # in samples
    tracked: str = "kid"  # the metric of how good samples are, smaller is better; `<tracked>_se` is its standard error
    noun: str = "samples"  # what samples of these data are called: "images"

    @property
    def settled(self) -> bool:
        """Whether this attempt has gone on for long enough to be judged by its numbers."""
        first, last = self.rows[:1], self.rows[-1:]
        lasted = {key: last[0][key] - first[0][key] if first else 0 for key in ("step", "samples")}
        return lasted["step"] >= SETTLED_STEPS and lasted["samples"] >= SETTLED_SAMPLES and not self.warming_up

    @property
    def warming_up(self) -> bool:
        """Whether nothing can have been learnt yet, and nothing was."""
        return self.travelled < WARM_UP and all(float(row.get("coverage", 0.0)) < POOR for row in self.evaluations)

    @cached_property
    def travelled(self) -> float:
        """How far this attempt can have moved a weight: in each step of Adam about as far as the learning rate.

        G's, or a share of D's that outpaces it. Infinite for runs of versions that did not write rates down.
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

    def last_and_best(self, *names: str) -> tuple[Row, Row] | None:
        """The last evaluation and the best one, where both measured `names`."""
        best = best_of(self.evaluations, self.tracked)
        found = (self.evaluations[-1], best) if best else None
        return found if found and all(name in row for name in names for row in found) else None


def history_of(rows: Iterable[Row], budget: int, *, tracked: str = "kid", noun: str = "samples") -> History:
    """From the rows of a run's `stats.jsonl`."""
    averages: list[Row] = []
    evaluations: list[Row] = []
    for row in rows:
        if row["kind"] == "progress":
            averages.append(row)
        elif row["kind"] == "metric":
            evaluations.append(row)
        elif row["what"] == "rewound":
            averages, evaluations = [], [each for each in evaluations if each["samples"] <= row["to"]]
    return History(averages, evaluations, budget, tracked, noun)


@dataclass(frozen=True)
class Detector:
    name: str
    says: Callable[[History], str | None]
    cures: tuple[str, ...] = ()  # names of remedies in the order to try them; (): training cannot change it
    hint: str = ""  # what people can do about it
    grave: bool = True  # the guard acts; else it only says so
    fatal: bool = False  # without the guard, too, the run cannot go on


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


def suffering(history: History, least: float = EMPTY) -> str | None:
    """Whether samples are much worse than they were, or nothing is being learnt, and by which numbers.

    Whatever the players' numbers look like, a game with good samples is healthy. Nothing is learnt where less than
    `least` is covered by half of the budget, or by a quarter if the metric does not improve.
    """
    tracked, noun = history.tracked, history.noun
    rows = [row for row in history.evaluations if math.isfinite(float(row[tracked]))]
    if len(rows) < 6 or not history.settled:
        return None
    last, best = rows[-1], min(believable(rows, tracked), key=lambda row: row[tracked])
    half = [min(row[tracked] for row in part) for part in (rows[: len(rows) // 2], rows[len(rows) // 2 :])]
    if all("coverage" in row for row in rows):
        covered = max(row["coverage"] for row in rows[-2:])
        standing = last["samples"] > history.budget / 4 and half[1] > 0.8 * half[0] and covered < least
        late = last["samples"] > history.budget / 2 and max(row["coverage"] for row in rows) < least
        if standing or late:
            return (
                f"after {last['samples']:,} {noun} nothing is being learnt: generated {noun} cover {covered:.1%} of "
                f"the real ones, and {tracked}, {half[0]:.3g} at best before, is now {last[tracked]:.3g} (smaller is "
                "better)"
            )
    lately = rows[-2:]
    if best in lately or any(row["attempt"] != last["attempt"] for row in lately):
        return None

    def worse(row: Row) -> bool:
        noise = 4 * max(row[f"{tracked}_se"], best[f"{tracked}_se"])  # its own, not that of a worse one
        return row[tracked] > 2 * max(best[tracked], 0.0) + noise

    if all(map(worse, lately)):
        return (
            f"generated {noun} have become worse: {tracked} {last[tracked]:.3g} after {last['samples']:,} {noun}, "
            f"{best[tracked]:.3g} after {best['samples']:,} (smaller is better)"
        )
    return None


@detector(
    "non-finite numbers",
    cures=("another seed", "equal rates", "slower", "stronger penalty", "slower", "proven rules"),
    fatal=True,
)
def not_finite(history: History) -> str | None:
    for row in (*history.rows[-1:], *history.evaluations[-1:]):
        bad = [name for name, value in row.items() if value in ("nan", "inf", "-inf")]
        if bad:
            return f"{', '.join(bad)} became infinite or not a number"
    return None


@detector(
    "overflow in half precision",
    cures=("another seed", "slower", "stronger penalty", "slower", "proven rules"),
    hint="train with --set precision=bf16, or fp32",
)
def overflow(history: History) -> str | None:
    """A few skipped steps are how a loss scale finds its size; very many mean that there is none."""
    for side in "dg":
        steps = 0
        for before, row in itertools.pairwise(history.rows):
            steps = steps + row["step"] - before["step"] if float(row.get(f"{side}/skipped", 0.0)) == 1.0 else 0
        if steps >= OVERFLOWS:
            return (
                f"{side.upper()}'s gradient overflowed in each of the last {steps:,} steps, at ever smaller loss "
                "scales, so that none of these steps was taken"
            )
    return None


@detector("broken data", hint="look at the data: `mulligan inspect DATA`")
def broken_data(history: History) -> str | None:
    alike = history.latest("spread/real")
    if alike < 0.01:
        return f"the real {history.noun} that D sees are all alike: their root mean square difference is {alike:.2g}"
    return None


@detector(
    "mode collapse",
    cures=("another seed", "equal rates", "stronger penalty", "no momentum", "slower", "proven rules"),
)
def mode_collapse(history: History) -> str | None:
    fake, real = history.latest("spread/fake"), history.latest("spread/real")
    if history.settled and fake < 0.15 * real:
        return f"generated {history.noun} are almost all the same: they differ by {fake:.2g}, real ones by {real:.2g}"
    heard = [float(row.get("g/noise", 1.0)) for row in history.evaluations[-2:]]
    if history.settled and heard and max(heard) < 0.05:
        return f"G ignores its noise: of what real {history.noun} differ by, other noise changes {heard[-1]:.2g}"
    if (why := suffering(history)) and (found := history.last_and_best("coverage", "precision")):
        last, best = found
        if last["coverage"] < min(0.1, best["coverage"] / 3) and last["precision"] > 3 * last["coverage"]:
            return f"{why}; coverage is {last['coverage']:.0%}, and was {best['coverage']:.0%} at its best"
    return None


@detector(
    "an overpowering discriminator",
    cures=("another seed", "equal rates", "stronger penalty", "nonsaturating", "fewer D turns", "proven rules"),
)
def d_overpowers(history: History) -> str | None:
    sure = history.latest("d/wins")
    if sure > 0.99 and (why := suffering(history, POOR)):
        return f"D tells real from generated in {sure:.1%} of all pairs, and G learns nothing from that; {why}"
    return None


@detector(
    "a discriminator too weak", cures=("another seed", "equal rates", "weaker penalty", "more D turns", "proven rules")
)
def d_too_weak(history: History) -> str | None:
    sure = history.latest("d/wins")
    if sure < 0.56 and (why := suffering(history)):
        return f"D does no better than guessing (right in {sure:.1%} of all pairs), so G learns nothing from it; {why}"
    return None


@detector(
    "a discriminator that memorises",
    cures=("another seed", "augmentation", "stronger penalty", "slower D", "proven rules"),
)
def d_memorises(history: History) -> str | None:
    if not history.evaluations or not (why := suffering(history)):
        return None
    known = float(history.evaluations[-1].get("d/memory", 0.5))
    if known > 0.75:
        return f"D ranks {history.noun} it was trained on above held-out ones in {known:.0%} of all pairs; {why}"
    return None


@detector("divergence", cures=("another seed", "equal rates", "slower", "stronger penalty", "slower", "proven rules"))
def divergence(history: History) -> str | None:
    why = suffering(history)
    for name, words in (("d/gradient", "D's gradient"), ("g/gradient", "G's gradient")):
        now, usual = history.latest(name), history.usual(name)
        if why and now > 20 * usual:
            return f"{words} is {now:.3g}, {now / usual:.0f} times what it usually was; {why}"
    return None


@detector("mode dropping", cures=("another seed", "stronger penalty", "equal rates", "slower", "proven rules"))
def mode_dropping(history: History) -> str | None:
    if (why := suffering(history)) and (found := history.last_and_best("recall", "precision")):
        last, best = found
        if last["recall"] < 0.5 * best["recall"] and last["precision"] > 0.5 * best["precision"]:
            return f"{why}; recall fell from {best['recall']:.0%} to {last['recall']:.0%}, precision did not"
    return None


@detector("no progress", cures=("another seed", "equal rates", "stronger penalty", "proven rules", "slower"))
def no_progress(history: History) -> str | None:
    return suffering(history)


@detector("a short run", grave=False, hint="give it more samples or minutes, or the players higher learning rates")
def short(history: History) -> str | None:
    last = history.evaluations[-1] if history.evaluations else {}
    if "coverage" not in last or last["samples"] < history.budget or not history.warming_up:
        return None
    return (
        f"after all {history.budget:,} {history.noun} the generated ones cover {last['coverage']:.1%} of the real "
        f"ones; at these learning rates no weight can have moved further than {history.travelled:.2g}, which is little"
    )


@detector("a stalled metric", grave=False)
def stalled(history: History) -> str | None:
    return converged(history.evaluations, history.tracked, patience=8) if history.settled else None
