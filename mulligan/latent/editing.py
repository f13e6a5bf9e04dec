"""Interpolation and edits in a model's latent space, as sheets of images and films: `mulligan.edit`."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mulligan.core.batch import append_dims, to_uint8
from mulligan.core.condition import Condition
from mulligan.core.errors import UserError
from mulligan.core.run import write_whole
from mulligan.engine.sampling import CHUNK, ClassConditions, noise_at
from mulligan.kinds.pictures import NEUTRAL, captioned, grid, png
from mulligan.latent.directions import Directions, attribute_directions, found_directions
from mulligan.latent.files import Latents
from mulligan.latent.film import refuse_other_suffix, save_film
from mulligan.latent.finding import refuse_without_latents, space_for
from mulligan.latent.spaces import LatentBatch, Space, StyleSpace, blended_classes
from mulligan.runs.run import Run

__all__ = ["attribute", "directions", "interpolate", "mix", "move", "truncate"]

TRUNCATIONS = (0.1, 0.3, 0.5, 0.7, 0.85, 1.0)  # columns of `truncate`
DIRECTIONS_SUFFIX = ".safetensors"  # of the file beside a sheet
STRENGTHS = 7  # columns of a sheet of directions; the one in the middle is unchanged
SHEET_FRAMES, FILM_FRAMES = 10, 30  # from keyframe to keyframe


def interpolate(
    run: Run,
    out: str | Path,
    *,
    seeds: Sequence[int] | None = None,
    latents: str | Path | Latents | None = None,
    classes: Sequence[str | int] = (),
    space: str = "auto",
    frames: int | None = None,
    loop: bool = False,
    fps: float = 15.0,
) -> dict[str, Any]:
    """From image to image, into name.png (a row for each pair of keyframes), name.gif or name.mp4.

    Keyframes are samples, the first of each of `seeds`, or `latents` that `invert` found. `classes` are one for all of
    them or one for each. With one keyframe and several classes the noise stays and the class changes. The path is a
    straight line in w and an arc on the sphere of the noise in z, where two classes are mixed by their embeddings.
    """
    out = Path(out)
    refuse_without_latents(run, "edit")
    refuse_other_suffix(out)
    sheet = out.suffix.lower() == ".png"
    frames = (SHEET_FRAMES if sheet else FILM_FRAMES) if frames is None else frames
    if frames < 2:
        raise UserError(f"--frames {frames}: at least 2")
    if (seeds is None) == (latents is None):
        raise UserError("give the keyframes: --seeds 1,2,3, or --latents FILE of `mulligan invert`")
    latent_space, keys = _keyframes(run, seeds, latents, classes, space)
    if len(keys.latents) < 2:
        raise UserError("interpolation needs 2 keyframes, and this is one; give more --seeds, or several --class")
    pairs = list(pairwise([*range(len(keys.latents)), *([0] if loop else [])]))
    share = torch.linspace(0, 1, frames, device=run.device)
    made = []
    for index, (first, second) in enumerate(pairs):
        # a keyframe ends one part and begins the next, and in a loop the last is the first: a film shows it once
        t = share if sheet or (index == len(pairs) - 1 and not loop) else share[:-1]
        a, b = (keys.latents[each].expand(len(t), *keys.latents.shape[1:]) for each in (first, second))
        conditions = (keys.take(slice(each, each + 1)).cond.repeated(len(t)) for each in (first, second))
        made.append(_images(run, latent_space, latent_space.interpolate(a, b, t), *conditions, share=t))
    save_film(out, torch.cat(made), fps=fps, columns=frames)
    return {"written": str(out)}


def _keyframes(
    run: Run,
    seeds: Sequence[int] | None,
    latents: str | Path | Latents | None,
    classes: Sequence[str | int],
    space: str,
) -> tuple[Space, LatentBatch]:
    """The space, and points in it, on the run's device."""
    wanted = [run.class_id(each) for each in classes]
    if latents is not None:
        if not isinstance(latents, Latents):
            latents = Latents.read(latents, run)
        if space not in ("auto", latents.space):
            raise UserError(f"--space {space}: the latents are points in {latents.space}")
        points, ids = latents.latents, latents.classes
        count = _count(len(points), wanted)
        points = points.expand(count, *points.shape[1:]) if len(points) == 1 else points
        if wanted and latents.space != "z":
            raise UserError("--class: a point in w has its class already; leave it out")
        ids = torch.tensor(wanted).expand(count) if wanted else ids
        found = LatentBatch(points, None if ids is None else ids.expand(count))
        return space_for(run, latents.space), found.to(run.device)
    assert seeds is not None
    latent_space, count = space_for(run, space), _count(len(seeds), wanted)
    many = list(seeds) * count if len(seeds) == 1 else list(seeds)
    each = wanted * count if len(wanted) == 1 else wanted or [None] * count
    return latent_space, drawn(run, latent_space, many, each)


