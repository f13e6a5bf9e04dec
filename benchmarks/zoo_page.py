"""docs/zoo.md from the recipes' own words and the numbers of benchmarks/results/zoo.json; no number is written here."""

from __future__ import annotations

import re
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mulligan.core.recipe import Recipe
from mulligan.runs.recipes import compare
from zoo_sizes import SIZES, counted

COLUMNS = {  # heading: (data set, number, digits behind the point)
    "digits: coverage": ("digits", "coverage", 3),
    "recall": ("digits", "recall", 3),
    "KID": ("digits", "kid", 4),
    "images/s": ("speed", "images_per_second", 0),
    "grid: modes": ("grid", "modes", 1),
    "quality": ("grid", "quality", 3),
    "long grid: modes": ("long-grid", "modes", 0),
    "its quality": ("long-grid", "quality", 3),
    "stacked: modes": ("stacked", "modes", 0),
    "KL": ("stacked", "kl", 2),
}
SETS = ("grid", "long-grid", "digits", "stacked")  # beside them there is `speed`
PUBLISHED = " as published for "
MANY, FEW = 20, 5  # modes, of 25
ARRIVED = 0.05  # share of points near a mode, below which modes were met by chance
DATA = "data"  # is what the picture of the data is called, beside those of the recipes
ACROSS = 6  # plots in a row
LONG = 120  # characters of a value that are shown


def page(recipes: Sequence[Recipe], results: Mapping[str, Any], pictures: Path) -> str:
    """The whole of docs/zoo.md. `pictures` is the folder of samples, as seen from there."""
    compared = [recipe for recipe in recipes if PUBLISHED not in recipe.about and not recipe.from_images]
    blocks = [
        "# The zoo",
        "Written by `benchmarks/zoo.py` from the recipes and from what came out; do not edit. "
        "`mulligan zoo NAME` shows a recipe in full, `mulligan train DATA --recipe NAME` trains it.",
        "## Side by side",
        *_protocol(results),
        _summary(compared, results),
        *_story(compared, results, pictures),
        *_notes(compared, results),
    ]
    for root, below in _lineages(recipes):
        blocks.append(f"## {root.name}")
        for recipe in (root, *below):
            if PUBLISHED not in recipe.about:
                blocks += _section(recipe, root, recipes, results, pictures)
    return "\n\n".join([*blocks, *_sizes(recipes)]) + "\n"


def _protocol(results: Mapping[str, Any]) -> Iterator[str]:
    yield "One budget and the same seeds for all, defaults for all else; no recipe was tuned to it."
    lines = [f"- **{on}**: {_said(results[on])}" for on in SETS if on in results]
    yield "\n".join(lines) if lines else "Nothing was measured yet."
    if "grid" in results:
        yield (
            "On `grid` every recipe has the dense networks of `points`, since most have networks for images only, and "
            "no augmentation: it is the game that is compared there (loss, terms, optimizers, turns, batch, average), "
            "not what is in the networks."
        )
    if lines:
        yield (
            f"Measured: the best checkpoint by KID, of the moving average of G; the guard off. {results['machine']}. "
            "Means over seeds. *training data*: what as many training samples come to by the same measures."
        )
    if "speed" in results:
        load = statistics.mean(_means(results, "speed", "load").values())
        yield (
            f"Images a second are shown in training on digits, of steps alone, {results['speed']['seconds']:g} seconds "
            f"of them for each recipe, one thread, at a load of {load:.1f} of the machine's cores, this one included."
        )
    yield (
        "Which families do best at equal floating-point operations, on digits and on CIFAR-10, is "
        "[measured](measured.md#families-at-equal-flops-digits) elsewhere."
    )


def _said(of_set: Mapping[str, Any]) -> str:
    told = of_set["protocol"]
    seeds = sorted({seed for each in of_set["trials"].values() for seed in each["seeds"]}, key=int)
    return (
        f"{of_set['images']:,} images shown; seeds {', '.join(seeds) or 'none'}; {told['num_fake']:,} samples; "
        f"features `{told['features']}` ({told['features_stamp']}); {told['num_real']:,} {told['split']} images of "
        f"{told['data_fingerprint'][:12]}"
    )


def _summary(compared: Iterable[Recipe], results: Mapping[str, Any]) -> str:
    heads = [head for head, (on, _, _) in COLUMNS.items() if on in results]
    rows = [["recipe", "year", "parameters of G, D", *heads]]
    for recipe in sorted(compared, key=lambda each: each.name):
        numbers = [_number(results, recipe.name, *COLUMNS[head]) for head in heads]
        rows.append([f"[{recipe.name}](#{recipe.name})", _year(recipe.paper), _parameters(results, recipe), *numbers])
    best = [COLUMNS[head] for head in heads]
    data = [_plain(results[on].get("data", {}).get(name), digits) for on, name, digits in best]
    return _table([*rows, ["*training data*", "", "", *data]] if heads else rows)


