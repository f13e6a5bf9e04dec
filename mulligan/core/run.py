"""The run folder: the files that training writes and everything else reads. Reading them does not need torch.

    recipe.json      the resolved recipe          samples/000012000.png   fixed noise after 12,000 samples
    run.json         data, seed, budget, machine  checkpoints/            see engine/checkpoint.py
    stats.jsonl      one row per line, see below  tensorboard/            the same numbers as event files
    summary.json     current state or end         report.html             all of it, self-contained
    evaluation.json  of `mulligan evaluate`       neighbours.png          fakes and their nearest training samples
    autoencoder.safetensors  of a run on latents

Every row of `stats.jsonl` has `kind`, `attempt` (number of rewinds before it), `step`, `samples` (that D has seen so
far), `lost` (samples of attempts that were rewound) and `seconds` (of training so far). The kinds are `progress`
(averages since the last row: `samples_per_second`, `d/...`, `g/...`), `metric` (numbers with their protocol) and
`event` (`what`: started, resumed, best, noticed, rewound, stopped; `why`: the reason in words).

Files of older versions are converted when they are read (`core.formats`). Files are written in the current version.
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
    """Write a file atomically: a reader sees the old file or the new one, even after a power failure."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with draft.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
    except OSError as error:
        error.filename = error.filename or str(path)  # the error of a full disk names no file
        raise
    finally:
        draft.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    write_whole(path, (json.dumps(value, indent=2, allow_nan=False) + "\n").encode())


def read_json(path: Path) -> Any:
    """Raises UserError, naming the file, when it is missing or is not JSON."""
    try:
        return json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; is {path.parent} a run folder made by `mulligan train`?") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not valid JSON ({error})") from None


class RunFolder:
    """Paths and formats of a run's files."""

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
        """run.json, converted to the current version. Raises UserError if it is missing or of an unknown version."""
        return upgraded_run(read_json(self.run), str(self.run))

    @functools.cached_property
    def version(self) -> int:
        """The format of the folder's files; the current one if there are none yet."""
        return read_json(self.run).get("format", FORMAT) if self.run.exists() else FORMAT

    def read(self, path: Path) -> Any:
        """A JSON file of the folder, converted to the current version."""
        return upgraded(read_json(path), self.version)

    def sheet(self, samples: int) -> Path:
        """The sheet drawn after `samples` samples of training, lost ones included; names sort by age."""
        return self.samples / f"{samples:09d}.png"

    def rows(self, kind: str | None = None) -> Iterator[dict[str, Any]]:
        """Rows of `stats.jsonl`, oldest first. An incomplete last line, from a killed process, is skipped."""
        if not self.stats.exists():
            return
        with self.stats.open("rb") as file:
            for number, line in enumerate(file, 1):
                if line.endswith(b"\n"):
                    try:
                        row = upgraded(json.loads(line), self.version)
                        wanted = kind in (None, row["kind"])
                    except (ValueError, TypeError, KeyError) as error:
                        raise UserError(f"{self.stats}: line {number} is damaged ({error}); remove it") from None
                    if wanted:
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
        """Remove the rows that a resumed run is about to write again."""
        if self.stats.exists():
            here = (attempt, step)
            earlier = [json.dumps(row) + "\n" for row in self.rows() if (row["attempt"], row["step"]) <= here]
            write_whole(self.stats, "".join(earlier).encode())
