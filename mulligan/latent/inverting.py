"""Photos of one's own as places in a model's latent space: from files to files."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from mulligan.core.errors import UserError
from mulligan.core.run import write_json, write_whole
from mulligan.data.decode import RESIZE_RULE, fit, reason
from mulligan.data.photos import Photo, Photos, holes_in, read_photo, with_channels
from mulligan.kinds.pictures import NEUTRAL, as_array, as_image, grid, png
from mulligan.latent.finding import Finder, Inverted, Latents, refuse_without_noise
from mulligan.latent.search import Search
from mulligan.report.progress import ProgressLine
from mulligan.runs.run import Run

BLOCK = 32  # photos that are searched for together
ON_SHEET = 60  # photos of the contact sheet, the first ones
SHEET, LATENTS, NUMBERS = "contact-sheet.png", "latents.safetensors", "latents.json"
RIPPLE = 32  # of 255: what antialiasing may add beside an edge; a mask's pixel above it has some of the hole in it


@dataclass
class Placed:
    """What came of photos: a row of numbers for every picture that was written."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    failed: list[tuple[str, str]] = field(default_factory=list)  # photos, and why
    sheet: Path | None = None
    latents: Path | None = None
    photos: int = 0
    seconds: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return {
            "pictures": self.rows,
            "failed": [{"photo": name, "why": why} for name, why in self.failed],
            "sheet": self.sheet and str(self.sheet),
            "latents": self.latents and str(self.latents),
            "photos": self.photos,
            "seconds_per_image": round(self.seconds / self.photos, 3) if self.photos else None,
        }


class Prepared(NamedTuple):
    """A photo that can be searched for."""

    photo: Photo
    image: Tensor  # uint8 (C, h, w)
    holes: Tensor | None  # bool (1, h, w)
    note: str  # how it was brought to the run's size


def invert(
    run: Run,
    photos: Sequence[str | Path],
    out: str | Path,
    *,
    mask: str | Path | None = None,
    shrink: int = 1,
    space: str = "auto",
    class_: str | int | None = None,
    encoder: bool = False,
    features: str = "random",
    samples: int = 1,
    seed: int = 0,
    search: Search | None = None,
    quiet: bool = True,
) -> Placed:
    """The place in the run's latent space whose picture is nearest to each photo, and that picture.

    Into the folder `out` go NAME.png, what G makes; `contact-sheet.png`, photos beside that; `latents.safetensors`, the
    places, for `edit`; and `latents.json`, the numbers. A photo of another size is scaled as training images are. One
    that cannot be used is in `failed`, and others go on. Nothing that is read is ever written over.

    Args:
        photos: files, and folders whose images are all meant.
        mask: an image as large as the photo that is white where the photo is not known, or a folder of such, each by
            the name of its photo: the rest alone is searched for, and comes back bit for bit.
        shrink: the photo is what one knows of a picture so many times larger, which is searched for; a photo that is
            not that small is made so first.
        samples: how many answers for each, from other starts: NAME-1.png, NAME-2.png, …
        space, class_, encoder, features, seed, search: see `Finder`.

    Raises:
        UserError: a run that makes no pictures from noise, options that do not fit it, no photos at all.
    """
    refuse_without_noise(run, "invert")
    if mask is not None and shrink != 1:
        raise UserError("--mask and --shrink say two ways in which a photo is incomplete; give one")
    if mask is not None and encoder:
        raise UserError("--encoder reads whole pictures; leave it out with --mask")
    out, shape = Path(out), tuple(run.description["data"]["shape"])
    where = Photos(photos, out, mask, own=(SHEET, LATENTS, NUMBERS))
    result, started = Placed(failed=list(where.failed)), time.monotonic()
    found: list[tuple[Prepared, list[Inverted], int]] = []  # a photo, the answers of its block, and where in these
    with ProgressLine(0, quiet=quiet) as line:
        finder = Finder(
            run, space=space, class_=class_, shrink=shrink, encoder=encoder, features=features, samples=samples,
            seed=seed, search=search, progress=lambda done, total: (line.metric("encoder"), line.count(done, total)),
        )  # fmt: skip
        line.metric("")
        for start in range(0, len(where.list), BLOCK):
            ready: list[Prepared] = []
            for photo in where.list[start : start + BLOCK]:
                try:
                    where.refuse_to_write_over(photo, samples)
                    ready.append(_prepared(photo, shape, shrink, where.mask_of(photo)))
                except (UserError, OSError, RuntimeError) as error:
                    result.failed.append((photo.name, " ".join(reason(error).split())))
            for same in _alike(ready):
                images = torch.stack([each.image for each in same])
                if shrink > 1 and images.shape[1:] == shape:
                    images = finder.made_small(images)
                holes = None if mask is None else torch.stack([h for each in same if (h := each.holes) is not None])
                answers = finder(images, holes)
                shown = [each._replace(image=image) for each, image in zip(same, images, strict=True)]
                found += [(each, answers, index) for index, each in enumerate(shown)]
                _write(run, shown, answers, result)
            line.count(min(start + BLOCK, len(where.list)), len(where.list))
    result.photos = len(found)
    result.seconds = time.monotonic() - started
    if found:
        _finish(out, found, result)
    return result


