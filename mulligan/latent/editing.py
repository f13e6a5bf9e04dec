"""Walks and edits in a model's latent space, as pictures and films."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mulligan.core.batch import to_uint8
from mulligan.core.errors import UserError
from mulligan.core.run import write_whole
from mulligan.engine.sampling import CHUNK, classes_for, noise_at
from mulligan.kinds.pictures import captioned, grid, png
from mulligan.latent.directions import Directions, attributes, unlabelled
from mulligan.latent.film import refuse_other_suffix, save_film
from mulligan.latent.finding import Latents, refuse_without_noise, space_for
from mulligan.latent.spaces import Space, Styles, classes_blended
from mulligan.runs.run import Run

LEVELS = (0.1, 0.3, 0.5, 0.7, 0.85, 1.0)  # of a truncation sweep
KEPT = ".safetensors"  # of directions, beside the sheet
STOPS = 7  # strengths of a sheet, the one in the middle none
STRIP, FILM = 10, 30  # frames from stop to stop


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
    """From picture to picture, into name.png (a row for each leg), name.gif or name.mp4.

    Stops are samples, the first of each of `seeds`, or `latents` that `invert` found, and `classes` one for all of them
    or one for each. With one stop and several classes the noise stays, and the class changes. A straight line in w; on
    the shell of the noise in z, where what lies between two classes are mixtures of what G knows of both.
    """
    out = Path(out)
    refuse_without_noise(run, "edit")
    refuse_other_suffix(out)
    strip = out.suffix.lower() == ".png"
    frames = (STRIP if strip else FILM) if frames is None else frames
    if frames < 2:
        raise UserError(f"--frames {frames}: at least 2")
    if (seeds is None) == (latents is None):
        raise UserError("say where to go: --seeds 1,2,3, or --latents FILE of `mulligan invert`")
    where, places, ids = _stops(run, seeds, latents, classes, space)
    if len(places) < 2:
        raise UserError("there is one place, and nowhere to go from it; give more --seeds, or several --class")
    if loop:
        places, ids = torch.cat([places, places[:1]]), None if ids is None else torch.cat([ids, ids[:1]])
    share = torch.linspace(0, 1, frames, device=run.device)
    legs = []
    for index, (a, b) in enumerate(pairwise(places)):
        # where one leg ends the next begins, and after the last of a loop the first: a film shows that picture once
        t = share if strip or (index == len(places) - 2 and not loop) else share[:-1]
        way = where.between(a.expand(len(t), *a.shape), b.expand(len(t), *b.shape), t)
        told = None if ids is None else ids[index : index + 2, None].expand(2, len(t))
        legs.append(_pictures(run, where, way, told, t))
    save_film(out, torch.cat(legs), fps=fps, columns=frames)
    return {"written": str(out)}


def _stops(
    run: Run,
    seeds: Sequence[int] | None,
    latents: str | Path | Latents | None,
    classes: Sequence[str | int],
    space: str,
) -> tuple[Space, Tensor, Tensor | None]:
    """The space, places (N, *shape), and class ids (N,) where G is told any."""
    wanted = [run.class_id(each) for each in classes]
    if latents is not None:
        if not isinstance(latents, Latents):
            latents = Latents.read(latents, run)
        if space not in ("auto", latents.space):
            raise UserError(f"--space {space}: the latents are places in {latents.space}")
        where, places, ids = space_for(run, latents.space), latents.places, latents.classes
        count = _count(len(places), wanted)
        places = places.expand(count, *places.shape[1:]) if len(places) == 1 else places
        if wanted and latents.space != "z":
            raise UserError("--class: in w the class is in the place already; leave it out")
        ids = torch.tensor(wanted).expand(count) if wanted else ids
        return where, places.to(run.device), None if ids is None else ids.expand(count).to(run.device)
    assert seeds is not None
    where, count = space_for(run, space), _count(len(seeds), wanted)
    many = list(seeds) * count if len(seeds) == 1 else list(seeds)
    told = wanted * count if len(wanted) == 1 else wanted or [None] * count
    places, ids = drawn(run, where, many, told)
    return where, places, ids


def _count(places: int, wanted: Sequence[object]) -> int:
    if not wanted or len(wanted) == 1 or places == 1 or places == len(wanted):
        return max(places, len(wanted))
    raise UserError(f"{len(wanted)} classes for {places} stops; give one --class, or one for each")


@torch.no_grad()
def drawn(
    run: Run, where: Space, seeds: Sequence[int], wanted: Sequence[int | None], truncation: float = 1.0
) -> tuple[Tensor, Tensor | None]:
    """The places of the first samples of seeds, as `sample` draws them, and their classes."""
    z = torch.stack([noise_at(seed, 0, run.G.z_shape, truncation) for seed in seeds]).to(run.device)
    ids = None
    if run.classes:
        counts = run.description["data"]["class_counts"]
        told = [classes_for(seed, 0, 1, counts, each) for seed, each in zip(seeds, wanted, strict=True)]
        ids = torch.cat([each for each in told if each is not None]).to(run.device)
    return where.places(z, ids), ids


@torch.no_grad()
def _pictures(
    run: Run, where: Space, places: Tensor, told: Tensor | None = None, share: Tensor | None = None
) -> Tensor:
    """uint8 (N, C, H, W) of places; `told` are class ids (N,), or (2, N) to be mixed by `share` (N,)."""
    found = []
    for start in range(0, len(places), CHUNK):
        some = slice(start, start + CHUNK)
        mixed: contextlib.AbstractContextManager = contextlib.nullcontext()
        cond = None if told is None else told[..., some]
        if cond is not None and cond.ndim == 2:
            assert share is not None
            if where.name == "z" and not torch.equal(*cond):  # in w the class is in the place
                mixed = classes_blended(run.G, len(run.classes), cond[1], share[some])
            cond = cond[0]
        with mixed:
            found.append(to_uint8(where.pictures(places[some], cond)).cpu())
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
    """Style mixing (Karras 2019, arXiv 1812.04948, sec. 3.1): seeds down the side, each with styles of those above.

    `layers` are those whose styles come from above; by default the later half. The top left cell is empty.
    """
    where, out = _styles(run, "mix"), _sheet_name(out)
    layers = _layers(where, layers) or list(range(where.layers // 2, where.layers))
    wanted = run.class_id(class_)
    (down, _), (above, _) = (drawn(run, where, seeds, [wanted] * len(seeds)) for seeds in (rows, columns))
    down, above = where.by_layer(down), where.by_layer(above)
    crossed = down[:, None].repeat(1, len(above), 1, 1)  # (rows, columns, L, S)
    crossed[:, :, layers] = above[None][:, :, layers]
    sides, tops = _pictures(run, where, down), _pictures(run, where, above)
    inner = _pictures(run, where, crossed.flatten(0, 1)).unflatten(0, crossed.shape[:2])
    lines = [torch.cat([torch.full_like(tops[:1], 128), tops])]
    lines += [torch.cat([side[None], line]) for side, line in zip(sides, inner, strict=True)]
    written = _written(out, torch.cat(lines), ["", *_seeded(rows)], ["", *_seeded(columns)])
    return written | {"layers_from_columns": layers}


def truncate(run: Run, out: str | Path, *, seeds: Sequence[int], class_: str | int | None = None) -> dict[str, Any]:
    """A row for each seed, from typical to as it comes.

    Styles move towards their mean (Karras 2018, arXiv 1812.04948, app. B: w' = mean + psi (w - mean)); a generator
    without styles hears noise whose tails are drawn again, as `sample --truncation` does (Brock 2018).
    """
    refuse_without_noise(run, "edit")
    out, where, wanted = _sheet_name(out), space_for(run), [run.class_id(class_)] * len(seeds)
    columns = []
    for level in LEVELS:
        places, ids = drawn(run, where, seeds, wanted, 1.0 if isinstance(where, Styles) else level)
        if isinstance(where, Styles):
            places = where.middle + level * (places - where.middle)
        columns.append(_pictures(run, where, places, ids))
    pictures = torch.stack(columns, 1).flatten(0, 1)
    return _written(out, pictures, _seeded(seeds), [f"{level:g}" for level in LEVELS]) | {"truncation": list(LEVELS)}


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

    `sefa` factorises the weights of the layers that a place meets first, `pca` takes what samples differ by most. The
    sheet has a row for each direction and seed, and `strength` deviations of samples to either side.
    """
    refuse_without_noise(run, "edit")
    out, where = _sheet_name(out, beside=True), space_for(run, space)
    if layers is not None and not isinstance(where, Styles):
        raise UserError("--layers: only styles go to layers apart, and these are places in z")
    chosen = _layers(where, layers) if isinstance(where, Styles) else None
    found = unlabelled(run, where, method, number, chosen)
    return _shown(run, where, found, out, strength, seeds, class_)


def attribute(
    run: Run,
    out: str | Path,
    *,
    data: str | Path | None = None,
    strength: float = 3.0,
    space: str = "auto",
    seeds: Sequence[int] = (0,),
) -> dict[str, Any]:
    """The direction towards each class of labelled images, of the run's own data or others: sheet and file as above.

    A classifier learns the classes, and says what samples are; a linear fit tells from their places what it says.
    """
    refuse_without_noise(run, "edit")
    out, where = _sheet_name(out, beside=True), space_for(run, space)
    return _shown(run, where, attributes(run, where, data), out, strength, seeds, None)


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
    """Pictures that were inverted, moved along directions that were found: a row for each of both in name.png.

    As a film, name.gif or name.mp4, they move there and back, one after another.
    """
    refuse_without_noise(run, "edit")
    out = Path(out)
    refuse_other_suffix(out)
    at = latents if isinstance(latents, Latents) else Latents.read(latents, run)
    ways = along if isinstance(along, Directions) else Directions.read(along, run)
    ways = ways if numbers is None else ways.only(numbers)
    if at.space[0] != ways.space[0]:
        raise UserError(f"the latents are places in {at.space}, and the directions lead through {ways.space}")
    where = space_for(run, at.space)
    film = out.suffix.lower() != ".png"
    steps = torch.linspace(-strength, strength, FILM if film else STOPS)
    if film:
        steps = torch.cat([steps, steps.flip(0)[1:-1]])
    places, ids = at.places.to(run.device), None if at.classes is None else at.classes.to(run.device)
    pictures = _moved(run, where, places, ids, ways, steps)
    if not film:
        names = at.names or [f"picture {index}" for index in range(len(places))]
        return _written(out, pictures, _rows(ways, names), _signed(steps))
    save_film(out, pictures, fps=fps, columns=len(steps))
    return {"written": str(out)}


def _shown(
    run: Run,
    where: Space,
    found: Directions,
    out: Path,
    strength: float,
    seeds: Sequence[int],
    class_: str | int | None,
) -> dict[str, Any]:
    """The sheet and the file of directions."""
    places, ids = drawn(run, where, seeds, [run.class_id(class_)] * len(seeds))
    steps = torch.linspace(-strength, strength, STOPS)
    pictures = _moved(run, where, places, ids, found, steps)
    kept = out.with_suffix(KEPT)
    found.save(kept)
    rows = [
        {"direction": name, "deviation": round(spread, 4)}
        for name, spread in zip(found.names, found.spread.tolist(), strict=True)
    ]
    said = _written(out, pictures, _rows(found, _seeded(seeds)), _signed(steps))
    said |= {"kept": str(kept), "directions": rows}
    return said if found.told is None else said | {"told": round(found.told, 4)}


def _moved(run: Run, where: Space, places: Tensor, ids: Tensor | None, ways: Directions, steps: Tensor) -> Tensor:
    """uint8 (directions x places x steps, C, H, W): places moved so many deviations along each direction."""
    lines = []
    for vector, spread in zip(ways.vectors.to(run.device), ways.spread, strict=True):
        push = vector * spread.to(run.device)
        for index, place in enumerate(places):
            if isinstance(where, Styles) and ways.layers:
                moved = where.by_layer(place[None]).repeat(len(steps), 1, 1)
                moved[:, ways.layers] += steps.to(run.device)[:, None, None] * push
            else:
                moved = place + steps.to(run.device).view(-1, *[1] * place.ndim) * push
            told = None if ids is None else ids[index].expand(len(steps))
            lines.append(_pictures(run, where, moved, told))
    return torch.cat(lines)


def _styles(run: Run, what: str) -> Styles:
    """Raises UserError for a generator without styles."""
    refuse_without_noise(run, "edit")
    where = space_for(run)
    if not isinstance(where, Styles):
        name = run.recipe.generator.name
        raise UserError(
            f"{run.path}: {what} crosses styles, and generator {name!r} has none; stylegan2, stylegan3 have"
        )
    return where


def _layers(where: Styles, layers: Sequence[int] | None) -> list[int] | None:
    if layers is not None and not (layers and all(0 <= each < where.layers for each in layers)):
        raise UserError(f"--layers {','.join(map(str, layers))}: this generator has layers 0-{where.layers - 1}")
    return None if layers is None else sorted(set(layers))


def _sheet_name(out: str | Path, *, beside: bool = False) -> Path:
    """Raises UserError for what is no name of a sheet, or where the directions `beside` it would go over other data."""
    out = Path(out)
    if out.suffix.lower() != ".png":
        raise UserError(f"{out}: a sheet is written as name.png")
    kept = out.with_suffix(KEPT)
    if beside and os.path.lexists(kept):
        try:
            Directions.read(kept)
        except UserError:
            raise UserError(f"{kept}: is there, and holds no directions to be replaced; choose another --out") from None
    return out


def _seeded(seeds: Sequence[int]) -> list[str]:
    return [f"seed {seed}" for seed in seeds]


def _rows(ways: Directions, places: Sequence[str]) -> list[str]:
    """What to call the rows of `_moved`: directions, and places where there are several."""
    return [f"{name}, {place}" if len(places) > 1 else name for name in ways.names for place in places]


def _signed(steps: Tensor) -> list[str]:
    return [f"{step:+.2g}" if step else "0" for step in steps.tolist()]


def _written(out: Path, pictures: Tensor, down: Sequence[str], across: Sequence[str]) -> dict[str, Any]:
    """A sheet of a row for each of `down`, a column for each of `across`."""
    write_whole(out, png(captioned(grid(pictures, len(across)), down, across)))
    return {"written": str(out)}
