"""Checkpoints: whole or not there, fallen back from when damaged, never unpickled."""

from __future__ import annotations

import json
import os
import pickle
import struct
from pathlib import Path

import pytest
import torch

from mulligan.core.errors import UserError
from mulligan.engine import checkpoint

TENSORS = {"G.w": torch.arange(6.0).reshape(2, 3), "D.b": torch.tensor([1, 2])}


def test_round_trip_and_bytes_depend_on_weights_alone(tmp_path: Path) -> None:
    checkpoint.write(tmp_path, "a", TENSORS, {"step": 3, "seconds": 1.5})
    checkpoint.write(tmp_path, "b", dict(reversed(TENSORS.items())), {"step": 3, "seconds": 99.0})
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    back = checkpoint.read(tmp_path / "a.safetensors")
    assert back.state == {"step": 3, "seconds": 1.5}
    assert all(torch.equal(back.tensors[name], TENSORS[name]) for name in TENSORS)


def test_only_the_newest_are_kept(tmp_path: Path) -> None:
    for step in (1, 2, 3, 10):
        checkpoint.write_step(tmp_path, TENSORS, {"attempt": 0, "step": step})
    assert [p.name for p in checkpoint.step_files(tmp_path)] == [
        "step-00-000000003.safetensors",
        "step-00-000000010.safetensors",
    ]
    assert len(list(tmp_path.iterdir())) == 4
    checkpoint.write_step(tmp_path, TENSORS, {"attempt": 1, "step": 2})
    found, _ = checkpoint.read_last(tmp_path)
    assert found is not None and found.state["attempt"] == 1, "what follows a rewind is newer than all before it"


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-3])


def flipped(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def without_proof(path: Path) -> None:
    path.with_suffix(".json").unlink()


def half_proof(path: Path) -> None:
    proof = path.with_suffix(".json")
    proof.write_text(proof.read_text()[:10])


def pickled(path: Path) -> None:
    path.write_bytes(pickle.dumps({"G.w": Bomb()}))


def huge_header(path: Path) -> None:
    path.write_bytes(struct.pack("<Q", 1 << 40) + path.read_bytes()[8:])


class Bomb:
    def __reduce__(self) -> tuple:
        return os.mkdir, ("bomb-went-off",)


DAMAGES = [truncated, flipped, emptied, without_proof, half_proof, pickled, huge_header]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_falls_back_to_the_one_before(
    tmp_path: Path, damage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for step in (1, 2):
        checkpoint.write_step(tmp_path, TENSORS, {"attempt": 0, "step": step})
    damage(tmp_path / "step-00-000000002.safetensors")
    found, passed_over = checkpoint.read_last(tmp_path)
    assert found is not None and found.state == {"attempt": 0, "step": 1}
    assert len(passed_over) == 1 and "step-00-000000002" in passed_over[0] and "\n" not in passed_over[0]
    assert not (tmp_path / "bomb-went-off").exists()


def test_a_full_disk_leaves_the_last_checkpoint_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint.write_step(tmp_path, TENSORS, {"attempt": 0, "step": 1})

    def no_space(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(OSError, match="No space left"):
        checkpoint.write_step(tmp_path, TENSORS, {"attempt": 0, "step": 2})
    found, passed_over = checkpoint.read_last(tmp_path)
    assert found is not None and found.state == {"attempt": 0, "step": 1} and not passed_over
    assert sorted(p.name for p in tmp_path.iterdir()) == ["step-00-000000001.json", "step-00-000000001.safetensors"]


def test_temporary_files_of_a_killed_writer_are_removed(tmp_path: Path) -> None:
    (tmp_path / ".step-00-000000001.safetensors.77.tmp").write_bytes(b"half")
    checkpoint.sweep(tmp_path)
    assert not list(tmp_path.iterdir())


def test_nothing_there(tmp_path: Path) -> None:
    assert checkpoint.read_last(tmp_path) == (None, [])
    with pytest.raises(UserError, match="no such checkpoint"):
        checkpoint.read(tmp_path / "best.safetensors")


def test_the_proof_is_json(tmp_path: Path) -> None:
    checkpoint.write(tmp_path, "a", TENSORS, {"step": 3})
    assert set(json.loads((tmp_path / "a.json").read_text())) == {"digest", "format", "step"}


def test_what_an_older_version_wrote_has_the_names_of_this_one(tmp_path: Path) -> None:
    checkpoint.write(tmp_path, "a", TENSORS, {"step": 3, "images": 24, "moved": 0.1, "goods": [{"images": 8}]})
    proof = json.loads((tmp_path / "a.json").read_text())
    del proof["format"]
    (tmp_path / "a.json").write_text(json.dumps(proof))
    state = checkpoint.read(tmp_path / "a.safetensors").state
    assert state == {"step": 3, "samples": 24, "strength_offset": 0.1, "restore_points": [{"samples": 8}]}
