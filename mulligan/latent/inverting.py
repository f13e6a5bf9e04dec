"""From photo files to points of a run's latent space, and to files of what G makes there."""

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
from mulligan.data.photos import Photo, Photos, holes_in, read_photo, split_alpha, with_channels
from mulligan.kinds.pictures import NEUTRAL, grid, picture_of, png
from mulligan.latent.files import Latents
from mulligan.latent.finding import Inverted, LatentFinder, refuse_without_latents
from mulligan.latent.search import SearchSettings
from mulligan.latent.spaces import LatentBatch
from mulligan.report.progress import ProgressLine
from mulligan.runs.run import Run

BLOCK = 32  # photos that are searched for together
ON_SHEET = 60  # photos on the contact sheet, the first ones
SHEET, LATENTS, NUMBERS = "contact-sheet.png", "latents.safetensors", "latents.json"
RINGING = 32  # of 255: what antialiasing may add next to an edge; a pixel of a scaled mask above it is part of the hole


@dataclass
class InvertedPhotos:
    """What came of photos: a row of numbers for every image that was written."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    failed: list[tuple[str, str]] = field(default_factory=list)  # photos, and why
    sheet: Path | None = None
    latents: Path | None = None
    photos: int = 0  # that were inverted
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
    note: str  # how it was brought to the size of the run's images; "" where it had it


class Answered(NamedTuple):
    """A photo, and where its answers are."""

    prepared: Prepared
    answers: list[Inverted]  # of its block
    row: int  # in each of these

    def images(self) -> list[Tensor]:
        """uint8 (C, H, W), one of each answer."""
        return [answer.images[self.row] for answer in self.answers]


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
    search: SearchSettings | None = None,
    quiet: bool = True,
) -> InvertedPhotos:
    """Find the point of the run's latent space whose image is nearest to each photo.

    Written into the folder `out`: NAME.png, what G makes there; `contact-sheet.png`, each photo next to its image;
    `latents.safetensors`, the points, for `edit`; and `latents.json`, the numbers. A photo of another size is scaled as
    training images are. One that cannot be used is in `failed`, and the others are still inverted. Files that are read
    are never overwritten.

    Args:
        photos: files, and folders, of which all images are taken.
        mask: an image of the photo's size that is white where the photo is not known, or a folder of masks, each named
            as its photo. Only the rest is searched for, and in the result it is the photo's own, bit for bit.
        shrink: the photo is what is known of an image so many times larger, and that is searched for. A photo that is
            not that small is made small first.
        samples: how many answers for each photo, from different starting points: NAME-1.png, NAME-2.png, …
        space, class_, encoder, features, seed, search: see `LatentFinder`.

    Raises:
        UserError: a run that does not make images from noise, options that do not fit it, no photos at all.
    """
    refuse_without_latents(run, "invert")
    if mask is not None and shrink != 1:
        raise UserError("--mask and --shrink are two ways in which a photo is incomplete; give one")
    if mask is not None and encoder:
        raise UserError("--encoder needs complete images; leave it out with --mask")
    out, shape = Path(out), run.sample_kind.shape
    files = Photos(photos, out, mask, own=(SHEET, LATENTS, NUMBERS))
    result, started = InvertedPhotos(failed=list(files.failed)), time.monotonic()
    found: list[Answered] = []
    with ProgressLine(0, quiet=quiet) as line:
        finder = LatentFinder(
            run, space=space, class_=class_, shrink=shrink, encoder=encoder, features=features, samples=samples,
            seed=seed, search=search, progress=lambda done, total: (line.metric("encoder"), line.count(done, total)),
        )  # fmt: skip
        line.metric("")
        for start in range(0, len(files.list), BLOCK):
            ready: list[Prepared] = []
            for photo in files.list[start : start + BLOCK]:
                try:
                    files.refuse_overwriting(photo, samples)
                    ready.append(_prepared(photo, shape, shrink, files.mask_of(photo)))
                except (UserError, OSError, RuntimeError) as error:
                    result.failed.append((photo.name, " ".join(reason(error).split())))
            for same in _by_size(ready):
                images = torch.stack([each.image for each in same])
                if shrink > 1 and images.shape[1:] == shape:
                    images = finder.made_small(images)
                holes = None if mask is None else torch.stack([h for each in same if (h := each.holes) is not None])
                answers = finder(images, holes)
                for row, (each, image) in enumerate(zip(same, images, strict=True)):
                    found.append(Answered(each._replace(image=image), answers, row))
                    result.rows += _write(run, found[-1])
            line.count(min(start + BLOCK, len(files.list)), len(files.list))
    result.photos = len(found)
    result.seconds = time.monotonic() - started
    if found:
        _finish(out, found, result)
    return result


def _prepared(photo: Photo, shape: tuple[int, ...], shrink: int, mask: Path | None) -> Prepared:
    """Read and brought to the size of the run's images. Raises UserError for a photo or a mask that cannot be used."""
    pixels = read_photo(photo.path)
    holes = None if mask is None else holes_in(mask, pixels.shape[1:])
    if holes is not None and holes.all():
        raise UserError(f"mask {mask} leaves nothing of the photo; it must be black where the photo is known")
    channels, height, width = shape
    opaque, alpha = split_alpha(pixels)
    image = with_channels(opaque, alpha if channels == 4 else None, channels)
    if alpha is not None and channels < 4:  # on white, as training images are
        opacity = alpha.float() / 255
        image = (image * opacity + 255 * (1 - opacity)).round().to(torch.uint8)
    size, small = tuple(image.shape[1:]), (height // shrink, width // shrink)
    if size in ((height, width), small):
        return Prepared(photo, image, holes, "")
    scaled = _scaled(image, height, width)
    if holes is not None:
        holes = _scaled(holes.to(torch.uint8) * 255, height, width) > RINGING
        if holes.all():
            raise UserError(f"mask {mask} leaves nothing of the photo at {width}x{height}")
    return Prepared(photo, scaled, holes, f"{size[1]}x{size[0]} {RESIZE_RULE.replace('that', 'the size')}")


def _scaled(image: Tensor, height: int, width: int) -> Tensor:
    """uint8 (C, H, W) -> (C, height, width), as training images are scaled."""
    return torch.from_numpy(fit(picture_of(image), height, width, len(image)).copy()).permute(2, 0, 1)


def _by_size(photos: list[Prepared]) -> list[list[Prepared]]:
    """Photos of one size together: there are two sizes where small ones are to be enlarged."""
    sizes = sorted({each.image.shape for each in photos}, reverse=True)
    return [[each for each in photos if each.image.shape == size] for size in sizes]


def _write(run: Run, found: Answered) -> list[dict[str, Any]]:
    """Write the images of a photo; a row of numbers for each."""
    rows, ready = [], found.prepared
    paths = ready.photo.files(len(found.answers))
    for answer, image, path in zip(found.answers, found.images(), paths, strict=True):
        write_whole(path, png(picture_of(image)))
        classes = answer.latents.classes
        row = {
            "photo": ready.photo.name,
            "picture": str(path),
            "class": None if classes is None else run.classes[int(classes[found.row])],
            "psnr": round(answer.psnr[found.row].item(), 2),
            "perceptual": round(answer.perceptual[found.row].item(), 4),
        }
        rows.append(row | ({"scaled": ready.note} if ready.note else {}))
    return rows


def _finish(out: Path, found: list[Answered], result: InvertedPhotos) -> None:
    """The contact sheet, each photo before its answers; and all points in one file, in the order of the rows."""
    cells: list[Tensor] = []
    for each in found[:ON_SHEET]:
        photo, images = each.prepared, each.images()
        known = photo.image if photo.holes is None else torch.where(photo.holes, NEUTRAL, photo.image).to(torch.uint8)
        cells += [F.interpolate(known[None], size=images[0].shape[1:], mode="nearest")[0], *images]
    group = 1 + len(found[0].answers)  # cells of one photo
    across = max(1, round((len(cells) / group / group) ** 0.5))  # photos in a row of the sheet, which is near square
    result.sheet, result.latents = out / SHEET, out / LATENTS
    write_whole(result.sheet, png(grid(torch.stack(cells), group * min(across, len(found)))))
    first = found[0].answers[0].latents
    points = [answer.latents.batch.take(slice(each.row, each.row + 1)) for each in found for answer in each.answers]
    batch = LatentBatch.cat(points)
    names = [Path(row["picture"]).stem for row in result.rows]
    Latents(first.space, batch.latents, batch.classes, first.of, names).save(result.latents)
    write_json(out / NUMBERS, {"space": first.space, "of": first.of} | result.as_dict())