def _story(compared: Sequence[Recipe], results: Mapping[str, Any], pictures: Path) -> Iterator[str]:
    """What of the papers' story the grids show: who keeps the modes, of those who are not told them."""
    for on in ("grid", "long-grid"):
        rows = {recipe.name: _rows(results, recipe.name, on) for recipe in compared}
        untold = {name for name, of in rows.items() if not any(row.get("by_class") for row in of)}
        every = _means(results, on, "modes")
        found = {name: modes for name, modes in every.items() if name in untold}
        good = _means(results, on, "quality")
        groups = {
            f"{MANY} or more are found by": [name for name in found if found[name] >= MANY and good[name] >= ARRIVED],
            f"as many, but with less than {ARRIVED:.0%} of points near any, by": [
                name for name in found if found[name] >= MANY and good[name] < ARRIVED
            ],
            f"{FEW} or fewer by": [name for name in found if found[name] <= FEW],
        }
        if found:
            said = (
                f"{what} {', '.join(f'`{name}`' for name in sorted(names)) or 'none'}" for what, names in groups.items()
            )
            yield (
                f"**Who keeps the modes** after {results[on]['images']:,} points of `{on}`: of {len(found)} recipes "
                f"that are not told the mode, {'; '.join(said)}."
            )
            told = {name: "" if name in untold else ", told" for name in rows if name in every}
            captions = {DATA: "", **{name: f" {every[name]:.0f}{of}" for name, of in told.items()}}
            yield _plots(captions, pictures / on)
    if "grid" in results:
        yield (
            "A share of high quality far below that of the data says that a game has not arrived yet, so few modes "
            "mean collapse only beside a high share. What is told the mode cannot lose one, and arrives first."
        )
    if "long-grid" in results:
        yield (
            "That the plain game drops modes for good is not what is seen here: with networks this small `gan` and "
            "`dcgan` run from mode to mode early, and have found most by the end of the long grid. What sets "
            "relativistic pairs with R1 and R2 (`points`, `digits`) apart is the share of points that are good; "
            "Wasserstein critics, with several turns of D and small rates, are far from having arrived."
        )
        good = _means(results, "long-grid", "quality")
        if otherwise := {name: modes for name, modes in _means(results, "long-grid", "modes").items() if " " in name}:
            told = (f"`{name}` {modes:.0f} (quality {good[name]:.3f})" for name, modes in otherwise.items())
            yield (
                f"**Set otherwise** on the long grid: {', '.join(told)}. The weight of 0.1 is what the authors of "
                "`wgan-gp` gave it on such mixtures: points lie closer than pictures do, and a slope of 1 says less."
            )
    if found := _means(results, "stacked", "modes"):
        yield from _stacked(compared, found, results["stacked"]["images"])


def _plots(captions: Mapping[str, str], pictures: Path) -> str:
    """What G makes of the plane, beside the data; beneath each plot whose it is, and how many modes it finds."""
    cells = [
        f"![points of {name}]({pictures.as_posix()}/{name}.png)<br>`{name}`{words}" for name, words in captions.items()
    ]
    cells += [""] * (-len(cells) % ACROSS)
    return _table([[""] * ACROSS, *(cells[at : at + ACROSS] for at in range(0, len(cells), ACROSS))])


def _stacked(compared: Sequence[Recipe], found: Mapping[str, float], images: int) -> Iterator[str]:
    """Who finds how many of the thousand modes, and what it is due to."""
    ranked = sorted(found, key=lambda name: found[name], reverse=True)

    def those(least: float, most: float) -> str:
        names = [f"`{name}` {found[name]:.0f}" for name in ranked if least <= found[name] < most and " " not in name]
        return ", ".join(names) or "none"

    yield (
        f"**Of the 1,000 modes of `stacked`**, after {images:,} images, 900 or more are found by {those(900, 1001)}; "
        f"half of them by {those(500, 900)}; a tenth by {those(100, 500)}; fewer by {those(0, 100)}."
    )
    alike = [f"`{recipe.name}`" for recipe in compared if recipe.generator.name == "dcgan" and recipe.name in found]
    otherwise = [f"`{name}` {found[name]:.0f}" for name in ranked if name.startswith("dcgan ")]
    if otherwise:
        yield (
            f"{', '.join(alike)} have the networks of `dcgan` and differ from it in loss, terms, turns and optimizer. "
            f"Set otherwise: {', '.join(otherwise)}. So it is Adam's rate and momentum that cost `dcgan` its modes: "
            "with those of the others the plain game keeps as many as any loss made to keep them. In `wgan`, `wgan-gp` "
            "and `wgan-div` D plays five turns for one of G, and G has hardly begun; `digits` finds all of them in ten "
            "times as many images ([README](../README.md#how-good-how-fast))."
        )


def _notes(compared: Iterable[Recipe], results: Mapping[str, Any]) -> Iterator[str]:
    """By data set: what could not be played, and of what is by class."""
    for on in (on for on in SETS if on in results):
        whys: dict[str, list[str]] = {}
        by_class = []
        for recipe in compared:
            rows = _rows(results, recipe.name, on)
            for why in {row.get("refused") or row.get("failed") for row in rows} - {None}:
                whys.setdefault(why, []).append(f"`{recipe.name}`")
            for row in rows:
                if row.get("status") not in (None, "finished"):
                    whys.setdefault(f"ended as {row['status']}", []).append(f"`{recipe.name}`")
            by_class += [f"`{recipe.name}`"] if any(row.get("by_class") for row in rows) else []
        lines = [f"- {', '.join(dict.fromkeys(names))}: {why}" for why, names in whys.items()]
        if lines:
            yield f"Not played to the end on `{on}`:\n\n" + "\n".join(lines)
        if by_class:
            what = "the mode" if on == "grid" else "the class"
            yield f"On `{on}`, told {what} of what to make: {', '.join(by_class)}."


