"""Verbs about runs in the making: train, diagnose, inspect."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from mulligan.cli.words import (
    FAILED,
    INTERRUPTED,
    OK,
    RUN,
    data_options,
    print_json,
    print_table,
    read_options,
    readable,
)


@click.command()
@click.argument("data")
@click.argument("other", required=False)
@click.option("--out", type=RUN, help="Run folder; by default a new one under runs/. The same command again resumes.")
@click.option("--recipe", help="Name (see `mulligan zoo`) or a .json file.  [default: chosen to fit]")
@click.option(
    "--task", help="inpaint, denoise, deblur, superres, colour, jpeg, pairs, style: images from images; by-class."
)
@click.option(
    "--autoencoder",
    metavar="self|FOLDER",
    help="Play on latents: of one learnt from DATA, or of diffusers' AutoencoderKL.",
)
@click.option("--minutes", type=float, help="Stop after this time,")
@click.option("--images", type=int, help="or after this many images shown to the discriminator,")
@click.option("--epochs", type=float, help="or after this many passes over the data, whichever comes first.")
@click.option("--converge", is_flag=True, help="Also stop when the tracked metric no longer improves beyond its noise.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--set", "settings", multiple=True, metavar="PART.OPTION=VALUE", help="Change the recipe; repeatable.")
@click.option("--features", default="auto", show_default=True, help="Feature net of the tracked metric.")
@click.option("--device", default="auto", show_default=True, help="cpu, cuda, mps.")
@click.option(
    "--guard",
    type=click.Choice(["on", "warn", "off"]),
    default="on",
    show_default=True,
    help="Rewind and repair a run that goes wrong; only say so; look away.",
)
@click.option("--dry-run", is_flag=True, help="Print the resolved recipe, sizes, time and memory; train nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
@click.option("--quiet", is_flag=True, help="No progress line.")
@data_options
def train(
    data: str, other: str | None, out: Path | None, recipe: str | None, task: str | None, minutes: float | None,
    images: int | None, epochs: float | None, converge: bool, seed: int, settings: tuple[str, ...], features: str,
    device: str, guard: str, dry_run: bool, as_json: bool, quiet: bool, size: Any, labels: bool, channels: str | None,
    max_bad: float, autoencoder: str | None,
) -> int:  # fmt: skip
    """Train on DATA: "digits", "stacked", "ring", "grid", a folder or zip of images, an .npz, or an IDX file.

    With --task style from DATA to OTHER, two sets of pictures of which none go together, and back.
    """
    from mulligan import api
    from mulligan.core.recipe import parse_setting, typed

    changes = ({"task": task} if task else {}) | dict(map(parse_setting, settings))
    if labels and "task" not in changes:
        changes["task"] = "by-class"
    reading = read_options(size, labels, channels, max_bad)
    common = {
        "recipe": recipe, "minutes": minutes, "images": images, "epochs": epochs, "converge": converge, "seed": seed,
        "settings": changes, "options": api.DataOptions(**reading, autoencoder=autoencoder),
        "features": features, "device": device, "quiet": quiet,
    }  # fmt: skip
    if dry_run:
        foreseen = api.dry_run(data, other, **common)
        if as_json:
            print_json(foreseen)
        else:
            print(json.dumps(foreseen.pop("recipe"), indent=2))
            for choice in foreseen.pop("chosen"):
                print(f"chosen: {typed(choice['settings'])}: {choice['why']}")
            print_table([(name.replace("_", " "), str(value)) for name, value in foreseen.items()])
        return OK
    run = api.train(data, other, out=out, guard=guard, command=["mulligan", *sys.argv[1:]], **common)
    summary = run.summary
    if as_json:
        print_json(summary)
    else:
        _print_ending(run.path, summary)
    return {"interrupted": INTERRUPTED, "given up": FAILED, "diverged": FAILED}.get(summary["status"], OK)


def _print_ending(path: Path, summary: dict[str, Any]) -> None:
    minutes = summary["seconds"] / 60
    print(f"{summary['status']}: {summary['images_seen']:,} images in {minutes:.1f} minutes ({summary['why']})")
    if summary["metrics"]:
        numbers = "  ".join(f"{name} {value:.4g}" for name, value in summary["metrics"].items())
        print(f"best, after {summary['best_images']:,} images:  {numbers}")
    if summary["status"] == "interrupted":
        print("to go on, give the same command again")
    print(f"report: {path / 'report.html'}\nsamples: mulligan sample {path} --out grid.png")


@click.command()
@click.argument("run", type=RUN)
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def diagnose(run: Path, as_json: bool) -> None:
    """Say what went wrong in RUN, finished or not, what the guard did, and what to try."""
    from mulligan import api
    from mulligan.core.recipe import typed

    found = api.diagnose(run)
    if as_json:
        print_json(found)
        return
    print(f"{found['status']} after {found['images']:,} images{found['why'] and ': '}{found['why']}")
    for rewind in found["rewinds"]:
        print(f"\nrewound from {rewind['images']:,} to {rewind['to']:,} images: {rewind['finding']}")
        print(f"  {rewind['evidence']}")
        print(f"  then: {rewind['remedy']} {typed(rewind['settings'])}")
    if not found["findings"]:
        print("\nnothing is wrong with it, as far as its numbers tell")
    for finding in found["findings"]:
        print(f"\n{finding['name']}\n  {finding['why']}")
        for cure in finding["remedies"]:
            print(f"  to try: {cure['words']}\n    {typed(cure['settings'])}")
        if finding["hint"]:
            print(f"  to try: {finding['hint']}")
    if found["best"]:
        print(f"\nthe best checkpoint, after {found['best']:,} images, is what `mulligan sample {run}` uses")


@click.command()
@click.argument("data")
@click.option("--pairs", is_flag=True, help="As --task pairs reads it; what has no partner is listed.")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@data_options
def inspect(
    data: str, pairs: bool, as_json: bool, size: Any, labels: bool, channels: str | None, max_bad: float
) -> None:
    """Check DATA up: what is in it, what is wrong with it, and what training will do with it."""
    from mulligan import api

    found = api.inspect(data, pairs=pairs, **read_options(size, labels, channels, max_bad)).checkup.as_dict()
    if as_json:
        print_json(found)
        return
    plan = found.pop("plan")
    print_table([(name.replace("_", " "), readable(value)) for name, value in found.items()])
    print("\nTraining will")
    for sentence in plan:
        print(f"  - {sentence}")
