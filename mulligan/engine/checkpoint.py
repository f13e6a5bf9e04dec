"""Checkpoints are data: tensors in safetensors, the rest in JSON, nothing ever unpickled.

`NAME.safetensors` is written first and `NAME.json`, which holds its digest, after it: the JSON is the proof that the
pair is whole. Both are written to a temporary name, synced and renamed, so that a kill or a full disk at any moment
leaves the previous pair as it was. The tensor file depends on the weights alone: equal weights are equal bytes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from mulligan.core.errors import UserError
from mulligan.core.formats import FORMAT, upgraded
from mulligan.core.run import write_json, write_whole

KEEP = 2  # step checkpoints that are kept: the last, and one to fall back to
BEST = "best"


@dataclass(frozen=True)
class Checkpoint:
    tensors: dict[str, Tensor]  # "g.…", "d.…", "ema.…", "memory.g.…", "optimizer.g.0.…", …: see `loop.tensors_of`
    state: dict[str, Any]  # fields of `loop.State`


def write(folder: Path, name: str, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
    """Write one checkpoint whole. Raises OSError (full disk, read-only folder), leaving older ones untouched."""
    data = save({key: tensor.detach().cpu().contiguous() for key, tensor in sorted(tensors.items())})
    write_whole(folder / f"{name}.safetensors", data)
    write_json(folder / f"{name}.json", {"digest": _digest(data), "format": FORMAT, **state})


def read(path: Path) -> Checkpoint:
    """Read `NAME.safetensors` and the JSON beside it. Raises UserError, naming the file, unless both are whole.

    What an older version wrote is read as if this one had: see `core.formats`.
    """
    try:
        data = path.read_bytes()
        state = json.loads(path.with_suffix(".json").read_text())
        tensors = load(data)
    except FileNotFoundError as error:
        raise UserError(f"{error.filename}: no such checkpoint file") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path.with_suffix('.json')}: not valid JSON ({error})") from None
    except SafetensorError as error:
        raise UserError(f"{path}: not a whole safetensors file ({error})") from None
    if not isinstance(state, dict) or state.pop("digest", None) != _digest(data):
        raise UserError(f"{path}: its contents do not match the digest in {path.with_suffix('.json').name}")
    return Checkpoint(tensors, upgraded(state, state.pop("format", 1)))  # the first format was not written down


def write_step(folder: Path, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
    """Write the checkpoint of a state's step, then prune all but the newest `KEEP`.

    Names sort by attempt, then by step: what follows a rewind is newer than all that came before it.
    """
    write(folder, f"step-{state['attempt']:02d}-{state['step']:09d}", tensors, state)
    for old in step_files(folder)[:-KEEP]:
        old.with_suffix(".json").unlink(missing_ok=True)  # the proof first
        old.unlink(missing_ok=True)


def write_restore_point(
    folder: Path, points: Sequence[Mapping[str, Any]], tensors: Mapping[str, Tensor], state: Mapping[str, Any]
) -> None:
    """Write the last of `points`, where a game was healthy, and prune all files of points that are not among them."""
    write(folder, restore_point_name(points[-1]), tensors, state)
    names = {restore_point_name(point) for point in points}
    for old in folder.glob("good-*.safetensors"):
        if old.stem not in names:
            old.with_suffix(".json").unlink(missing_ok=True)
            old.unlink(missing_ok=True)


def restore_point_name(point: Mapping[str, Any]) -> str:
    """The name of a restore point's checkpoint."""
    return f"good-{point['attempt']:02d}-{point['samples']:012d}"


def step_files(folder: Path) -> list[Path]:
    """Tensor files of step checkpoints, oldest first."""
    return sorted(folder.glob("step-*.safetensors"))


def read_last(folder: Path) -> tuple[Checkpoint | None, list[str]]:
    """The newest whole step checkpoint (None if there is none), and why newer ones were passed over."""
    passed_over: list[str] = []
    for path in reversed(step_files(folder)):
        try:
            return read(path), passed_over
        except UserError as error:
            passed_over.append(str(error))
    return None, passed_over


def sweep(folder: Path) -> None:
    """Remove temporary files that a killed writer left."""
    for draft in folder.glob(".*.tmp"):
        draft.unlink(missing_ok=True)


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def flatten(prefix: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}.{name}": tensor for name, tensor in state.items()}


def unflatten(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(f"{prefix}."): t for name, t in tensors.items() if name.startswith(f"{prefix}.")}
