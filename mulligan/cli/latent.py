"""Verbs about where pictures lie in a model's latent space: invert, edit."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import click

from mulligan.cli.words import OK, RUN, USER_ERROR, Numbers, print_json, print_table

OUT_FILM = "name.png: all beside one another; name.gif or name.mp4: one after another."


def about_the_run(command: Callable) -> Callable:
    """The options of every verb here that say which weights, where, and how it is told."""
    for option in (
        click.option("--json", "as_json", is_flag=True, help="Print as JSON."),
        click.option("--device", default="auto", show_default=True),
        click.option("--checkpoint", "which", type=click.Choice(["best", "last"]), default="best", show_default=True),
    ):
        command = option(command)
    return command


@click.command()
@click.argument("run", type=RUN)
@click.argument("photos", type=RUN, nargs=-1, required=True)
@click.option("--out", type=RUN, required=True, help="Folder for pictures, a contact sheet, and places as data.")
@click.option("--mask", type=RUN, help="White where PHOTOS are not known, or a folder of such: fill them in.")
@click.option("--shrink", type=int, default=1, help="PHOTOS are so many times too small: enlarge them.")
@click.option("--samples", type=int, default=1, show_default=True, help="Answers for each, from other starts.")
@click.option("--space", type=click.Choice(["auto", "z", "w", "w+"]), default="auto", show_default=True,
              help="Noise, or styles of generators that have them.")  # fmt: skip
@click.option("--class", "class_", help="Of this class; else each is tried.")
@click.option("--encoder", is_flag=True, help="Begin also from a net's guess; it is taught once and kept in RUN.")
@click.option("--steps", type=int, default=200, show_default=True)
@click.option("--starts", type=int, default=8, show_default=True, help="For each photo, of which the best is kept.")
@click.option("--features", default="random", show_default=True, help="Feature net beside pixels: random, digits, ...")
@click.option("--perceptual", type=float, default=0.1, show_default=True, help="What it counts, beside pixels at 1.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--quiet", is_flag=True, help="No progress line.")
@about_the_run
def invert(
    run: Path, photos: tuple[Path, ...], out: Path, mask: Path | None, shrink: int, samples: int, space: str,
    class_: str | None, encoder: bool, steps: int, starts: int, features: str, perceptual: float, seed: int,
    quiet: bool, which: str, device: str, as_json: bool,
) -> int:  # fmt: skip
    """Find the noise of which RUN makes each of PHOTOS, or what is known of it; files or folders.

    A photo of another size is scaled as training images are. With --mask or --shrink, a model that was only ever
    trained to generate fills holes and enlarges.
    """
    from mulligan import api

    model = api.load(run, device=device, which=which)
    search = api.Search(steps=steps, starts=starts, perceptual=perceptual)
    result = api.invert(
        model, photos, out, mask=mask, shrink=shrink, space=space, class_=class_, encoder=encoder, features=features,
        samples=samples, seed=seed, search=search, quiet=quiet,
    )  # fmt: skip
    if as_json:
        print_json(result.as_dict())
    elif result.rows:
        count = f"{result.photos:,} photo{'' if result.photos == 1 else 's'}"
        near = f"PSNR {median(row['psnr'] for row in result.rows):.1f} dB"
        far = f"perceptual distance {median(row['perceptual'] for row in result.rows):.3g}"
        pace = f"{result.seconds / result.photos:.2g} s each"
        print(f"{count}: {near}, {far} of what was known (medians), {pace}; look at {result.sheet}")
        scaled = [row for row in result.rows if "scaled" in row]
        if scaled:
            print(f"{len(scaled)} of another size, such as {scaled[0]['photo']}: {scaled[0]['scaled']}")
    for name, why in result.failed:
        print(f"mulligan: {name}: {why}", file=sys.stderr)
    return USER_ERROR if result.failed else OK


@click.group()
def edit() -> None:
    """Walk and edit in the latent space of a model: interpolate, mix, truncate, directions, attribute, move."""


def _say(as_json: bool, written: dict[str, Any]) -> None:
    if as_json:
        print_json(written)
        return
    for name, value in written.items():
        match name:
            case "directions":
                rows = [(row["direction"], f"{row['deviation']:.3g}") for row in value]
                print_table(rows, header=("direction", "deviation of samples"))
            case "told":
                print(f"by its place alone, the class of {value:.0%} of samples not fitted to is told")
            case "written" | "kept":
                print(value)
            case _:
                print(f"{name.replace('_', ' ')}: {', '.join(map(str, value))}")


@edit.command()
@click.argument("run", type=RUN)
@click.option("--out", type=RUN, required=True, help=OUT_FILM)
@click.option("--seeds", type=Numbers(), help="Samples to go by, such as 1,5,9 or 0-3: each the first of its seed.")
@click.option("--latents", type=RUN, help="Or places that `mulligan invert` wrote.")
@click.option("--class", "classes", multiple=True, help="One for all, or one for each stop: --class 3 --class 8.")
@click.option("--space", type=click.Choice(["auto", "z", "w"]), default="auto", show_default=True)
@click.option("--frames", type=int, help="From stop to stop; by default 10 in a .png, 30 in a film.")
@click.option("--loop", is_flag=True, help="And back to the first.")
@click.option("--fps", type=float, default=15.0, show_default=True, help="Frames a second, of a film.")
@about_the_run
def interpolate(
    run: Path, out: Path, seeds: tuple[int, ...] | None, latents: Path | None, classes: tuple[str, ...], space: str,
    frames: int | None, loop: bool, fps: float, which: str, device: str, as_json: bool,
) -> None:  # fmt: skip
    """Go from picture to picture: along the shell of the noise, or in a straight line in w; and between classes."""
    from mulligan import api

    model = api.load(run, device=device, which=which)
    written = api.interpolate(
        model, out, seeds=seeds, latents=latents, classes=classes, space=space, frames=frames, loop=loop, fps=fps
    )
    _say(as_json, written)


@edit.command()
@click.argument("run", type=RUN)
@click.option("--out", type=RUN, required=True, help="name.png: the grid.")
@click.option("--rows", type=Numbers(), default="0-4", show_default=True, help="Seeds whose pictures are changed.")
@click.option("--columns", type=Numbers(), default="5-9", show_default=True, help="Seeds whose styles they take over.")
@click.option("--layers", type=Numbers(), help="Which layers' styles, such as 0-1; by default the later half.")
@click.option("--class", "class_", help="Of this class, for a run trained by class.")
@about_the_run
def mix(
    run: Path, out: Path, rows: tuple[int, ...], columns: tuple[int, ...], layers: tuple[int, ...] | None,
    class_: str | None, which: str, device: str, as_json: bool,
) -> None:  # fmt: skip
    """Cross pictures by their styles: the form of the one, and what later layers add of the other."""
    from mulligan import api

    model = api.load(run, device=device, which=which)
    _say(as_json, api.mix(model, out, rows=rows, columns=columns, layers=layers, class_=class_))


@edit.command()
@click.argument("run", type=RUN)
@click.option("--out", type=RUN, required=True, help="name.png: a row for each seed, typical to the left.")
@click.option("--seeds", type=Numbers(), default="0-7", show_default=True)
@click.option("--class", "class_", help="Of this class, for a run trained by class.")
@about_the_run
def truncate(
    run: Path, out: Path, seeds: tuple[int, ...], class_: str | None, which: str, device: str, as_json: bool
) -> None:
    """Pictures from typical to as they come: styles near their mean, or noise without its tails."""
    from mulligan import api

    _say(as_json, api.truncate(api.load(run, device=device, which=which), out, seeds=seeds, class_=class_))


@edit.command()
@click.argument("run", type=RUN)
@click.option("--out", type=RUN, required=True, help="name.png: the sheet; name.safetensors beside it: the directions.")
@click.option("--method", type=click.Choice(["sefa", "pca"]), default="sefa", show_default=True,
              help="Factorise the first layers' weights, or take what samples differ by most.")  # fmt: skip
@click.option("--number", type=int, default=6, show_default=True, help="How many, the strongest first.")
@click.option("--strength", type=float, default=3.0, show_default=True, help="Deviations of samples, to either side.")
@click.option("--space", type=click.Choice(["auto", "z", "w"]), default="auto", show_default=True)
@click.option("--layers", type=Numbers(), help="Of generators with styles: only these layers', such as 0-1.")
@click.option("--seeds", type=Numbers(), default="0", show_default=True, help="Pictures to show them on.")
@click.option("--class", "class_", help="Of this class, for a run trained by class.")
@about_the_run
def directions(
    run: Path, out: Path, method: str, number: int, strength: float, space: str, layers: tuple[int, ...] | None,
    seeds: tuple[int, ...], class_: str | None, which: str, device: str, as_json: bool,
) -> None:  # fmt: skip
    """Find directions without labels: a row for each, a column for each strength."""
    from mulligan import api

    written = api.directions(
        api.load(run, device=device, which=which), out, method=method, number=number, strength=strength, space=space,
        layers=layers, seeds=seeds, class_=class_,
    )  # fmt: skip
    _say(as_json, written)


@edit.command()
@click.argument("run", type=RUN)
@click.option("--out", type=RUN, required=True, help="name.png: the sheet; name.safetensors beside it: the directions.")
@click.option("--data", type=str, help="Labelled images whose classes are the attributes; by default the run's own.")
@click.option("--strength", type=float, default=3.0, show_default=True, help="Deviations of samples, to either side.")
@click.option("--space", type=click.Choice(["auto", "z", "w"]), default="auto", show_default=True)
@click.option("--seeds", type=Numbers(), default="0", show_default=True, help="Pictures to show them on.")
@about_the_run
def attribute(
    run: Path, out: Path, data: str | None, strength: float, space: str, seeds: tuple[int, ...], which: str,
    device: str, as_json: bool,
) -> None:  # fmt: skip
    """Find the direction towards each class of labelled images, by a classifier of them and a linear fit."""
    from mulligan import api

    model = api.load(run, device=device, which=which)
    _say(as_json, api.attribute(model, out, data=data, strength=strength, space=space, seeds=seeds))


@edit.command()
@click.argument("run", type=RUN)
@click.option("--out", type=RUN, required=True, help=OUT_FILM)
@click.option("--latents", type=RUN, required=True, help="Places that `mulligan invert` wrote.")
@click.option("--directions", "along", type=RUN, required=True, help="That `edit directions` or `attribute` wrote.")
@click.option("--number", "numbers", type=Numbers(), help="Which directions, from 0; by default all.")
@click.option("--strength", type=float, default=3.0, show_default=True, help="Deviations of samples, to either side.")
@click.option("--fps", type=float, default=15.0, show_default=True, help="Frames a second, of a film.")
@about_the_run
def move(
    run: Path, out: Path, latents: Path, along: Path, numbers: tuple[int, ...] | None, strength: float, fps: float,
    which: str, device: str, as_json: bool,
) -> None:  # fmt: skip
    """Move pictures that were inverted along directions that were found."""
    from mulligan import api

    model = api.load(run, device=device, which=which)
    written = api.move(model, out, latents=latents, along=along, numbers=numbers, strength=strength, fps=fps)
    _say(as_json, written)