def _prepared(photo: Photo, shape: tuple[int, ...], shrink: int, mask: Path | None) -> Prepared:
    """Read and brought to the run's size. Raises UserError for a photo or a mask that cannot be."""
    pixels = read_photo(photo.path)
    holes = None if mask is None else holes_in(mask, pixels.shape[1:])
    if holes is not None and holes.all():
        raise UserError(f"mask {mask} leaves nothing of the photo; it is to be black where the photo is known")
    channels, height, width = shape
    opaque, alpha = (pixels[:-1], pixels[-1:]) if len(pixels) in (2, 4) else (pixels, None)
    image = with_channels(opaque, alpha if channels == 4 else None, channels)
    if alpha is not None and channels < 4:  # on white, as training images are
        over = alpha.float() / 255
        image = (image * over + 255 * (1 - over)).round().to(torch.uint8)
    size, small = tuple(image.shape[1:]), (height // shrink, width // shrink)
    if size in ((height, width), small):
        return Prepared(photo, image, holes, "")
    scaled = _scaled(image, height, width)
    if holes is not None:
        holes = _scaled(holes.to(torch.uint8) * 255, height, width) > RIPPLE
        if holes.all():
            raise UserError(f"mask {mask} leaves nothing of the photo at {width}x{height}")
    return Prepared(photo, scaled, holes, f"{size[1]}x{size[0]} {RESIZE_RULE.replace('that', 'the size')}")


def _scaled(image: Tensor, height: int, width: int) -> Tensor:
    """uint8 (C, H, W) -> (C, height, width), as training images are scaled."""
    picture = as_image(as_array(image[None])[0])
    return torch.from_numpy(fit(picture, height, width, len(image)).copy()).permute(2, 0, 1)


def _alike(photos: list[Prepared]) -> list[list[Prepared]]:
    """Those of one size together: full ones and, where they are to be enlarged, small ones."""
    sizes = sorted({each.image.shape for each in photos}, reverse=True)
    return [[each for each in photos if each.image.shape == size] for size in sizes]


def _write(run: Run, photos: list[Prepared], answers: list[Inverted], result: Placed) -> None:
    """The pictures of a block, and a row of numbers for each."""
    for index, ready in enumerate(photos):
        for answer, path in zip(answers, ready.photo.files(len(answers)), strict=True):
            write_whole(path, png(as_image(as_array(answer.pictures[index][None])[0])))
            classes = answer.latents.classes
            result.rows.append(
                {
                    "photo": ready.photo.name,
                    "picture": str(path),
                    "class": None if classes is None else run.classes[int(classes[index])],
                    "psnr": round(answer.psnr[index].item(), 2),
                    "perceptual": round(answer.apart[index].item(), 4),
                }
                | ({"scaled": ready.note} if ready.note else {})
            )


def _finish(out: Path, found: list[tuple[Prepared, list[Inverted], int]], result: Placed) -> None:
    """The contact sheet, a photo before its answers; all places in one file, in the order of the rows."""
    cells: list[Tensor] = []
    for photo, answers, index in found[:ON_SHEET]:
        pictures = [answer.pictures[index] for answer in answers]
        size = pictures[0].shape[1:]
        known = photo.image if photo.holes is None else torch.where(photo.holes, NEUTRAL, photo.image).to(torch.uint8)
        cells += [F.interpolate(known[None], size=size, mode="nearest")[0], *pictures]
    each = 1 + len(found[0][1])
    across = max(1, round((len(cells) / each / each) ** 0.5))  # photos beside one another, so that it is near square
    result.sheet, result.latents = out / SHEET, out / LATENTS
    write_whole(result.sheet, png(grid(torch.stack(cells), each * min(across, len(found)))))
    first = found[0][1][0].latents
    answered = [(answer, index) for _, answers, index in found for answer in answers]
    Latents(
        first.space,
        torch.stack([answer.latents.places[index] for answer, index in answered]),
        None if first.classes is None else torch.stack([a.latents.classes[i] for a, i in answered]),  # type: ignore[index]
        first.of,
        [Path(row["picture"]).stem for row in result.rows],
    ).save(result.latents)
    write_json(out / NUMBERS, {"space": first.space, "of": first.of} | result.as_dict())