def _count(points: int, wanted: Sequence[object]) -> int:
    if not wanted or len(wanted) == 1 or points == 1 or points == len(wanted):
        return max(points, len(wanted))
    raise UserError(f"{len(wanted)} classes for {points} keyframes; give one --class, or one for each")


@torch.no_grad()
def drawn(
    run: Run, space: Space, seeds: Sequence[int], wanted: Sequence[int | None], truncation: float = 1.0
) -> LatentBatch:
    """The points of the first sample of each seed, as `sample` draws it."""
    z = torch.stack([noise_at(seed, 0, run.G.z_shape, truncation) for seed in seeds]).to(run.device)
    conditions = [ClassConditions(seed, run.class_counts, each) for seed, each in zip(seeds, wanted, strict=True)]
    cond = Condition.cat([each(0, 1) for each in conditions]).to(run.device)
    return LatentBatch(space.latents(z, cond), cond.get("class"))


@torch.no_grad()
def _images(
    run: Run,
    space: Space,
    latents: Tensor,
    cond: Condition | None = None,
    other: Condition | None = None,
    *,
    share: Tensor | None = None,
) -> Tensor:
    """uint8 (N, C, H, W) of points. In z, the class of `other` counts `share` (N,) and that of `cond` the rest."""
    cond = Condition() if cond is None else cond
    # a point in w has its class already
    blends = other is not None and space.name == "z" and bool(other) and not torch.equal(cond["class"], other["class"])
    found = []
    for start in range(0, len(latents), CHUNK):
        rows = slice(start, start + CHUNK)
        blended: contextlib.AbstractContextManager = contextlib.nullcontext()
        if blends:
            assert other is not None and share is not None
            blended = blended_classes(run.G, len(run.classes), other["class"][rows], share[rows])
        with blended:
            found.append(to_uint8(space.images(latents[rows], cond.take(rows))).cpu())
    return torch.cat(found)


