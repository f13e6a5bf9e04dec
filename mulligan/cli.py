"""The command line: it reads words, calls the api, and prints. Torch is imported by the api, once a command runs.

Exit codes: 0 done, 1 the training failed and could not be saved, 2 something the user can mend (one line on stderr),
130 interrupted and saved.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from mulligan import __version__
from mulligan.core.errors import UserError

RUN = click.Path(path_type=Path)
OK, FAILED, USER_ERROR, INTERRUPTED = 0, 1, 2, 130


def main() -> None:
    """Run the command line; what the user did wrong becomes one line and exit code 2, never a traceback."""
    try:
        code = cli.main(standalone_mode=False)
    except click.Abort:
        code = _complain("interrupted", INTERRUPTED)
    except KeyboardInterrupt:
        code = _complain("interrupted", INTERRUPTED)
    except click.ClickException as error:
        code = _complain(error.format_message())
    except UserError as error:
        code = _complain(str(error))
    except BrokenPipeError:
        code = OK  # the reader of our output has seen enough
    except OSError as error:
        code = _complain(f"{error.filename or 'input/output'}: {error.strerror or error}")
    sys.exit(code or OK)


def _complain(text: str, code: int = USER_ERROR) -> int:
    print(f"mulligan: {' '.join(text.split())}", file=sys.stderr)
    return code


class Size(click.ParamType):
    """`64` or `64x48` (height x width)."""

    name = "H[xW]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        if isinstance(value, tuple):
            return value
        match = re.fullmatch(r"(\d+)(?:x(\d+))?", value)
        if not match or not int(match[1]):
            self.fail(f"{value!r} is not a size such as 64 or 64x48", param, ctx)
        return int(match[1]), int(match[2] or match[1])


def data_options(command: Callable) -> Callable:
    """The options that say how a data set is read; the same wherever one is."""
    for option in (
        click.option("--size", type=Size(), help="Resize to this height x width (antialiased, then centre crop)."),
        click.option("--labels", is_flag=True, help="Sub-folders are classes; train by class."),
        click.option(
            "--channels", type=click.Choice(["1", "3", "4"]), help="Grey, RGB or RGBA; by default what most are."
        ),
        click.option(
            "--max-bad", type=float, default=0.10, show_default=True, help="Share of unreadable files to skip."
        ),
    ):
        command = option(command)
    return command


def _options(size: Any, labels: bool, channels: str | None, max_bad: float) -> dict[str, Any]:
    return {"size": size, "labels": labels, "channels": channels and int(channels), "max_bad": max_bad}


def _print_table(rows: list[tuple[str, ...]], header: tuple[str, ...] = ()) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(*header, box=None, show_header=bool(header), pad_edge=False, header_style="bold")
    while len(table.columns) < len(rows[0]):
        table.add_column(overflow="fold")
    for row in rows:
        table.add_row(*(cell.replace("[", "\\[") for cell in row))
    Console(highlight=False, width=None if sys.stdout.isatty() else 200).print(table)


def _print_json(value: Any) -> None:
    print(json.dumps(value, indent=2))


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.version_option(__version__, prog_name="mulligan")
def cli() -> None:
    """Train and use generative adversarial networks.

    Begin with:  mulligan train digits --minutes 5
    """


@cli.command()
@click.argument("data")
@click.option("--out", type=RUN, help="Run folder; by default a new one under runs/. The same command again resumes.")
@click.option("--recipe", help="Name (see `mulligan zoo`) or a .json file.  [default: chosen to fit]")
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
    data: str, out: Path | None, recipe: str | None, minutes: float | None, images: int | None, epochs: float | None,
    converge: bool, seed: int, settings: tuple[str, ...], features: str, device: str, guard: str, dry_run: bool,
    as_json: bool, quiet: bool, size: Any, labels: bool, channels: str | None, max_bad: float,
) -> int:  # fmt: skip
    """Train on DATA: "digits", "stacked", "ring", "grid", a folder or zip of images, an .npz, or an IDX file."""
    from mulligan import api
    from mulligan.core.recipe import parse_setting, typed

    changes = dict(map(parse_setting, settings))
    if labels and "task" not in changes:
        changes["task"] = "by-class"
    common = {
        "recipe": recipe, "minutes": minutes, "images": images, "epochs": epochs, "converge": converge, "seed": seed,
        "settings": changes, "options": api.DataOptions(**_options(size, labels, channels, max_bad)),
        "features": features, "device": device, "quiet": quiet,
    }  # fmt: skip
    if dry_run:
        foreseen = api.dry_run(data, **common)
        if as_json:
            _print_json(foreseen)
        else:
            print(json.dumps(foreseen.pop("recipe"), indent=2))
            for choice in foreseen.pop("chosen"):
                print(f"chosen: {typed(choice['settings'])}: {choice['why']}")
            _print_table([(name.replace("_", " "), str(value)) for name, value in foreseen.items()])
        return OK
    run = api.train(data, out=out, guard=guard, command=["mulligan", *sys.argv[1:]], **common)
    summary = run.summary
    if as_json:
        _print_json(summary)
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


@cli.command()
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


@cli.command()
@click.argument("run", type=RUN)
@click.option("--features", default="auto", show_default=True, help="Feature net: digits, inception, random.")
@click.option("--split", default="heldout", show_default=True, help="Real images to compare with: heldout or train.")
@click.option("--samples", type=int, help="How many samples.  [default: as many as real images]")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--checkpoint", "which", type=click.Choice(["best", "last"]), default="best", show_default=True)
@click.option("--device", default="auto", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def evaluate(
    run: Path, features: str, split: str, samples: int | None, seed: int, which: str, device: str, as_json: bool
) -> None:
    """Measure samples of RUN against real images that it never saw."""
    from mulligan import api

    model = api.load(run, device=device, which=which)
    result = model.evaluate(features=features, split=split, samples=samples, seed=seed)
    if as_json:
        _print_json(result)
        return
    _print_table([(name, f"{value:.4g}") for name, value in result["metrics"].items()])
    if classes := result.get("classes"):
        _print_table(
            [
                (name, *("too few" if value is None else f"{value:.3f}" for value in numbers.values()))
                for name, numbers in classes.items()
            ],
            header=("class", "coverage", "accuracy"),
        )
    print("measured with  " + "  ".join(f"{name}={value}" for name, value in result["protocol"].items()))


@cli.command()
@click.argument("run", type=RUN)
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def diagnose(run: Path, as_json: bool) -> None:
    """Say what went wrong in RUN, finished or not, what the guard did, and what to try."""
    from mulligan import api
    from mulligan.core.recipe import typed

    found = api.diagnose(run)
    if as_json:
        _print_json(found)
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


@cli.command()
@click.argument("data")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@data_options
def inspect(data: str, as_json: bool, size: Any, labels: bool, channels: str | None, max_bad: float) -> None:
    """Check DATA up: what is in it, what is wrong with it, and what training will do with it."""
    from mulligan import api

    found = api.inspect(data, **_options(size, labels, channels, max_bad)).checkup.as_dict()
    if as_json:
        _print_json(found)
        return
    plan = found.pop("plan")
    _print_table([(name.replace("_", " "), _readable(value)) for name, value in found.items()])
    print("\nTraining will")
    for sentence in plan:
        print(f"  - {sentence}")


def _readable(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name}: {_readable(count)}" for name, count in value.items()) or "none"
    if isinstance(value, list | tuple):
        shown = "; ".join(
            ": ".join(map(str, item)) if isinstance(item, list | tuple) else str(item) for item in value[:8]
        )
        return (shown + (f"; and {len(value) - 8} more" if len(value) > 8 else "")) or "none"
    return "none" if value is None else f"{value:,}" if isinstance(value, int) else str(value)


@cli.command()
@click.argument("names", nargs=-1, metavar="[NAME | compare NAME NAME]")
@click.option("--find", default="", help="Only those in which these words occur: hinge, 2018, spectral, ...")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def zoo(names: tuple[str, ...], find: str, as_json: bool) -> None:
    """List the recipes, show one in full, or how one differs from another."""
    from mulligan import api

    match names:
        case ():
            found = api.recipes(find)
            if as_json:
                _print_json([recipe.as_json() for recipe in found])
            else:
                rows = sorted((_year(recipe.paper), recipe.name, recipe.about) for recipe in found)
                _print_table(rows, header=("year", "recipe", "idea"))
        case (name,):
            recipe = api.recipe(name)
            if as_json:
                _print_json(recipe.as_json())
                return
            _print_table(api.describe(recipe))
            if recipe.parent:
                print(f"\nwhere {recipe.parent} has")
                changed = api.compare(api.recipe(recipe.parent), recipe)
                _print_table([(f"  {what}", theirs) for what, theirs, _ in changed])
        case ("compare", a, b):
            changed = api.compare(api.recipe(a), api.recipe(b))
            if as_json:
                _print_json([dict(zip(("what", a, b), row, strict=True)) for row in changed])
            else:
                _print_table(changed, header=("differs in", a, b))
        case _:
            raise click.UsageError("give no name, one, or: compare NAME NAME")


def _year(paper: str) -> str:
    found = re.search(r"\b(?:19|20)\d\d\b(?!\.\d)", paper)  # and not an arXiv number
    return found[0] if found else ""


@cli.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script for SHELL, to be sourced from its start-up file."""
    from click.shell_completion import get_completion_class

    made = get_completion_class(shell)
    assert made is not None
    print(made(cli, {}, "mulligan", "_MULLIGAN_COMPLETE").source())
