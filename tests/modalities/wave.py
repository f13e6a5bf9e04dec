"""A toy modality of rank 1 in one file: short sine waves, stored as 16-bit numbers, saved as WAV files.

Nothing in the package knows of it: `--with wave.py` is all it takes.
"""

from __future__ import annotations

import hashlib
import wave as wav
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from mulligan.core.registry import kinds, readers
from mulligan.core.sample import Sample, Writer
from mulligan.data import CheckUp, Dataset, Opening

TRAIN, HELD_OUT, LENGTH = 400, 100, 64
NOTES = ["low", "high"]


@kinds.register("wave")
@dataclass(frozen=True, kw_only=True)
class WaveSample(Sample):
    """Sound, (channels, time)."""

    kind: ClassVar[str] = "wave"
    noun: ClassVar[str] = "waves"
    axes: ClassVar[str] = "L"
    stored: ClassVar[str] = "int16"
    on_sheet: ClassVar[int] = 6

    shape: tuple[int, int]  # channels, numbers a channel
    rate: int = 8000  # numbers a second

    def to_net(self, records: Tensor) -> Tensor:
        return records.float() / 32767

    def to_records(self, samples: Tensor) -> Tensor:
        return (samples.float().clamp(-1, 1) * 32767).round().to(torch.int16)

    def sheet(self, records: Tensor, columns: int | None = None) -> Image.Image:
        """One line a wave."""
        picture = Image.new("RGB", (4 * records.shape[-1], 40 * len(records)), "white")
        pen = ImageDraw.Draw(picture)
        for row, record in enumerate(records[:, 0].tolist()):
            pen.line([(4 * x, 40 * row + 20 - y / 32767 * 18) for x, y in enumerate(record)], "black")
        return picture

    def formats(self) -> dict[str, tuple[str, Writer]]:
        return {**super().formats(), ".wav": ("all of them, one after another", self._write_wav)}

    def _write_wav(self, out: Path, records: Tensor, labels: Tensor | None) -> None:
        with wav.open(str(out), "wb") as file:
            file.setnchannels(self.shape[0])
            file.setsampwidth(2)
            file.setframerate(self.rate)
            file.writeframes(records.permute(0, 2, 1).contiguous().numpy().tobytes())


@readers.register("waves", kinds={"wave"}, names=["waves"])
def waves(
    spec: str,
    opening: Opening,
    *,
    stereo: bool = False,  # two channels, the second half as loud
    labels: bool = False,  # low and high notes are classes
) -> Dataset:
    """Low and high notes."""
    rng = np.random.default_rng(0)
    note = rng.integers(2, size=TRAIN + HELD_OUT)
    phase = rng.uniform(0, 2 * np.pi, (len(note), 1))
    mono = 0.8 * np.sin(2 * np.pi * np.array([2, 7])[note][:, None] * np.arange(LENGTH) / LENGTH + phase)
    records = (32767 * np.stack([mono, mono / 2][: 1 + stereo], 1)).astype(np.int16)
    names = NOTES if labels else []
    return Dataset(
        name=spec,
        sample=WaveSample(shape=records.shape[1:]),
        rows=lambda indices: torch.from_numpy(records[indices]),
        train=np.arange(TRAIN),
        heldout=np.arange(TRAIN, TRAIN + HELD_OUT),
        fingerprint=hashlib.blake2b(records.tobytes() + bytes(labels), digest_size=16).hexdigest(),
        checkup=CheckUp(
            source="waves", path=spec, bytes=records.nbytes, files=len(note), samples=len(note),
            shape={"channels": 1 + stereo, "length": LENGTH}, train=TRAIN, heldout=HELD_OUT,
            classes=dict(zip(names, np.bincount(note).tolist(), strict=True)) if labels else {},
            plan=[f"see {TRAIN} waves"],
        ),
        classes=names,
        labels=note if labels else None,
    )  # fmt: skip