def mix(
    run: Run,
    out: str | Path,
    *,
    rows: Sequence[int],
    columns: Sequence[int],
    layers: Sequence[int] | None = None,
    class_: str | int | None = None,
) -> dict[str, Any]:
    """Style mixing (Karras 2019, arXiv 1812.04948, sec. 3.1): a sheet of the seeds in `rows` with styles of `columns`.

    `layers` are those whose styles come from the column; by default the later half. The top left cell is empty.
    """
    space, out = _style_space(run, "mix"), _sheet_name(out)
    layers = _layers(space, layers) or list(range(space.layers // 2, space.layers))
    wanted = run.class_id(class_)
    left, top = (space.per_layer(drawn(run, space, each, [wanted] * len(each)).latents) for each in (rows, columns))
    mixed = left[:, None].repeat(1, len(top), 1, 1)  # (rows, columns, L, S)
    mixed[:, :, layers] = top[None][:, :, layers]
    sides, tops = _images(run, space, left), _images(run, space, top)
    cells = _images(run, space, mixed.flatten(0, 1)).unflatten(0, mixed.shape[:2])
    lines = [torch.cat([torch.full_like(tops[:1], NEUTRAL), tops])]
    lines += [torch.cat([side[None], line]) for side, line in zip(sides, cells, strict=True)]
    written = _written(out, torch.cat(lines), ["", *_seeded(rows)], ["", *_seeded(columns)])
    return written | {"layers_from_columns": layers}


def truncate(run: Run, out: str | Path, *, seeds: Sequence[int], class_: str | int | None = None) -> dict[str, Any]:
    """A sheet with a row for each seed, from strongly truncated on the left to unchanged on the right.

    Styles move towards their mean (Karras 2018, arXiv 1812.04948, app. B: w' = mean + psi (w - mean)). A generator
    without styles gets noise whose tails are redrawn, as with `sample --truncation` (Brock 2018).
    """
    refuse_without_latents(run, "edit")
    out, space, wanted = _sheet_name(out), space_for(run), [run.class_id(class_)] * len(seeds)
    columns = []
    for level in TRUNCATIONS:
        points = drawn(run, space, seeds, wanted, 1.0 if isinstance(space, StyleSpace) else level)
        latents = points.latents
        if isinstance(space, StyleSpace):
            latents = space.mean + level * (latents - space.mean)
        columns.append(_images(run, space, latents, points.cond))
    images = torch.stack(columns, 1).flatten(0, 1)
    written = _written(out, images, _seeded(seeds), [f"{level:g}" for level in TRUNCATIONS])
    return written | {"truncation": list(TRUNCATIONS)}


def directions(
    run: Run,
    out: str | Path,
    *,
    method: str = "sefa",
    number: int = 6,
    strength: float = 3.0,
    space: str = "auto",
    layers: Sequence[int] | None = None,
    seeds: Sequence[int] = (0,),
    class_: str | int | None = None,
) -> dict[str, Any]:
    """Directions without labels: a sheet `out`, and the directions beside it, as name.safetensors.

    `sefa` factorises the weights of the first layers, `pca` takes along what samples vary most. The sheet has a row for
    each direction and seed; its columns go from `-strength` to `strength` standard deviations of samples.
    """
    refuse_without_latents(run, "edit")
    out, latent_space = _sheet_name(out, with_directions=True), space_for(run, space)
    if layers is not None and not isinstance(latent_space, StyleSpace):
        raise UserError("--layers: only styles differ between layers, and this space is z")
    chosen = _layers(latent_space, layers) if isinstance(latent_space, StyleSpace) else None
    found = found_directions(run, latent_space, method, number, chosen)
    return _saved(run, latent_space, found, out, strength, seeds, class_)


def attribute(
    run: Run,
    out: str | Path,
    *,
    data: str | Path | None = None,
    strength: float = 3.0,
    space: str = "auto",
    seeds: Sequence[int] = (0,),
) -> dict[str, Any]:
    """The direction towards each class of labelled images, the run's own data or others: sheet and file as above.

    A classifier is trained on the labelled images and labels samples; a linear fit predicts that from their latents.
    """
    refuse_without_latents(run, "edit")
    out, latent_space = _sheet_name(out, with_directions=True), space_for(run, space)
    return _saved(run, latent_space, attribute_directions(run, latent_space, data), out, strength, seeds, None)


def move(
    run: Run,
    out: str | Path,
    *,
    latents: str | Path | Latents,
    along: str | Path | Directions,
    numbers: Sequence[int] | None = None,
    strength: float = 3.0,
    fps: float = 15.0,
) -> dict[str, Any]:
    """Inverted images, moved along directions: name.png has a row for each image and direction.

    In a film, name.gif or name.mp4, they move there and back, one after another.
    """
    refuse_without_latents(run, "edit")
    out = Path(out)
    refuse_other_suffix(out)
    at = latents if isinstance(latents, Latents) else Latents.read(latents, run)
    chosen = along if isinstance(along, Directions) else Directions.read(along, run)
    chosen = chosen if numbers is None else chosen.only(numbers)
    if at.space[0] != chosen.space[0]:
        raise UserError(f"the latents are points in {at.space}, and the directions are in {chosen.space}")
    film = out.suffix.lower() != ".png"
    strengths = torch.linspace(-strength, strength, FILM_FRAMES if film else STRENGTHS)
    if film:
        strengths = torch.cat([strengths, strengths.flip(0)[1:-1]])
    images = _moved(run, space_for(run, at.space), at.batch.to(run.device), chosen, strengths)
    if not film:
        names = at.names or [f"image {index}" for index in range(len(at.latents))]
        return _written(out, images, _rows(chosen, names), _signed(strengths))
    save_film(out, images, fps=fps, columns=len(strengths))
    return {"written": str(out)}


def _saved(
    run: Run,
    space: Space,
    found: Directions,
    out: Path,
    strength: float,
    seeds: Sequence[int],
    class_: str | int | None,
) -> dict[str, Any]:
    """The sheet and the file of directions."""
    points = drawn(run, space, seeds, [run.class_id(class_)] * len(seeds))
    strengths = torch.linspace(-strength, strength, STRENGTHS)
    images = _moved(run, space, points, found, strengths)
    saved = out.with_suffix(DIRECTIONS_SUFFIX)
    found.save(saved)
    rows = [
        {"direction": name, "deviation": round(spread, 4)}
        for name, spread in zip(found.names, found.spread.tolist(), strict=True)
    ]
    result = _written(out, images, _rows(found, _seeded(seeds)), _signed(strengths))
    result |= {"saved": str(saved), "directions": rows}
    return result if found.accuracy is None else result | {"accuracy": round(found.accuracy, 4)}


def _moved(run: Run, space: Space, points: LatentBatch, along: Directions, strengths: Tensor) -> Tensor:
    """uint8 (directions x points x strengths, C, H, W): points moved by so many deviations along each direction."""
    lines = []
    strengths = strengths.to(run.device)
    for vector, spread in zip(along.vectors.to(run.device), along.spread, strict=True):
        step = vector * spread.to(run.device)
        for index, latent in enumerate(points.latents):
            if isinstance(space, StyleSpace) and along.layers:
                moved = space.per_layer(latent[None]).repeat(len(strengths), 1, 1)
                moved[:, along.layers] += strengths[:, None, None] * step
            else:
                moved = latent + append_dims(strengths, latent.ndim + 1) * step
            cond = points.take(slice(index, index + 1)).cond.repeated(len(strengths))
            lines.append(_images(run, space, moved, cond))
    return torch.cat(lines)


def _style_space(run: Run, what: str) -> StyleSpace:
    """Raises UserError for a generator without styles."""
    refuse_without_latents(run, "edit")
    space = space_for(run)
    if not isinstance(space, StyleSpace):
        name = run.recipe.generator.name
        raise UserError(f"{run.path}: {what} needs styles, and generator {name!r} has none; stylegan2, stylegan3 have")
    return space


def _layers(space: StyleSpace, layers: Sequence[int] | None) -> list[int] | None:
    if layers is not None and not (layers and all(0 <= each < space.layers for each in layers)):
        raise UserError(f"--layers {','.join(map(str, layers))}: this generator has layers 0-{space.layers - 1}")
    return None if layers is None else sorted(set(layers))


def _sheet_name(out: str | Path, *, with_directions: bool = False) -> Path:
    """Raises UserError for another suffix, or where the file of directions would replace a file of something else."""
    out = Path(out)
    if out.suffix.lower() != ".png":
        raise UserError(f"{out}: a sheet is written as name.png")
    beside = out.with_suffix(DIRECTIONS_SUFFIX)
    if with_directions and os.path.lexists(beside):
        try:
            Directions.read(beside)
        except UserError:
            raise UserError(
                f"{beside}: is there already and holds no directions, so it is not replaced; choose another --out"
            ) from None
    return out


def _seeded(seeds: Sequence[int]) -> list[str]:
    return [f"seed {seed}" for seed in seeds]


def _rows(along: Directions, points: Sequence[str]) -> list[str]:
    """Captions for the rows of `_moved`: direction, and point where there are several."""
    return [f"{name}, {point}" if len(points) > 1 else name for name in along.names for point in points]


def _signed(strengths: Tensor) -> list[str]:
    return [f"{each:+.2g}" if each else "0" for each in strengths.tolist()]


def _written(out: Path, images: Tensor, down: Sequence[str], across: Sequence[str]) -> dict[str, Any]:
    """A sheet with a row for each of `down` and a column for each of `across`."""
    write_whole(out, png(captioned(grid(images, len(across)), down, across)))
    return {"written": str(out)}
