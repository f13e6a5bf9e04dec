"""Verbs that measure models: evaluate, compare, study."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from mulligan.cli.words import RUN, print_json, print_table, read_options


def judge_options(command: Callable) -> Callable:
    """The options that determine how samples are measured."""
    for option in (
        click.option("--json", "as_json", is_flag=True, help="Print as JSON."),
        click.option("--quiet", is_flag=True, help="No progress line."),
        click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or mps."),
        click.option(
            "--checkpoint",
            "which",
            type=click.Choice(["best", "last"]),
            default="best",
            show_default=True,
            help="Checkpoint of a run.",
        ),
        click.option("--seed", type=int, default=0, show_default=True, help="Seed of generated samples."),
        click.option("--samples", type=int, help="Number of samples to measure.  [default: as many as real images]"),
        click.option(
            "--split", default="heldout", show_default=True, help="Real images to compare with: heldout or train."
        ),
        click.option(
            "--features",
            default="auto",
            show_default=True,
            help="Feature net (see `mulligan parts feature-net`).",
        ),
        click.option("--data", help="Real images to compare with.  [default: those that a run was trained on]"),
    ):
        command = option(command)
    return command


@click.command(short_help="Measure a run or images against real images.")
@click.argument("what")
@click.option(
    "--metrics",
    "groups",
    multiple=True,
    help="Group of measures (see `mulligan parts measures`); repeatable.  [default: all but usefulness]",
)
@judge_options
@read_options
def evaluate(what: str, groups: tuple[str, ...], as_json: bool, **asked: Any) -> None:
    """Measure WHAT, a run or images from any source, against real images that were not used in training."""
    from mulligan import api

    result = api.evaluate(what, **asked, **({"groups": groups} if groups else {}))
    if as_json:
        print_json(result)
        return
    intervals = result.get("intervals", {})
    rows = []
    for name, value in result["metrics"].items():
        if name == "kid_se":  # its interval says the same
            continue
        low, high = intervals.get(name, (None, None))
        rows.append((name, f"{value:.4g}", "" if low is None else f"{low:.4g} to {high:.4g}"))
    print_table(rows, header=("measure", "value", "95 % interval"))
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


@click.command(short_help="Compare several runs or sets of images.")
@click.argument("whats", nargs=-1, required=True, metavar="A B [C ...]")
@judge_options
@read_options
def compare(whats: tuple[str, ...], as_json: bool, **asked: Any) -> None:
    """Measure several runs, or images from any source, against the same real images, and report which differ."""
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
    print(f"\nlowest KID: {found['best']}; differences from it:")
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


@click.command(short_help="Test whether synthetic data help a classifier.")
@click.argument("run", type=RUN)
@click.option("--data", help="Labelled images to train classifiers on.  [default: those of RUN]")
@click.option("--test", help="Other labelled images to test on.  [default: the held-out part of the data]")
@click.option("--ratio", "ratios", type=float, multiple=True,
              help="Synthetic images per real one; repeatable.  [default: 0.5 1 2 5]")  # fmt: skip
@click.option("--seeds", type=int, default=5, show_default=True, help="Number of trainings of each mix of images.")
@click.option("--steps", type=int, default=400, show_default=True, help="Steps of each training, of 64 images each.")
@click.option("--write", type=RUN, help="New folder for the mix that helped most, with a manifest.")
@click.option("--checkpoint", "which", type=click.Choice(["best", "last"]), default="best", show_default=True,
              help="Checkpoint of RUN.")  # fmt: skip
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or mps.")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@click.option("--quiet", is_flag=True, help="No progress line.")
def study(
    run: Path, data: str | None, test: str | None, ratios: tuple[float, ...], seeds: int, steps: int,
    write: Path | None, which: str, device: str, as_json: bool, quiet: bool,
) -> None:  # fmt: skip
    """Test whether synthetic data help: train a small classifier with and without samples of RUN, and compare."""
    from mulligan import api

    given = {"ratios": ratios} if ratios else {}
    model = api.load(run, device=device, which=which)
    found = api.study(model, data=data, test=test, seeds=seeds, steps=steps, write=write, quiet=quiet, **given)
    if as_json:
        print_json(found)
        return
    protocol = found["protocol"]
    print(
        f"A small classifier is trained on {protocol['real_images']:,} real images of {protocol['data']}, with and "
        f"without samples of {protocol['model']}. Its accuracy on {protocol['test_images']:,} unseen images, the mean "
        f"of {protocol['seeds']} trainings:\n"
    )
    rows = [(name, f"{arm['accuracy']:.1%}", *_gained(arm)) for name, arm in found["arms"].items()]
    print_table(rows, header=("trained on", "accuracy", "gain", "interval", "compared with", "verdict"))
    best = found["best"]
    print()
    if best:
        arm, over = found["arms"][best], found["over_augmentation"]
        base = found["arms"][arm["against"]]
        print(f"Synthetic images help: '{best}' gains {arm['gain']['points']:+.1f} percentage points.")
        print(f"Compared with ordinary augmentation alone: {over['points']:+.1f} ({_span(over)}): {over['verdict']}.\n")
        rows = [(each, f"{before:.1%}", f"{arm['by_class'][each]:.1%}") for each, before in base["by_class"].items()]
        print_table(rows, header=("class", arm["against"], best))
    else:
        print("No mix with synthetic images helps significantly.")
    print(
        f"\nA classifier of real images finds {found['samples_right']:.1%} of the samples to be of the class that they "
        "were generated for."
    )
    for note in found["notes"]:
        print(f"note: {note}")
    if write is not None:
        print(f"written: {write}" if best else f"no mix helped, so nothing is written to {write}")
    _print_protocol(protocol)


def _gained(arm: dict[str, Any]) -> tuple[str, ...]:
    if "gain" not in arm:
        return ("", "", "", "")
    return (f"{arm['gain']['points']:+.1f}", _span(arm["gain"]), arm["against"], arm["verdict"])


def _span(gain: dict[str, float]) -> str:
    return f"{gain['low']:+.1f} to {gain['high']:+.1f}"
