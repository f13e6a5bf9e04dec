"""Images in a sequence: all in one PNG, or as a GIF or a video."""

from __future__ import annotations

import io
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from mulligan.core.errors import UserError
from mulligan.core.run import write_whole
from mulligan.kinds.pictures import grid, png

MIN_SIDE = 256  # pixels: frames with a shorter side below that are enlarged by a whole factor, at most up to it
QUALITY = "18"  # constant rate factor of H.264: no visible loss
SUFFIXES = (".png", ".gif", ".mp4")


def refuse_other_suffix(out: Path) -> None:
    """Raises UserError for a name with another suffix, or a video without ffmpeg, before anything is computed."""
    if out.suffix.lower() not in SUFFIXES:
        raise UserError(f"{out}: {out.suffix or 'no suffix'} is not written; give a name.png, name.gif or name.mp4")
    if out.suffix.lower() == ".mp4":
        _ffmpeg()


def save_film(out: Path, frames: Tensor, *, fps: float, columns: int) -> None:
    """uint8 (N, C, H, W): name.png has all in a grid, `columns` a row; name.gif and name.mp4 show one by one."""
    refuse_other_suffix(out)
    if not 0 < fps < math.inf:
        raise UserError(f"--fps {fps:g}: above 0")
    match out.suffix.lower():
        case ".png":
            write_whole(out, png(grid(frames, columns)))
        case ".gif":
            write_whole(out, _gif(_enlarged(frames), fps))
        case _:
            _mp4(out, _enlarged(frames), fps)


def _enlarged(frames: Tensor) -> list[Image.Image]:
    """RGB or grey images, every pixel a square, and both sides even, as video needs them."""
    scale = max(1, MIN_SIDE // min(frames.shape[2:]))
    scale += scale % 2 if any(side * scale % 2 for side in frames.shape[2:]) else 0
    found = []
    for frame in frames:
        whole = grid(frame[None], 1, scale)
        found.append(whole.crop((1, 1, whole.width - 1, whole.height - 1)))  # without the gutter around it
    return found


def _gif(frames: list[Image.Image], fps: float) -> bytes:
    file = io.BytesIO()
    # the format counts in hundredths of a second, and viewers slow down frames of less than two
    duration = max(20, 10 * round(100 / fps))
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:], duration=duration, loop=0)
    return file.getvalue()


def _ffmpeg() -> Any:
    try:
        import imageio_ffmpeg
    except ImportError:
        raise UserError(
            "a video needs ffmpeg, which comes with the extra `video`: pip install 'mulligan[video]'; or give name.gif"
        ) from None
    return imageio_ffmpeg


def _mp4(out: Path, frames: list[Image.Image], fps: float) -> None:
    """H.264 that every browser plays. Written under another name and then renamed, as all files are."""
    out.parent.mkdir(parents=True, exist_ok=True)
    draft = out.with_name(f".{out.stem}.{os.getpid()}.mp4")
    try:
        writer = _ffmpeg().write_frames(
            str(draft), frames[0].size, fps=fps, macro_block_size=1, quality=None,
            output_params=["-crf", QUALITY, "-movflags", "+faststart"],
        )  # fmt: skip
        writer.send(None)
        for frame in frames:
            writer.send(np.ascontiguousarray(frame.convert("RGB")))
        writer.close()
        os.replace(draft, out)
    finally:
        draft.unlink(missing_ok=True)
