"""The verb that generates samples: sample."""

from __future__ import annotations

from pathlib import Path

import click

from mulligan.cli.words import RUN


@click.command()
@click.argument("run", type=RUN)
@click.option("-n", type=int, default=64, show_default=True, help="Number of samples.")
@click.option("--seed", type=int, default=0, show_default=True, help="Sample i of a seed is always the same.")
@click.option("--class", "class_", help="Only this class, for a run that was trained by class.")
@click.option("--truncation", type=float, default=1.0, show_default=True, help="Below 1: more typical, less varied.")
@click.option(
    "--out", type=RUN, default=Path("grid.png"), show_default=True,
    help="Output, in the format of its suffix: grid.png, samples.npz or a folder/.",
)  # fmt: skip
@click.option("--checkpoint", "which", type=click.Choice(["best", "last"]), default="best", show_default=True,
              help="Checkpoint of RUN.")  # fmt: skip
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or mps.")
def sample(
    run: Path, n: int, seed: int, class_: str | None, truncation: float, out: Path, which: str, device: str
) -> None:
    """Generate samples with the trained generator of RUN."""
    from mulligan import api

    api.load(run, device=device, which=which).sample(n, seed=seed, class_=class_, truncation=truncation, out=out)
    print(out)
