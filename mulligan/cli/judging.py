"""Verbs that put numbers on models: evaluate, compare, study."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from mulligan.cli.words import RUN, print_json, print_table, read_options


def judge_options(command: Callable) -> Callable:
    """The options that say how samples are measured."""
    for option in (
        click.option("--json", "as_json", is_flag=True, help="Print as JSON."),
        click.option("--quiet", is_flag=True, help="No progress line."),
        click.option("--device", default="auto", show_default=True),
        click.option(
            "--checkpoint",
            "which",
            type=click.Choice(["best", "last"]),
            default="best",
            show_default=True,
            help="Of runs.",
        ),
        click.option("--seed", type=int, default=0, show_default=True),
        click.option("--samples", type=int, help="How many samples.  [default: as many as real images]"),
        click.option(
            "--split", default="heldout", show_default=True, help="Real images to compare with: heldout or train."
        ),
        click.option(
            "--features",
            default="auto",
            show_default=True,
            help="Feature net: see `mulligan parts feature-net`.",
        ),
        click.option("--data", help="Real images to measure against.  [default: those a run was trained on]"),
    ):
        command = option(command)
    return command


@click.command()
@click.argument("what")
@click.option(
    "--metrics",
    "groups",
    multiple=True,
    help="A group of measures, repeatable: see `mulligan parts measures`.  [default: all but usefulness]",
)
@judge_options
@read_options
def evaluate(what: str, groups: tuple[str, ...], as_json: bool, **asked: Any) -> None:
    """Measure WHAT, a run or images of any making, against real images that it never saw."""
    from mulligan import api

    result = api.evaluate(what, **asked, **({"groups": groups} if groups else {}))
    if as_json:
        print_json(result)
        return
    intervals = result.get("intervals", {})
    rows = []
    for name, value in result["metrics"].items():
        if name == "kid_se":  # said by its interval
            continue
        low, high = intervals.get(name, (None, None))
        rows.append((name, f"{value:.4g}", "" if low is None else f"{low:.4g} to {high:.4g}"))
    print_table(rows, header=("measure", "value", "95 % of others"))
    if classes := result.get("classes"):
        print()
        print_table(
            [
                (name, *("too few" if value is None else f"{value:.4g}" for value in numbers.values()))
                for name, numbers in classes.items()
            ],
            header=("class", *next(iter(classes.values()))),
        )
    print()
    for sentence in result["says"]:
        print(sentence)
    for note in result["notes"]:
        print(f"note: {note}")
    _print_protocol(result["protocol"])


@click.command()
@click.argument("whats", nargs=-1, required=True, metavar="A B [C ...]")
@judge_options
@read_options
def compare(whats: tuple[str, ...], as_json: bool, **asked: Any) -> None:
    """Measure several, runs or images of any making, against the same real images, and say which differ."""
    from mulligan import api

    found = api.compare(whats, **asked)
    if as_json:
        print_json(found)
        return
    names = list(next(iter(found["models"].values())))
    rows = [
        (model, *(f"{each['value']:.4g} ({each['low']:.4g} to {each['high']:.4g})" for each in numbers.values()))
        for model, numbers in found["models"].items()
    ]
    print_table(rows, header=("model", *names))
    print(f"\nleast KID: {found['best']}; against it")
    for model, measured in found["differences"].items():
        print(f"\n{model}")
        print_table(
            [
                (f"  {name}", f"{each['value']:+.4g} ({each['low']:+.4g} to {each['high']:+.4g})", each["verdict"])
                for name, each in measured.items()
            ]
        )
    print()
    _print_protocol(found["protocol"])


def _print_protocol(protocol: dict[str, Any]) -> None:
    print("measured with  " + "  ".join(f"{name}={value}" for name, value in protocol.items() if value != ""))


@click.command()
@click.argument("run", type=RUN)
@click.option("--data", help="Labelled images that the classifiers learn from.  [default: those of RUN]")
@click.option("--test", help="Other labelled images to test on.  [default: the held-out part of the data]")
@click.option("--ratio", "ratios", type=float, multiple=True, help="Synthetic images for each real one; repeatable.")
@click.option("--seeds", type=int, default=5, show_default=True, help="Trainings of each kind.")
@click.option("--steps", type=int, default=400, show_default=True, help="Of each training, of 64 images.")
@click.option("--write", type=RUN, help="A new folder for the mix that helped most, with its manifest.")
@click.option("--checkpoint", "which", type=click.Choice(["best", "last"]), default="best", show_default=True)
@click.option("--device", default="auto", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@click.option("--quiet", is_flag=True, help="No progress line.")
def study(
    run: Path, data: str | None, test: str | None, ratios: tuple[float, ...], seeds: int, steps: int,
    write: Path | None, which: str, device: str, as_json: bool, quiet: bool,
) -> None:  # fmt: skip
    """Does synthetic data help? Train a small classifier with and without samples of RUN, and compare."""
    from mulligan import api

    given = {"ratios": ratios} if ratios else {}
    model = api.load(run, device=device, which=which)
    found = api.study(model, data=data, test=test, seeds=seeds, steps=steps, write=write, quiet=quiet, **given)
    if as_json:
        print_json(found)
        return
    protocol = found["protocol"]
    print(
        f"A small classifier learns from {protocol['real_images']:,} real images of {protocol['data']}, with and "
        f"without samples of {protocol['model']}; how many it gets right of {protocol['test_images']:,} that nobody "
        f"saw, in the mean of {protocol['seeds']} trainings:\n"
    )
    rows = [(name, f"{arm['accuracy']:.1%}", *_gained(arm)) for name, arm in found["arms"].items()]
    print_table(rows, header=("trained on", "right", "points gained", "interval", "over", "verdict"))
    best = found["best"]
    print()
    if best:
        arm, over = found["arms"][best], found["over_augmentation"]
        base = found["arms"][arm["against"]]
        print(f"Synthetic images help: '{best}' has {arm['gain']['points']:+.1f} points of a hundred.")
        print(
            f"Against ordinary augmentation without them: {over['points']:+.1f} ({_span(over)}): {over['verdict']}.\n"
        )
        rows = [(each, f"{before:.1%}", f"{arm['by_class'][each]:.1%}") for each, before in base["by_class"].items()]
        print_table(rows, header=("class", arm["against"], best))
    else:
        print("No mix with synthetic images helps, beyond what could be luck.")
    print(
        f"\nOf the samples {found['samples_right']:.1%} are what they were told to be, by a classifier of real images."
    )
    for note in found["notes"]:
        print(f"note: {note}")
    if write is not None:
        print(f"written: {write}" if best else f"nothing helped, so nothing is written to {write}")
    _print_protocol(protocol)


def _gained(arm: dict[str, Any]) -> tuple[str, ...]:
    if "gain" not in arm:
        return ("", "", "", "")
    return (f"{arm['gain']['points']:+.1f}", _span(arm["gain"]), arm["against"], arm["verdict"])


def _span(gain: dict[str, float]) -> str:
    return f"{gain['low']:+.1f} to {gain['high']:+.1f}"
