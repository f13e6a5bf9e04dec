"""`report.html`: a run on one page, made from its folder alone; it loads nothing. Its text is in page.html.j2."""

from __future__ import annotations

import base64
import functools
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from PIL import Image

from mulligan.core.run import RunFolder, write_whole

if TYPE_CHECKING:
    from jinja2 import Template

FRAMES = 24  # most sheets of samples in the timeline
BYTES, SIDE = 150_000, 720  # a sheet of more bytes is reduced to so many pixels a side;
LATEST_BYTES, LATEST_SIDE = 1_000_000, 1280  # the latest, which is large on the page, to these
POINTS = 120  # most points of a curve
MARKS = {"best": "★", "noticed": "!", "rewound": "↺", "resumed": "▸", "stopped": "■"}
SLOTS = 50  # positions for marks along an axis; events closer than that share one
CHARTS = {  # kind of row, names of the numbers, whether the axis may be logarithmic
    "Kernel distance": ("metric", ("kid",), True),
    "Fréchet distance": ("metric", ("fid",), True),
    "Fidelity and diversity": ("metric", ("precision", "recall", "density", "coverage"), False),
    "Modes found": ("metric", ("modes",), False),
    "Losses": ("progress", ("d/adversarial", "g/adversarial"), False),
    "Discriminator logits": ("progress", ("d/real", "d/fake"), False),
    "Discriminator accuracy": ("progress", ("d/wins",), False),
    "Variety": ("progress", ("spread/real", "spread/fake"), False),
    "Gradients": ("progress", ("d/gradient", "g/gradient"), True),
    "Learning rates": ("progress", ("d/lr", "g/lr"), False),
    "Terms": ("progress", (), False),  # all other numbers of the players
    "Speed": ("progress", ("samples_per_second",), False),
}
Row = Mapping[str, Any]


def write_report(run: RunFolder) -> Path:
    """Write `report.html` from what the run folder holds so far; whatever is missing is left out."""
    recipe, summary, evaluation = (run.read(p) if p.exists() else {} for p in (run.recipe, run.summary, run.evaluation))
    rows: dict[str, list[Row]] = {"progress": [], "metric": [], "event": []}
    for row in run.rows():  # one axis for all attempts: samples of lost attempts count too
        rows.setdefault(row["kind"], []).append(row | {"samples": row["samples"] + row.get("lost", 0)})
    last = max((row for group in rows.values() for row in group), key=lambda row: row["samples"], default=None)
    if last and not summary:  # the process was killed before its first summary
        summary = {"status": "running", "samples_seen": last["samples"], "seconds": last["seconds"]}
    end = max(1, last["samples"]) if last else 1
    described = run.describe() if run.run.exists() else {}
    noun = (described.get("data") or {}).get("noun", "samples")

    page = _template().render(
        name=run.path.resolve().name,
        recipe=recipe,
        recipe_json=json.dumps(recipe, indent=2, ensure_ascii=False),
        run=described,
        noun=noun,
        summary=summary,
        metric=rows["metric"][-1] if rows["metric"] else {},
        evaluation=evaluation,
        fidelity=_fidelity(rows["metric"], evaluation),
        neighbours=_source(run.neighbours, large=True) if run.neighbours.exists() else "",
        events=[row for row in rows["event"] if row["what"] != "best"],
        frames=_frames(run),
        end=end,
        charts=_charts(rows),
        marks=_marks(rows["event"], end, noun),
        signs=MARKS,
        ticks=[(samples, short(samples)) for samples in round_steps(0, end)],
    )
    write_whole(run.report, page.encode())
    return run.report


@functools.cache  # compiled once
def _template() -> Template:
    from jinja2 import Environment, PackageLoader

    environment = Environment(loader=PackageLoader("mulligan.report", "."), autoescape=True, trim_blocks=True)
    environment.filters |= {"number": number, "span": span, "spelled": spelled}
    return environment.get_template("page.html.j2")


def number(value: Any, digits: int = 4) -> str:
    """Integers in full, other numbers to so many digits (0.800, 13.7, 1,234), anything else as text."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return {"nan": "not a number", "inf": "infinite", "-inf": "-infinite"}.get(str(value), str(value))
    if isinstance(value, int) or value == 0:
        return f"{value:,.0f}"
    size = math.floor(math.log10(abs(value)))
    return f"{value:,.{max(0, digits - 1 - size)}f}" if -4 < size < 7 else f"{value:.{digits}g}"


def short(value: float) -> str:
    """A number for an axis: 0.05, 12k, 1.5M."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if size <= abs(value) < 1e12:
            return f"{value / size:.4g}{letter}"
    return f"{value:.4g}"


