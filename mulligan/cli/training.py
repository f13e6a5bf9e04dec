"""Verbs about training: train, diagnose, inspect."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from mulligan.cli.words import FAILED, INTERRUPTED, OK, RUN, print_json, print_table, read_options, readable


@click.command(short_help="Train a GAN on a data set.")
@click.argument("data")
@click.argument("other", required=False)
@click.option("--out", type=RUN, help="Run folder.  [default: a new one under runs/]")
@click.option("--recipe", help="Name (see `mulligan zoo`) or a .json file.  [default: chosen for the data]")
@click.option("--task", help="Condition of the generator (see `mulligan parts task`).  [default: noise only]")
@click.option(
    "--autoencoder",
    metavar="self|FOLDER",
    help="Train on latents of an autoencoder: one trained on DATA, or the AutoencoderKL in FOLDER.",
)
@click.option("--minutes", type=float, help="Stop after this time; the first limit that is reached counts.")
@click.option("--samples", "--images", type=int, help="Stop after this many real samples seen by the discriminator.")
@click.option("--epochs", type=float, help="Stop after this many passes over the data.")
@click.option("--converge", is_flag=True, help="Also stop when the tracked metric no longer improves beyond its noise.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of all random numbers.")
@click.option("--set", "changes", multiple=True, metavar="PART.OPTION=VALUE", help="Change the recipe; repeatable.")
@click.option("--features", default="auto", show_default=True, help="Feature net of the tracked metric.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or mps.")
@click.option(
    "--guard",
    type=click.Choice(["on", "warn", "off"]),
    default="on",
    show_default=True,
    help="If training goes wrong: rewind and repair it (on), only report it (warn), or do nothing (off).",
)
@click.option("--dry-run", is_flag=True, help="Print the resolved recipe, sizes, time and memory; do not train.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
@click.option("--quiet", is_flag=True, help="No progress line.")
@read_options
def train(
    out: Path | None, task: str | None, changes: tuple[str, ...], dry_run: bool, as_json: bool, quiet: bool,
    read: dict[str, Any], **fields: Any,
) -> int:  # fmt: skip
    """Train a GAN on DATA: a built-in data set such as "digits" or "grid", or a folder, zip or file.

    To resume a run that was stopped, repeat the same command. --labels trains by class. With --task style, training is
    for translation from DATA to OTHER and back: two sets of images without pairs.
    """
    from mulligan import api
    from mulligan.core.recipe import parse_setting, typed

    settings = ({"task": task} if task else {}) | dict(map(parse_setting, changes))
    if read.get("labels") and "task" not in settings:
        settings["task"] = "by-class"
    order = api.Order(read=read, settings=settings, **fields)
    if dry_run:
        forecast = api.dry_run(order, quiet=quiet)
        if as_json:
            print_json(forecast)
        else:
            print(json.dumps(forecast.pop("recipe"), indent=2))
            for choice in forecast.pop("chosen"):
                print(f"chosen: {typed(choice['settings'])}: {choice['why']}")
            print_table([(name.replace("_", " "), str(value)) for name, value in forecast.items()])
        return OK
    run = api.train(order, out=out, quiet=quiet, command=["mulligan", *sys.argv[1:]])
    summary = run.summary
    if as_json:
        print_json(summary)
    else:
        _print_ending(run.path, summary, run.sample_kind.noun)
    return {"interrupted": INTERRUPTED, "given up": FAILED, "diverged": FAILED}.get(summary["status"], OK)


def _print_ending(path: Path, summary: dict[str, Any], noun: str) -> None:
    minutes = summary["seconds"] / 60
    print(f"{summary['status']}: {summary['samples_seen']:,} {noun} in {minutes:.1f} minutes ({summary['why']})")
    if summary["metrics"]:
        numbers = "  ".join(f"{name} {value:.4g}" for name, value in summary["metrics"].items())
        print(f"best, after {summary['best_samples']:,} {noun}:  {numbers}")
    if summary["status"] == "interrupted":
        print("to resume, give the same command again")
    print(f"report: {path / 'report.html'}\nsamples: mulligan sample {path} --out grid.png")


@click.command(short_help="Report what went wrong in a run, and what to try.")
@click.argument("run", type=RUN)
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def diagnose(run: Path, as_json: bool) -> None:
    """Report what went wrong in RUN, finished or not, what the guard did, and what to try."""
    from mulligan import api
    from mulligan.core.recipe import typed

    found = api.diagnose(run)
    if as_json:
        print_json(found)
        return
    print(f"{found['status']} after {found['samples']:,} {found['noun']}{found['why'] and ': '}{found['why']}")
    for rewind in found["rewinds"]:
        print(f"\nrewound from {rewind['samples']:,} to {rewind['to']:,} {found['noun']}: {rewind['finding']}")
        print(f"  {rewind['evidence']}")
        print(f"  then: {rewind['remedy']} {typed(rewind['settings'])}")
    if not found["findings"]:
        print("\nno problems found")
    for finding in found["findings"]:
        print(f"\n{finding['name']}\n  {finding['why']}")
        for remedy in finding["remedies"]:
            print(f"  to try: {remedy['words']}\n    {typed(remedy['settings'])}")
        if finding["hint"]:
            print(f"  to try: {finding['hint']}")
    if found["best"]:
        print(f"\n`mulligan sample {run}` uses the best checkpoint, after {found['best']:,} {found['noun']}")


@click.command(short_help="Check a data set before training.")
@click.argument("data")
@click.option("--pairs", is_flag=True, help="Read DATA as --task pairs does, and list images without a partner.")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@read_options
def inspect(data: str, pairs: bool, as_json: bool, read: dict[str, Any]) -> None:
    """Check DATA: report its contents and problems, and what training will do with it."""
    from mulligan import api

    found = api.inspect(data, read=read, reader="pairs" if pairs else "auto").checkup.as_dict()
    if as_json:
        print_json(found)
        return
    plan = found.pop("plan")
    print_table([(name.replace("_", " "), readable(value)) for name, value in found.items()])
    print("\nTraining will")
    for sentence in plan:
        print(f"  - {sentence}")
