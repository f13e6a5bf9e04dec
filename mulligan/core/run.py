"""The run folder: what training leaves behind, and what everything else reads. Torch is not needed to read one.

    recipe.json      the resolved recipe          samples/000012000.png   fixed noise after 12,000 samples
    run.json         data, seed, budget, machine  checkpoints/            see engine/checkpoint.py
    stats.jsonl      one row per line, see below  tensorboard/            the same numbers as event files
    summary.json     how it stands or ended       report.html             all of it, self-contained
    evaluation.json  of `mulligan evaluate`       neighbours.png          fakes nearest to a training sample, beside it
    autoencoder.safetensors  of a run on latents

Rows of `stats.jsonl` all have `kind`, `attempt` (how often the run was rewound before), `step`, `samples` (that D has
seen so far), `lost` (samples seen before, in attempts that were given up) and `seconds` (of training so far):
`progress` (averages since the last row: `samples_per_second`, `d/...`, `g/...`), `metric` (numbers with their protocol)
and `event` (`what`: started, resumed, best, noticed, rewound, stopped; `why` in plain words).

What an older version wrote is read as `core.formats` has it; what is written is of this one.
"""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mulligan.core.errors import UserError
from mulligan.core.formats import FORMAT, upgraded, upgraded_run


def write_whole(path: Path, data: bytes) -> None:
    """Write a file so that a reader sees the old one or the new one, also after a power cut."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with draft.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
    except OSError as error:
        error.filename = error.filename or str(path)  # a full disk does not say where
        raise
    finally:
        draft.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    write_whole(path, (json.dumps(value, indent=2, allow_nan=False) + "\n").encode())


def read_json(path: Path) -> Any:
    """Raises UserError, naming the file, when it is missing or is not JSON."""
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; is {path.parent} a run folder made by `mulligan train`?") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not valid JSON ({error})") from None


class RunFolder:
    """Names and formats of a run's files."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    recipe = property(lambda self: self.path / "recipe.json")
    run = property(lambda self: self.path / "run.json")
    stats = property(lambda self: self.path / "stats.jsonl")
    summary = property(lambda self: self.path / "summary.json")
    checkpoints = property(lambda self: self.path / "checkpoints")
    samples = property(lambda self: self.path / "samples")
    tensorboard = property(lambda self: self.path / "tensorboard")
    report = property(lambda self: self.path / "report.html")
    evaluation = property(lambda self: self.path / "evaluation.json")
    neighbours = property(lambda self: self.path / "neighbours.png")
    autoencoder = property(lambda self: self.path / "autoencoder.safetensors")

    def describe(self) -> dict[str, Any]:
        """run.json, of any version that is known. Raises UserError where it is missing or of none."""
        return upgraded_run(read_json(self.run), str(self.run))

    @functools.cached_property
    def version(self) -> int:
        """The format that the folder's files were written in; that of now where there is none yet."""
        return read_json(self.run).get("format", FORMAT) if self.run.exists() else FORMAT

    def read(self, path: Path) -> Any:
        """A JSON file of the folder, as this version writes it."""
        return upgraded(read_json(path), self.version)

    def sheet(self, samples: int) -> Path:
        """Where the samples drawn after so many samples of training, lost ones included, are; names sort by age."""
        return self.samples / f"{samples:09d}.png"

    def rows(self, kind: str | None = None) -> Iterator[dict[str, Any]]:
        """Rows of `stats.jsonl`, oldest first. A last line cut off by a kill is left out."""
        if not self.stats.exists():
            return
        with self.stats.open() as file:
            for line in file:
                if line.endswith("\n"):
                    row = upgraded(json.loads(line), self.version)
                    if kind in (None, row["kind"]):
                        yield row

    def append(self, row: Mapping[str, Any]) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        try:
            with self.stats.open("a") as file:
                file.write(json.dumps(row) + "\n")
        except OSError as error:
            error.filename = str(self.stats)
            raise

    def forget_after(self, attempt: int, step: int) -> None:
        """Drop the rows that a resumed run is about to write again."""
        if self.stats.exists():
            here = (attempt, step)
            kept = [json.dumps(row) + "\n" for row in self.rows() if (row["attempt"], row["step"]) <= here]
            write_whole(self.stats, "".join(kept).encode())
