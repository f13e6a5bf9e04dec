"""Verbs about a model's latent space: invert, edit."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import click

from mulligan.cli.words import OK, RUN, USER_ERROR, Numbers, print_json, print_table

SPACES = ("auto", "z", "w", "w+")  # as in latent.spaces, and METHODS as in latent.directions, which import torch
METHODS = ("sefa", "pca")
OUT_FILM = "name.png: one sheet of all frames; name.gif or name.mp4: a film."
OUT_DIRECTIONS = "name.png: the sheet; the directions are saved in name.safetensors."


def run_options(command: Callable) -> Callable:
    """The options that all verbs here share: checkpoint, device and output."""
    for option in (
        click.option("--json", "as_json", is_flag=True, help="Print as JSON."),
        click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or mps."),
        click.option("--checkpoint", "which", type=click.Choice(["best", "last"]), default="best", show_default=True,
                     help="Checkpoint of RUN."),
    ):  # fmt: skip
        command = option(command)
    return command


def _space(names: tuple[str, ...]) -> Callable:
    return click.option(
        "--space", type=click.Choice(names), default="auto", show_default=True,
        help="Latent space: noise (z) or styles (w). auto: w if the generator has styles.",
    )  # fmt: skip


class_option = click.option("--class", "class_", help="Only this class, for a run that was trained by class.")
strength_option = click.option(
    "--strength", type=float, default=3.0, show_default=True, help="How far to move, in standard deviations of samples."
)
fps_option = click.option("--fps", type=float, default=15.0, show_default=True, help="Frames per second of a film.")
example_option = click.option(
    "--seeds", type=Numbers(), default="0", show_default=True, help="Seeds of the samples in the sheet's examples."
)


@click.command(short_help="Find the latents of photos; fill in or enlarge them.")
@click.argument("run", type=RUN)
@click.argument("photos", type=RUN, nargs=-1, required=True)
@click.option("--out", type=RUN, required=True, help="Folder for images, a contact sheet and latents.safetensors.")
@click.option("--mask", type=RUN, help="Image that is white where PHOTOS have holes, or a folder of such, by name.")
@click.option("--shrink", type=int, default=1, show_default=True, help="Factor by which PHOTOS are too small.")
@click.option("--samples", type=int, default=1, show_default=True, help="Results per photo, from different starts.")
@_space(SPACES)
@click.option("--class", "class_", help="Class of PHOTOS.  [default: every class is tried]")
@click.option("--encoder", is_flag=True, help="Also start from the output of an encoder, trained once, saved in RUN.")
@click.option("--steps", type=int, default=200, show_default=True, help="Steps of gradient descent.")
@click.option("--starts", type=int, default=8, show_default=True, help="Starting points per photo; the best counts.")
@click.option("--features", default="random", show_default=True,
              help="Feature net that also compares images (see `mulligan parts feature-net`).")  # fmt: skip
@click.option(
    "--perceptual", type=float, default=0.1, show_default=True, help="Weight of the feature net; that of pixels is 1."
)
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the starting points.")
@click.option("--quiet", is_flag=True, help="No progress line.")
@run_options
def invert(
    run: Path, photos: tuple[Path, ...], out: Path, mask: Path | None, shrink: int, samples: int, space: str,
    class_: str | None, encoder: bool, steps: int, starts: int, features: str, perceptual: float, seed: int,
    quiet: bool, which: str, device: str, as_json: bool,
) -> int:  # fmt: skip
    """Find the latents from which RUN generates the images most similar to PHOTOS: files or folders.

    A photo of another size is scaled as training images are. With --mask, holes are filled in; with --shrink, small
    photos are enlarged. The model needs no training for this.
    """
    from mulligan import api

    model = api.load(run, device=device, which=which)
    search = api.SearchSettings(steps=steps, starts=starts, perceptual=perceptual)
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


@click.group(short_help="Edit images in the latent space of a run.")
def edit() -> None:
    """Edit in the latent space of a model: interpolate, mix, truncate, directions, attribute, move."""


def _print(as_json: bool, written: dict[str, Any]) -> None:
    if as_json:
        print_json(written)
        return
    for name, value in written.items():
        match name:
            case "directions":
                rows = [(row["direction"], f"{row['deviation']:.3g}") for row in value]
                print_table(rows, header=("direction", "deviation of samples"))
            case "accuracy":
                print(f"the latent alone predicts the class of {value:.0%} of held-out samples")
            case "written" | "saved":
                print(value)
            case _:
                print(f"{name.replace('_', ' ')}: {', '.join(map(str, value))}")


@edit.command(short_help="Interpolate from image to image.")
@click.argument("run", type=RUN)
@click.option("--out", type=RUN, required=True, help=OUT_FILM)
@click.option("--seeds", type=Numbers(), help="Keyframes: the first sample of each seed, such as 1,5,9 or 0-3.")
@click.option("--latents", type=RUN, help="Instead of --seeds: a file of `mulligan invert`.")
@click.option("--class", "classes", multiple=True, help="One class, or one for each keyframe: --class 3 --class 8.")
@_space(SPACES[:3])
@click.option("--frames", type=int, help="Frames from keyframe to keyframe.  [default: 10 in a .png, 30 in a film]")
@click.option("--loop", is_flag=True, help="Continue back to the first keyframe.")
@fps_option
@run_options
def interpolate(
    run: Path, out: Path, seeds: tuple[int, ...] | None, latents: Path | None, classes: tuple[str, ...], space: str,
    frames: int | None, loop: bool, fps: float, which: str, device: str, as_json: bool,
) -> None:  # fmt: skip
    """Interpolate from image to image: on the sphere of the noise, in a straight line in w, or between classes."""
    from mulligan import api

    model = api.load(run, device=device, which=which)
    written = api.edit.interpolate(
        model, out, seeds=seeds, latents=latents, classes=classes, space=space, frames=frames, loop=loop, fps=fps
    )
    _print(as_json, written)


@edit.command(short_help="Mix the styles of samples.")
@click.argument("run", type=RUN)
@click.option("--out", type=RUN, required=True, help="name.png: the grid.")
@click.option("--rows", type=Numbers(), default="0-4", show_default=True, help="Seeds of the images that are changed.")
@click.option("--columns", type=Numbers(), default="5-9", show_default=True, help="Seeds of the styles that they get.")
@click.option("--layers", type=Numbers(), help="Layers that get these styles, such as 0-1.  [default: the later half]")
@class_option
@run_options
def mix(
    run: Path, out: Path, rows: tuple[int, ...], columns: tuple[int, ...], layers: tuple[int, ...] | None,
    class_: str | None, which: str, device: str, as_json: bool,
) -> None:  # fmt: skip
    """Mix the styles of samples: some layers have the styles of one sample, the others those of another."""
    from mulligan import api

    model = api.load(run, device=device, which=which)
    _print(as_json, api.edit.mix(model, out, rows=rows, columns=columns, layers=layers, class_=class_))


@edit.command(short_help="Truncate samples step by step.")
@click.argument("run", type=RUN)
@click.option("--out", type=RUN, required=True, help="name.png: the sheet, the strongest truncation to the left.")
@click.option("--seeds", type=Numbers(), default="0-7", show_default=True, help="Seeds; one row for each.")
@class_option
@run_options
def truncate(
    run: Path, out: Path, seeds: tuple[int, ...], class_: str | None, which: str, device: str, as_json: bool
) -> None:
    """Truncate samples step by step: styles move to their mean, or noise loses its tails."""
    from mulligan import api

    _print(as_json, api.edit.truncate(api.load(run, device=device, which=which), out, seeds=seeds, class_=class_))


@edit.command(short_help="Find directions without labels.")
@click.argument("run", type=RUN)
@click.option("--out", type=RUN, required=True, help=OUT_DIRECTIONS)
@click.option("--method", type=click.Choice(METHODS), default="sefa", show_default=True,
              help="sefa: from the weights of the first layers; pca: along which samples vary most.")  # fmt: skip
@click.option("--number", type=int, default=6, show_default=True, help="Number of directions, the strongest first.")
@strength_option
@_space(SPACES[:3])
@click.option("--layers", type=Numbers(), help="For generators with styles: change only these layers, such as 0-1.")
@example_option
@class_option
@run_options
def directions(
    run: Path, out: Path, method: str, number: int, strength: float, space: str, layers: tuple[int, ...] | None,
    seeds: tuple[int, ...], class_: str | None, which: str, device: str, as_json: bool,
) -> None:  # fmt: skip
    """Find directions without labels: a sheet with one row per direction and one column per strength."""
    from mulligan import api

    written = api.edit.directions(
        api.load(run, device=device, which=which), out, method=method, number=number, strength=strength, space=space,
        layers=layers, seeds=seeds, class_=class_,
    )  # fmt: skip
    _print(as_json, written)


@edit.command(short_help="Find a direction for each class of labelled images.")
@click.argument("run", type=RUN)
@click.option("--out", type=RUN, required=True, help=OUT_DIRECTIONS)
@click.option("--data", type=str, help="Labelled images; their classes are the attributes.  [default: the run's data]")
@strength_option
@_space(SPACES[:3])
@example_option
@run_options
def attribute(
    run: Path, out: Path, data: str | None, strength: float, space: str, seeds: tuple[int, ...], which: str,
    device: str, as_json: bool,
) -> None:  # fmt: skip
    """Find the direction towards each class of labelled images, with a classifier and a linear fit."""
    from mulligan import api

    model = api.load(run, device=device, which=which)
    _print(as_json, api.edit.attribute(model, out, data=data, strength=strength, space=space, seeds=seeds))


@edit.command()
@click.argument("run", type=RUN)
@click.option("--out", type=RUN, required=True, help=OUT_FILM)
@click.option("--latents", type=RUN, required=True, help="File of `mulligan invert`.")
@click.option("--directions", "along", type=RUN, required=True, help="File of `edit directions` or `edit attribute`.")
@click.option("--number", "numbers", type=Numbers(), help="Numbers of the directions, from 0.  [default: all]")
@strength_option
@fps_option
@run_options
def move(
    run: Path, out: Path, latents: Path, along: Path, numbers: tuple[int, ...] | None, strength: float, fps: float,
    which: str, device: str, as_json: bool,
) -> None:  # fmt: skip
    """Move inverted images along directions."""
    from mulligan import api

    model = api.load(run, device=device, which=which)
    written = api.edit.move(model, out, latents=latents, along=along, numbers=numbers, strength=strength, fps=fps)
    _print(as_json, written)
