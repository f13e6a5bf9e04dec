"""Verbs about what has been trained: sample, evaluate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from mulligan.cli.words import RUN, data_options, print_json, print_table, read_options


@click.command()
@click.argument("run", type=RUN)
@click.option("-n", type=int, default=64, show_default=True, help="How many.")
@click.option("--seed", type=int, default=0, show_default=True, help="Sample i of a seed is always the same picture.")
@click.option("--class", "class_", help="Only this class, for a run trained by class.")
@click.option("--truncation", type=float, default=1.0, show_default=True, help="Below 1: more typical, less varied.")
@click.option(
    "--out", type=RUN, default=Path("grid.png"), show_default=True, help="grid.png, a folder/, or samples.npz."
)
@click.option("--checkpoint", "which", type=click.Choice(["best", "last"]), default="best", show_default=True)
@click.option("--device", default="auto", show_default=True)
def sample(
    run: Path, n: int, seed: int, class_: str | None, truncation: float, out: Path, which: str, device: str
) -> None:
    """Draw samples from the generator of RUN."""
    from mulligan import api

    api.load(run, device=device, which=which).sample(n, seed=seed, class_=class_, truncation=truncation, out=out)
    print(out)


@click.command()
@click.argument("what")
@click.option("--data", help="Real images to measure against.  [default: those a run was trained on]")
@click.option("--features", default="auto", show_default=True, help="Feature net: digits, inception, random, self.")
@click.option("--split", default="heldout", show_default=True, help="Real images to compare with: heldout or train.")
@click.option("--samples", type=int, help="How many samples.  [default: as many as real images]")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--checkpoint", "which", type=click.Choice(["best", "last"]), default="best", show_default=True)
@click.option("--device", default="auto", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@data_options
def evaluate(
    what: str, data: str | None, features: str, split: str, samples: int | None, seed: int, which: str, device: str,
    as_json: bool, size: Any, labels: bool, channels: str | None, max_bad: float,
) -> None:  # fmt: skip
    """Measure WHAT, a run or images of any making, against real images that it never saw."""
    from mulligan import api

    result = api.evaluate(
        what, data=data, options=api.DataOptions(**read_options(size, labels, channels, max_bad)), features=features,
        split=split, samples=samples, seed=seed, which=which, device=device,
    )  # fmt: skip
    if as_json:
        print_json(result)
        return
    print_table([(name, f"{value:.4g}") for name, value in result["metrics"].items()])
    if classes := result.get("classes"):
        print_table(
            [
                (name, *("too few" if value is None else f"{value:.3f}" for value in numbers.values()))
                for name, numbers in classes.items()
            ],
            header=("class", "coverage", "accuracy"),
        )
    for note in result["notes"]:
        print(f"note: {note}")
    print("measured with  " + "  ".join(f"{name}={value}" for name, value in result["protocol"].items()))