def span(seconds: float) -> str:
    """A duration: 42 seconds, 5.0 minutes, 2.3 hours."""
    for size, least, word in ((86400, 2, "days"), (3600, 2, "hours"), (60, 1, "minutes")):
        if seconds >= least * size:
            return f"{seconds / size:.1f} {word}"
    return f"{seconds:.0f} seconds"


def spelled(value: Any) -> str:
    """An option's value: a schedule as `cosine 0.002 to 0`; of a mapping, the members that are set."""
    match value:
        case {"shape": shape, "start": start, "end": end, **rest}:
            over = f" over {rest['samples']:,.0f} samples" if rest.get("samples") else ""
            return f"{shape} {start:g} to {end:g}{over}"
        case dict():
            return ", ".join(f"{name} {spelled(v)}" for name, v in value.items() if v not in (None, False))
        case list():
            return ", ".join(map(spelled, value))
        case float():
            return f"{value:,.0f}" if value.is_integer() else f"{value:g}"
    return number(value)


def _frames(run: RunFolder) -> list[dict[str, Any]]:
    """Sheets of samples, oldest first, at most `FRAMES` of them, as data URIs."""
    paths = sorted(path for path in run.samples.glob("*.png") if path.stem.isdecimal())
    chosen = paths[:: -max(1, math.ceil(len(paths) / FRAMES))][::-1]  # always with the latest
    return [{"samples": int(path.stem), "source": _source(path, path == chosen[-1])} for path in chosen]


def _source(path: Path, large: bool) -> str:
    most, side = (LATEST_BYTES, LATEST_SIDE) if large else (BYTES, SIDE)
    data, kind = path.read_bytes(), "png"
    if len(data) > most:
        picture, file = Image.open(io.BytesIO(data)).convert("RGB"), io.BytesIO()
        picture.thumbnail((side, side))
        picture.save(file, "JPEG", quality=85)
        data, kind = file.getvalue(), "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


# A curve is a path in a box that the page stretches: as wide as the run has samples, 1000 high. Text is outside of it.


class Point(NamedTuple):
    """A block of successive rows: their mean and range; the range includes two standard errors where there are any."""

    samples: int  # at the end of the block
    value: float
    low: float
    high: float


def points(rows: Sequence[Row], name: str) -> list[Point]:
    """At most `POINTS`. A block with a number that is not finite has the value nan, so that the page shows it."""
    known = [row for row in rows if row.get(name) is not None]
    size = max(1, math.ceil(len(known) / POINTS))
    found = []
    for block in (known[i : i + size] for i in range(0, len(known), size)):
        values = [float(row[name]) for row in block]  # reads "nan" and "inf" too
        spreads = [2 * float(row.get(f"{name}_se", 0)) for row in block]
        ends = [end for v, s in zip(values, spreads, strict=True) for end in (v - s, v + s) if math.isfinite(end)]
        mean = sum(values) / len(values)
        value = mean if math.isfinite(mean) else math.nan
        found.append(Point(block[-1]["samples"], value, min(ends, default=value), max(ends, default=value)))
    return found


def round_steps(low: float, high: float) -> list[float]:
    """About four multiples of 1, 2 or 5 times a power of ten, from `low` to `high`."""
    rough = (high - low) / 4
    steps = (k * 10.0 ** math.floor(math.log10(rough)) for k in (1, 2, 5, 10))
    step = min(steps, key=lambda step: abs(math.log(step / rough)))
    return [i * step for i in range(math.ceil(low / step), math.floor(high / step) + 1)]


@dataclass(frozen=True)
class Axis:
    low: float
    high: float
    log: bool = False

    @staticmethod
    def over(means: Sequence[float], ends: Sequence[float], may_be_log: bool) -> Axis:
        """From 0 to the values, or logarithmic where their range is large; rare peaks (1 in 50) are cut off."""
        if may_be_log and means and min(means) > 0 and max(means) > 20 * min(means):
            return Axis(min(means) / 1.3, max(means) * 1.3, log=True)
        ranked = sorted(ends) or [0.0]
        rare = len(ranked) // 50
        low, high = min(0.0, ranked[rare]), max(0.0, ranked[-1 - rare])
        low, high = max(min(0.0, ranked[0]), 2 * low - high), min(max(0.0, ranked[-1]), 2 * high - low)
        margin = 0.06 * (high - low) or 1.0
        return Axis(low - margin * (low < 0), high + margin * (high > 0 or low == 0))

    def at(self, value: float) -> float:
        """The distance from the top of the box; outside of the box for a value beyond the axis."""
        if self.log:
            value = max(value, self.low / 1e3)  # an error band may extend below 0
            return round(1000 * math.log(self.high / value) / math.log(self.high / self.low), 1)
        return round(1000 * (self.high - value) / (self.high - self.low), 1)

    def ticks(self) -> list[tuple[float, str]]:
        marks = round_steps(self.low, self.high)
        if self.log:
            powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)))
            marks = [k * 10.0**power for power in powers for k in ((1, 3) if len(powers) < 5 else (1,))]
        return [(self.at(mark), short(mark)) for mark in marks if self.low <= mark <= self.high]


