"""The verb that uses a trained model on photos: apply."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from mulligan.cli.words import OK, RUN, USER_ERROR, print_json


@click.command(short_help="Fill in, clean, enlarge or translate photos.")
@click.argument("run", type=RUN)
@click.argument("photos", type=RUN, nargs=-1, required=True)
@click.option("--out", type=RUN, required=True, help="Folder for the results, as PNG.")
@click.option("--mask", type=RUN, help="Image that is white where PHOTOS have holes, or a folder of such, by name.")
@click.option("--mask-colour", help="Instead of --mask: the colour of holes in PHOTOS, such as ff00ff.")
@click.option("--direction", type=click.Choice(["a2b", "b2a"]), help="For a run of --task style.  [default: a2b]")
@click.option("--samples", type=int, default=1, show_default=True, help="Results per photo, if the run takes noise.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of that noise.")
@click.option("--checkpoint", "which", type=click.Choice(["best", "last"]), default="best", show_default=True,
              help="Checkpoint of RUN.")  # fmt: skip
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or mps.")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@click.option("--quiet", is_flag=True, help="No progress line.")
def apply(
    run: Path, photos: tuple[Path, ...], out: Path, mask: Path | None, mask_colour: str | None, direction: Any,
    samples: int, seed: int, which: str, device: str, as_json: bool, quiet: bool,
) -> int:  # fmt: skip
    """Fill in, clean, enlarge or translate PHOTOS: files or folders of images of any size.

    RUN must have been trained with a --task that makes images from images.
    """
    from mulligan import api

    model = api.load(run, device=device, which=which)
    result = api.apply(
        model, photos, out, mask=mask, mask_colour=mask_colour, direction=direction, samples=samples, seed=seed,
        quiet=quiet,
    )  # fmt: skip
    if as_json:
        print_json(result.as_dict())
    else:
        speed = result.photos / max(result.seconds, 1e-9)
        count = f"{result.photos:,} photo{'' if result.photos == 1 else 's'}"
        print(f"{count} in {result.seconds:.1f} s, {speed:.3g} a second, into {out}")
    for name, why in result.failed:
        print(f"mulligan: {name}: {why}", file=sys.stderr)
    return USER_ERROR if result.failed else OK
