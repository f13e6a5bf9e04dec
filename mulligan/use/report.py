"""`report.html`: a run on one page, from its folder alone, with nothing to fetch."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mulligan.core.run import RunFolder, read_json, write_whole

if TYPE_CHECKING:
    from matplotlib.axes import Axes

POINTS = 600  # of a curve, at most
FRAMES = 24  # pictures of the sample timeline, at most
METRICS = {
    "fid": "Fréchet distance to real images; 0 is real",
    "kid": "kernel distance to real images, with its standard error; 0 is real",
    "kid_se": "standard error of the kernel distance",
    "precision": "share of samples that look real",
    "recall": "share of real images that samples come near",
    "density": "how densely samples lie where real images do; 1 is real",
    "coverage": "share of real images with a sample in their neighbourhood",
}
Rows = list[dict[str, Any]]


def write_report(run: RunFolder) -> Path:
    """Write `report.html` from what the run folder holds so far; whatever is missing is left out."""
    from jinja2 import Environment, PackageLoader, select_autoescape

    recipe, described, summary = (
        read_json(path) if path.exists() else {} for path in (run.recipe, run.run, run.summary)
    )
    progress, metric, events = (list(run.rows(kind)) for kind in ("progress", "metric", "event"))
    environment = Environment(loader=PackageLoader("mulligan.use", "."), autoescape=select_autoescape(default=True))
    environment.filters["number"] = _number
    page = environment.get_template("report.html.j2").render(
        name=run.path.resolve().name,
        recipe=recipe,
        run=described,
        summary=summary,
        events=[row for row in events if row["what"] != "best"],
        frames=_frames(run),
        plots=_plots(progress, metric, events),
        meanings=METRICS,
        parts=_parts(recipe),
    )
    write_whole(run.report, page.encode())
    return run.report


def _number(value: Any) -> str:
    """12,345 for counts, four digits for measurements, words as they are."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def _frames(run: RunFolder) -> list[dict[str, Any]]:
    """Sample grids, oldest first, thinned to `FRAMES`, as data URIs."""
    paths = sorted(run.samples.glob("*.png"))
    kept = [path for i, path in enumerate(paths) if i * FRAMES // len(paths) != (i - 1) * FRAMES // len(paths)]
    if paths and paths[-1] not in kept:
        kept.append(paths[-1])
    return [
        {"images": int(path.stem), "source": "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()}
        for path in kept
    ]


def _parts(recipe: Mapping[str, Any]) -> list[tuple[str, str, Mapping[str, Any]]]:
    """(role, name, options) of every part of a recipe, in the order a reader wants them."""
    rows = [(role, recipe[role]) for role in ("generator", "discriminator", "loss", "task") if role in recipe]
    rows += [(f"term {name}", {"name": name, **term}) for name, term in recipe.get("terms", {}).items()]
    rows += [(f"{player}'s optimizer", part) for player, part in recipe.get("optimizer", {}).items()]
    plain = ("batch", "accumulate", "d_turns", "share_fakes", "ema", "precision", "budget")
    rows.append(("training", {"name": "", **{key: recipe[key] for key in plain if key in recipe}}))
    return [(role, part["name"], {k: _spelled(v) for k, v in part.items() if k != "name"}) for role, part in rows]


def _spelled(value: Any) -> str:
    """A schedule as `cosine 0.002 to 0`; a limit that is not set is left out."""
    match value:
        case {"shape": shape, "start": start, "end": end, **rest}:
            over = f" over {rest['images']:,.0f} images" if rest.get("images") else ""
            return f"{shape} {start:g} to {end:g}{over}"
        case dict():
            return ", ".join(f"{name} {_number(v)}" for name, v in value.items() if v not in (None, False))
    return _number(value)


def _plots(progress: Rows, metric: Rows, events: Rows) -> list[tuple[str, str, str]]:
    """(title, what to read from it, svg) of every curve there is something to draw for."""
    names = {name for row in progress[:50] for name in row}
    extra = sorted(name for name in names if "/" in name and name.split("/")[1] not in ("adversarial", "real", "fake"))
    drawn: list[tuple[str, str, Rows, Callable[[Axes, Rows], None]]] = [
        ("Distance", METRICS["kid"], metric, _with_error("kid")),
        ("Fidelity and diversity", "precision, recall, coverage", metric, _lines("precision", "recall", "coverage")),
        (
            "Losses",
            "adversarial part, of discriminator and generator",
            progress,
            _lines("d/adversarial", "g/adversarial"),
        ),
        ("What D thinks", "mean logit on real and on generated images", progress, _lines("d/real", "d/fake")),
        ("Terms", "weighted, as added to the loss", progress if extra else [], _lines(*extra)),
        ("Speed", "images a second", progress, _lines("images_per_second")),
    ]
    return [(title, note, _svg(rows, draw, events)) for title, note, rows, draw in drawn if len(rows) > 1]


def _points(rows: Rows, name: str) -> tuple[list[int], list[float]]:
    """A curve, thinned to `POINTS` by averaging neighbours; what is not a finite number leaves a gap."""
    known = [row for row in rows if name in row]
    step = max(1, math.ceil(len(known) / POINTS))
    blocks = [known[i : i + step] for i in range(0, len(known), step)]
    values = [sum(float(row[name]) for row in block) / len(block) for block in blocks]
    return [block[-1]["images"] for block in blocks], [v if math.isfinite(v) else math.nan for v in values]


def _lines(*names: str) -> Callable[[Axes, Rows], None]:
    def draw(axes: Axes, rows: Rows) -> None:
        for name, colour in zip(names, _COLOURS * 3, strict=False):
            axes.plot(*_points(rows, name), color=colour, linewidth=1.4, label=_LABELS.get(name, name))
        if len(names) > 1 or names[0].startswith("d/"):
            axes.legend(
                frameon=False, fontsize=8, labelcolor=_INK, ncols=len(names), loc="lower right", bbox_to_anchor=(1, 1)
            )

    return draw


def _with_error(name: str) -> Callable[[Axes, Rows], None]:
    def draw(axes: Axes, rows: Rows) -> None:
        images, values = _points(rows, name)
        errors = [float(row[f"{name}_se"]) for row in rows][: len(values)]
        axes.fill_between(
            images, [v - 2 * e for v, e in zip(values, errors, strict=True)],
            [v + 2 * e for v, e in zip(values, errors, strict=True)], color=_COLOURS[0], alpha=0.2, linewidth=0,
        )  # fmt: skip
        axes.plot(images, values, color=_COLOURS[0], linewidth=1.4, marker="o", markersize=3)
        positive = [v for v in values if v > 0]
        if positive and max(positive) > 20 * min(positive):
            axes.set_yscale("log")

    return draw


# read on white and on black alike
_INK = "#808080"
_COLOURS = ("#3b82c4", "#d9822b", "#4f9d69", "#b45fa5")
_LABELS = {"d/adversarial": "discriminator", "g/adversarial": "generator", "d/real": "real", "d/fake": "generated"}
_MARKED = {"resumed": ":", "rewound": "--", "stopped": "-"}


def _svg(rows: Rows, draw: Callable[[Axes, Rows], None], events: Iterable[Mapping[str, Any]]) -> str:
    """One curve as inline SVG, on a transparent ground."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure
    from matplotlib.ticker import EngFormatter

    with rc_context({"svg.hashsalt": "mulligan", "svg.fonttype": "none", "font.size": 9, "font.family": "sans-serif"}):
        figure = Figure(figsize=(5.6, 2.5), layout="constrained")
        axes = figure.add_subplot()
        draw(axes, rows)
        last = max(row["images"] for row in rows)
        for event in events:
            if event["what"] in _MARKED and event["images"] < last:
                axes.axvline(event["images"], color=_INK, linewidth=0.8, linestyle=_MARKED[event["what"]])
        axes.set_xlim(0, last)
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
        axes.grid(color=_INK, alpha=0.2, linewidth=0.5)
        axes.tick_params(colors=_INK, length=0, labelsize=8)
        axes.set_xlabel("images shown", color=_INK, fontsize=8)
        for spine in axes.spines.values():
            spine.set_visible(False)
        file = io.StringIO()
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg = file.getvalue()
    return svg[svg.index("<svg") :]