def _charts(rows: Mapping[str, Sequence[Row]]) -> list[dict[str, Any]]:
    """The data of those of `CHARTS` for which there are numbers."""
    named = {name for _, names, _ in CHARTS.values() for name in names}
    others = sorted({name for row in rows["progress"] for name in row if "/" in name} - named)
    charts = []
    for title, (kind, names, may_be_log) in CHARTS.items():
        curves = {name: curve for name in names or others if (curve := points(rows[kind], name))}
        all_points = [point for curve in curves.values() for point in curve]
        means = [p.value for p in all_points if math.isfinite(p.value)]
        ends = [end for p in all_points for end in (p.low, p.high) if math.isfinite(end)]
        axis = Axis.over(means, ends, may_be_log)
        chart = {
            "title": title,
            "curves": [_curve(name, curve, axis) for name, curve in curves.items()],
            "ticks": axis.ticks(),
            "zero": axis.at(0) if axis.low < 0 < axis.high else None,
            "bad": sorted({p.samples for p in all_points if math.isnan(p.value)}),
            "cut": max((e for e in ends if not axis.log and not axis.low <= e <= axis.high), key=abs, default=None),
        }
        charts += [chart] if curves else []
    return charts


def _fidelity(rows: Sequence[Row], evaluation: Mapping[str, Any]) -> dict[str, Any]:
    """Diversity (recall) to the right and fidelity (precision) upwards, in a box of 1000 x 1000 whose top is 0.

    Where the model was evaluated: a cross as wide and as high as the intervals, and a path of the evaluations during
    training with the same feature net.
    """
    numbers, intervals = evaluation.get("metrics", {}), evaluation.get("intervals", {})
    if not {"precision", "recall"} <= numbers.keys() & intervals.keys():
        return {}
    stamp = evaluation["protocol"]["features_stamp"]
    path = [
        (1000 * float(row["recall"]), 1000 - 1000 * float(row["precision"]))
        for row in rows
        if row.get("protocol", {}).get("features_stamp") == stamp and {"precision", "recall"} <= row.keys()
    ]
    (left, right), (bottom, top) = ([1000 * end for end in intervals[name]] for name in ("recall", "precision"))
    x, y = 1000 * numbers["recall"], 1000 - 1000 * numbers["precision"]
    return {
        "path": "M" + "L".join(f"{a:.1f} {b:.1f}" for a, b in path) if path else "",
        "cross": f"M{left:.1f} {y:.1f}H{right:.1f}M{x:.1f} {1000 - top:.1f}V{1000 - bottom:.1f}",
    }


def _curve(name: str, curve: Sequence[Point], axis: Axis) -> dict[str, Any]:
    """Paths of a line and of the band around it, with gaps where numbers are missing; and the numbers themselves."""
    line = band = ""
    for known, piece in groupby(curve, lambda point: not math.isnan(point.value)):
        if known:
            part = list(piece)
            edge = [f"{p.samples} {axis.at(p.high)}" for p in part] + [
                f"{p.samples} {axis.at(p.low)}" for p in part[::-1]
            ]
            line += f"M{'L'.join(f'{p.samples} {axis.at(p.value)}' for p in part)}h0"  # h0: a single point is a dot
            band += f"M{'L'.join(edge)}Z"
    values = [None if math.isnan(p.value) else float(f"{p.value:.4g}") for p in curve]
    return {"name": name, "line": line, "band": band, "samples": [p.samples for p in curve], "values": values}


def _marks(events: Sequence[Row], end: int, noun: str) -> list[dict[str, Any]]:
    """Marks of events along the axis: their signs, and the text that appears when one points at them."""
    best = [row for row in events if row["what"] == "best"][-1:]
    slots: dict[int, list[Row]] = {}
    for row in [*best, *(row for row in events if row["what"] in MARKS and row["what"] != "best")]:
        slots.setdefault(round(SLOTS * row["samples"] / end), []).append(row)
    return [
        {
            "samples": shared[0]["samples"],
            "signs": "".join(dict.fromkeys(MARKS[row["what"]] for row in shared)),
            "text": "\n".join(f"{row['what']} after {row['samples']:,} {noun}: {row.get('why', '')}" for row in shared),
        }
        for shared in slots.values()
    ]