def _section(
    recipe: Recipe, root: Recipe, recipes: Sequence[Recipe], results: Mapping[str, Any], pictures: Path
) -> Iterator[str]:
    if recipe is not root:
        yield f"### {recipe.name}"
    yield f"{recipe.about[:1].upper()}{recipe.about[1:]}. ({recipe.paper})"
    parent = next((each for each in recipes if each.name == recipe.parent), None)
    if parent and (changed := compare(parent, recipe)):
        rows = [["", f"`{parent.name}`", f"`{recipe.name}`"]]
        yield _table([*rows, *([f"`{what}`", _short(theirs), _short(ours)] for what, theirs, ours in changed)])
    numbers = [
        f"{head.removeprefix(f'{on}: ')} {value} ({on})"
        for head, (on, name, digits) in COLUMNS.items()
        if (value := _number(results, recipe.name, on, name, digits)) not in ("", "-")
    ]
    if numbers:
        parameters = _parameters(results, recipe)
        yield "; ".join([*numbers, *([f"parameters of G, D {parameters}"] if parameters else [])]) + "."
    if any("coverage" in row for row in _rows(results, recipe.name, "digits")):
        yield f"![samples of {recipe.name}]({pictures.as_posix()}/digits/{recipe.name}.png)"


def _sizes(recipes: Iterable[Recipe]) -> Iterator[str]:
    """Our networks of published size beside what is said of theirs."""
    yield "## Sizes of papers"
    yield "Millions of parameters of G and of D; where theirs are not ours, what makes all of the difference."
    rows = [["recipe", "", "shape", "classes", "ours", "published", "where", "difference"]]
    for recipe in (each for each in recipes if each.name in SIZES):
        size = SIZES[recipe.name]
        ours = ", ".join(f"{count / 1e6:.2f}" for count in counted(recipe.name))
        theirs = ", ".join(millions or "-" for millions in size.published) if any(size.published) else "not found"
        shape = "x".join(map(str, size.shape))
        rows.append(
            [f"`{recipe.name}`", recipe.about, shape, f"{size.classes or '-'}", ours, theirs, size.where, size.why]
        )
    yield _table(rows)


def _lineages(recipes: Sequence[Recipe]) -> Iterator[tuple[Recipe, list[Recipe]]]:
    """Each recipe without a parent, and all that comes of it, children right after their parent."""
    known = {recipe.name for recipe in recipes}

    def below(parent: Recipe) -> Iterator[Recipe]:
        for recipe in recipes:
            if recipe.parent == parent.name:
                yield recipe
                yield from below(recipe)

    for recipe in sorted(recipes, key=lambda each: (_year(each.paper), each.name)):
        if recipe.parent not in known:
            yield recipe, list(below(recipe))


def _rows(results: Mapping[str, Any], name: str, on: str) -> list[Mapping[str, Any]]:
    return list(results.get(on, {}).get("trials", {}).get(name, {}).get("seeds", {}).values())


def _means(results: Mapping[str, Any], on: str, number: str) -> dict[str, float]:
    """Over seeds, of all that were played; also of recipes that were set otherwise, called `RECIPE OPTION=VALUE`."""
    trials = results.get(on, {}).get("trials", {})
    found = {name: [row[number] for row in _rows(results, name, on) if number in row] for name in trials}
    return {name: statistics.mean(known) for name, known in found.items() if known}


def _number(results: Mapping[str, Any], recipe: str, on: str, name: str, digits: int) -> str:
    """The mean over seeds; "-" where it could not be played, "" where it was not tried."""
    rows = _rows(results, recipe, on)
    known = [row[name] for row in rows if name in row]
    return _plain(statistics.mean(known), digits) if known else "-" if rows else ""


def _plain(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:,.{digits}f}"


def _parameters(results: Mapping[str, Any], recipe: Recipe) -> str:
    """Of the networks at 28x28, as they were trained there."""
    for row in _rows(results, recipe.name, "digits"):
        if "parameters" in row:
            return ", ".join(f"{row['parameters'][side]:,}" for side in ("generator", "discriminator"))
    return ""


def _year(paper: str) -> str:
    found = re.search(r"\b(?:19|20)\d\d\b(?!\.\d)", paper)  # and not an arXiv number
    return found[0] if found else ""


def _short(value: str) -> str:
    return value if len(value) <= LONG else f"{value[:LONG].rsplit(' ', 1)[0].rstrip()} …"


def _table(rows: Sequence[Sequence[str]]) -> str:
    head, *body = [f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in rows]
    return "\n".join([head, f"|{'---|' * len(rows[0])}", *body])
