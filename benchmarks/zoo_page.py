"""docs/zoo.md from the recipes and the numbers in benchmarks/results/zoo.json; no number is written here."""

from __future__ import annotations

import re
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mulligan.core.recipe import Recipe
from mulligan.runs.recipes import differences
from zoo_sizes import SIZES, counted

COLUMNS = {  # heading: (data set, number, decimals)
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
SETS = ("grid", "long-grid", "digits", "stacked")  # data sets; the results also have `speed`
PUBLISHED = " as published for "
MANY, FEW = 20, 5  # modes, of 25
CONVERGED = 0.05  # share of points near a mode; below it, modes are found by chance
DATA = "data"  # the name of the picture of the data
ACROSS = 6  # plots in a row
LONG = 120  # characters of a value at most


def page(recipes: Sequence[Recipe], results: Mapping[str, Any], pictures: Path) -> str:
    """The text of docs/zoo.md. `pictures` is the folder of samples, relative to it."""
    compared = [recipe for recipe in recipes if PUBLISHED not in recipe.about and not recipe.from_images]
    blocks = [
        "# The zoo",
        "Written by `benchmarks/zoo.py` from the recipes and the results of their trials; do not edit. "
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
    yield "All recipes have the same budget and seeds, and defaults for everything else; none was tuned to it."
    lines = [f"- **{on}**: {_said(results[on])}" for on in SETS if on in results]
    yield "\n".join(lines) if lines else "Nothing was measured yet."
    if "grid" in results:
        yield (
            "On `grid` every recipe has the dense networks of `points`, since most have networks for images only, and "
            "no augmentation: the comparison is of loss, terms, optimizers, turns, batch and moving average, not of "
            "networks."
        )
    if lines:
        yield (
            f"Measured: the moving average of G at the best checkpoint by KID; the guard is off. {results['machine']}. "
            "Numbers are means over seeds. *training data*: the same metrics of as many training samples."
        )
    if "speed" in results:
        load = statistics.mean(_means(results, "speed", "load").values())
        yield (
            f"Images a second: training steps on digits, {results['speed']['seconds']:g} seconds for each recipe, one "
            f"thread, at a load of {load:.1f} cores of the machine, this process included."
        )
    yield (
        "Another benchmark compares families at [equal floating-point "
        "operations](measured.md#families-at-equal-flops-digits), on digits and on CIFAR-10."
    )


def _said(of_set: Mapping[str, Any]) -> str:
    protocol = of_set["protocol"]
    seeds = sorted({seed for each in of_set["trials"].values() for seed in each["seeds"]}, key=int)
    return (
        f"{of_set['images']:,} images seen; seeds {', '.join(seeds) or 'none'}; {protocol['num_fake']:,} samples; "
        f"features `{protocol['features']}` ({protocol['features_stamp']}); {protocol['num_real']:,} "
        f"{protocol['split']} images of {protocol['data_fingerprint'][:12]}"
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
    """How many modes the recipes find on the grids: of recipes without classes, whose classes would be the modes."""
    for on in ("grid", "long-grid"):
        rows = {recipe.name: _rows(results, recipe.name, on) for recipe in compared}
        unconditional = {name for name, of in rows.items() if not any(row.get("by_class") for row in of)}
        every = _means(results, on, "modes")
        found = {name: modes for name, modes in every.items() if name in unconditional}
        good = _means(results, on, "quality")
        groups = {
            f"{MANY} or more are found by": [name for name in found if found[name] >= MANY and good[name] >= CONVERGED],
            f"as many, but with less than {CONVERGED:.0%} of points near one, by": [
                name for name in found if found[name] >= MANY and good[name] < CONVERGED
            ],
            f"{FEW} or fewer by": [name for name in found if found[name] <= FEW],
        }
        if found:
            listed = (
                f"{what} {', '.join(f'`{name}`' for name in sorted(names)) or 'none'}" for what, names in groups.items()
            )
            yield (
                f"**Modes found** after {results[on]['images']:,} points of `{on}`: of {len(found)} recipes that do "
                f"not get the mode as a class, {'; '.join(listed)}."
            )
            kinds = {name: "" if name in unconditional else ", by class" for name in rows if name in every}
            captions = {DATA: "", **{name: f" {every[name]:.0f}{kind}" for name, kind in kinds.items()}}
            yield _plots(captions, pictures / on)
    if "grid" in results:
        yield (
            "Quality far below that of the data means that training has not converged yet. So few modes are a "
            "collapse only together with high quality. Recipes that get the mode as a class cannot lose one, and "
            "converge first."
        )
    if "long-grid" in results:
        yield (
            "The plain loss does not lose modes for good here: with networks of this size `gan` and `dcgan` first move "
            "from mode to mode, and find most of them by the end of the long grid. Relativistic pairs with R1 and R2 "
            "(`points`, `digits`) differ in the share of points of high quality. Wasserstein critics, with several "
            "turns of D and small learning rates, are far from convergence."
        )
        good = _means(results, "long-grid", "quality")
        if otherwise := {name: modes for name, modes in _means(results, "long-grid", "modes").items() if " " in name}:
            listed = (f"`{name}` {modes:.0f} (quality {good[name]:.3f})" for name, modes in otherwise.items())
            yield (
                f"**With other settings** on the long grid: {', '.join(listed)}. The authors of `wgan-gp` used the "
                "weight 0.1 on such mixtures: points are closer to each other than images are, so a gradient norm of 1 "
                "is a weaker constraint."
            )
    if found := _means(results, "stacked", "modes"):
        yield from _stacked(compared, found, results["stacked"]["images"])


def _plots(captions: Mapping[str, str], pictures: Path) -> str:
    """Plots of samples and of the data, with the recipe and the number of modes below each."""
    cells = [
        f"![points of {name}]({pictures.as_posix()}/{name}.png)<br>`{name}`{words}" for name, words in captions.items()
    ]
    cells += [""] * (-len(cells) % ACROSS)
    return _table([[""] * ACROSS, *(cells[at : at + ACROSS] for at in range(0, len(cells), ACROSS))])


def _stacked(compared: Sequence[Recipe], found: Mapping[str, float], images: int) -> Iterator[str]:
    """How many of the thousand modes each recipe finds, and why."""
    ranked = sorted(found, key=lambda name: found[name], reverse=True)

    def between(least: float, most: float) -> str:
        names = [f"`{name}` {found[name]:.0f}" for name in ranked if least <= found[name] < most and " " not in name]
        return ", ".join(names) or "none"

    yield (
        f"**Of the 1,000 modes of `stacked`**, after {images:,} images, 900 or more are found by {between(900, 1001)}; "
        f"500 or more by {between(500, 900)}; 100 or more by {between(100, 500)}; fewer by {between(0, 100)}."
    )
    same_networks = [
        f"`{recipe.name}`" for recipe in compared if recipe.generator.name == "dcgan" and recipe.name in found
    ]
    otherwise = [f"`{name}` {found[name]:.0f}" for name in ranked if name.startswith("dcgan ")]
    if otherwise:
        yield (
            f"{', '.join(same_networks)} have the networks of `dcgan` and differ from it in loss, terms, turns and "
            f"optimizer. With other settings: {', '.join(otherwise)}. So `dcgan` loses modes because of its learning "
            "rate and momentum: with those of the others, the plain loss finds as many modes as losses designed for "
            "it. In `wgan`, `wgan-gp` and `wgan-div` D has five turns for each of G, so G is at an early stage. "
            "`digits` finds all modes in ten times as many images ([measured](measured.md#1000-modes))."
        )


def _notes(compared: Iterable[Recipe], results: Mapping[str, Any]) -> Iterator[str]:
    """By data set: trials without a result, and recipes that are trained by class."""
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
            yield f"Trials on `{on}` that did not finish:\n\n" + "\n".join(lines)
        if by_class:
            what = " (the mode)" if on == "grid" else ""
            yield f"On `{on}`, trained by class{what}: {', '.join(by_class)}."


def _section(
    recipe: Recipe, root: Recipe, recipes: Sequence[Recipe], results: Mapping[str, Any], pictures: Path
) -> Iterator[str]:
    if recipe is not root:
        yield f"### {recipe.name}"
    yield f"{recipe.about[:1].upper()}{recipe.about[1:]}. ({recipe.paper})"
    parent = next((each for each in recipes if each.name == recipe.parent), None)
    if parent and (changed := differences(parent, recipe)):
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
    """Our networks of published size, compared with the published numbers."""
    yield "## Sizes of papers"
    yield "Millions of parameters of G and of D. Where ours differ, the last column explains all of the difference."
    rows = [["recipe", "", "shape", "classes", "ours", "published", "where", "difference"]]
    for recipe in (each for each in recipes if each.name in SIZES):
        size = SIZES[recipe.name]
        ours = ", ".join(f"{count / 1e6:.2f}" for count in counted(recipe.name))
        theirs = ", ".join(millions or "-" for millions in size.published) if any(size.published) else "not found"
        shape = "x".join(map(str, size.shape))
        rows.append(
            [
                f"`{recipe.name}`",
                recipe.about,
                shape,
                f"{size.condition.classes or '-'}",
                ours,
                theirs,
                size.where,
                size.why,
            ]
        )
    yield _table(rows)


def _lineages(recipes: Sequence[Recipe]) -> Iterator[tuple[Recipe, list[Recipe]]]:
    """Each recipe without a parent, and all its descendants, children right after their parent."""
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
    """Means over seeds of all trials; those with other settings are named `RECIPE OPTION=VALUE`."""
    trials = results.get(on, {}).get("trials", {})
    found = {name: [row[number] for row in _rows(results, name, on) if number in row] for name in trials}
    return {name: statistics.mean(known) for name, known in found.items() if known}


def _number(results: Mapping[str, Any], recipe: str, on: str, name: str, digits: int) -> str:
    """The mean over seeds; "-" where no trial succeeded, "" where there was none."""
    rows = _rows(results, recipe, on)
    known = [row[name] for row in rows if name in row]
    return _plain(statistics.mean(known), digits) if known else "-" if rows else ""


def _plain(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:,.{digits}f}"


def _parameters(results: Mapping[str, Any], recipe: Recipe) -> str:
    """Of the networks trained on digits, 28x28."""
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
