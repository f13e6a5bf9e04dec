"""The verb that asks what a model is good for: study."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from mulligan.cli.words import RUN, print_json, print_table


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
    told = found["protocol"]
    print(
        f"A small classifier learns from {told['real_images']:,} real images of {told['data']}, with and without "
        f"samples of {told['model']}; how many it gets right of {told['test_images']:,} that nobody saw, "
        f"in the mean of {told['seeds']} trainings:\n"
    )
    rows = [(name, f"{arm['accuracy']:.1%}", *_gained(arm)) for name, arm in found["arms"].items()]
    print_table(rows, header=("trained on", "right", "points gained", "interval", "verdict"))
    base, best = found["arms"]["real only"], found["best"]
    print()
    if best:
        gain, over = found["arms"][best]["gain"], found["over_augmentation"]
        print(f"Synthetic images help: with '{best}' {gain['points']:+.1f} points of a hundred.")
        print(
            f"Against ordinary augmentation without them: {over['points']:+.1f} ({_span(over)}): {over['verdict']}.\n"
        )
        rows = [
            (each, f"{before:.1%}", f"{found['arms'][best]['by_class'][each]:.1%}")
            for each, before in base["by_class"].items()
        ]
        print_table(rows, header=("class", "real only", best))
    else:
        print("No mix with synthetic images helps, beyond what could be luck.")
    print(
        f"\nOf the samples {found['samples_right']:.1%} are what they were told to be, by a classifier of real images."
    )
    for note in found["notes"]:
        print(f"note: {note}")
    if write is not None:
        print(f"written: {write}" if best else f"nothing helped, so nothing is written to {write}")
    print("measured with  " + "  ".join(f"{name}={value}" for name, value in told.items()))


def _gained(arm: dict[str, Any]) -> tuple[str, str, str]:
    return (f"{arm['gain']['points']:+.1f}", _span(arm["gain"]), arm["verdict"]) if "gain" in arm else ("", "", "")


def _span(gain: dict[str, float]) -> str:
    return f"{gain['low']:+.1f} to {gain['high']:+.1f}"
