"""A modality is one file: two toys are trained, judged, looked at, saved and reported with nothing else touched."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import wave as wav
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

HERE = Path(__file__).parent / "modalities"


def mulligan(*words: object, folder: Path) -> subprocess.CompletedProcess:
    """The command line in a process of its own: what a toy registers must not stay."""
    command = [sys.executable, "-m", "mulligan", *map(str, words)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, env={**os.environ})


def done(*words: object, folder: Path) -> str:
    result = mulligan(*words, folder=folder)
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.parametrize(
    ("toy", "data", "settings", "suffix", "noun"),
    [
        ("wave.py", "waves", ["--read", "stereo=true", "--labels"], ".wav", "waves"),
        ("wave.py", "waves", ["--set", "augment=none"], ".wav", "waves"),
        ("clip.py", "dots", [], ".gif", "clips"),
    ],
)
def test_a_modality_is_one_file(
    tmp_path: Path, toy: str, data: str, settings: list[str], suffix: str, noun: str
) -> None:
    bring = ["--with", HERE / toy]
    checked = json.loads(done("inspect", data, *bring, "--json", folder=tmp_path))
    assert checked["samples"] == checked["train"] + checked["heldout"]
    summary = json.loads(
        done(
            "train", data, *bring, *settings, "--samples", 640, "--set", "batch=16", "--out", "run", "--json",
            "--quiet", folder=tmp_path,
        )
    )  # fmt: skip
    assert summary["status"] == "finished" and summary["samples_seen"] == 640
    assert {"kid", "coverage"} <= summary["metrics"].keys() and summary["protocol"]["noun"] == noun

    # no --with any more: the run knows the file
    assert done("sample", "run", "-n", 20, "--out", f"made{suffix}", folder=tmp_path).strip() == f"made{suffix}"
    done("sample", "run", "-n", 20, "--out", "made.npz", folder=tmp_path)
    done("sample", "run", "-n", 20, "--out", "sheet.png", folder=tmp_path)
    made = np.load(tmp_path / "made.npz")[noun]
    assert len(made) == 20 and made.std() > 0
    if suffix == ".wav":
        with wav.open(str(tmp_path / "made.wav")) as file:
            assert (file.getnchannels(), file.getframerate(), file.getnframes()) == (made.shape[1], 8000, 20 * 64)
    else:
        assert Image.open(tmp_path / "made.gif").n_frames == 4

    judged = json.loads(done("evaluate", "run", "--json", "--quiet", folder=tmp_path))
    assert judged["protocol"]["noun"] == noun and "kid" in judged["metrics"] and "copied" in judged["metrics"]
    assert any("image samples" in note for note in judged["notes"]), "measures of pictures are left out, and say so"
    assert Image.open(tmp_path / "run" / "neighbours.png").size[0] > 20
    page = (tmp_path / "run" / "report.html").read_text()
    assert noun in page and "data:image/png" in page
    assert "finished" in done("diagnose", "run", folder=tmp_path)

    again = done(
        "train", data, *bring, *settings, "--samples", 640, "--set", "batch=16", "--out", "run", "--quiet",
        folder=tmp_path,
    )  # fmt: skip
    assert "finished" in again


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (
            ["train", "waves", "--recipe", "dcgan"],
            "'dcgan' is for image samples, and these are waves of 1x64",
        ),
        (["train", "waves", "--set", "augment=ada"], "augmentation 'ada' is for image samples"),
        (["train", "waves", "--task", "inpaint"], "task 'inpaint' is for image samples"),
        (["train", "waves", "--features", "digits"], "feature net 'digits' is for image samples"),
        (["train", "waves", "--autoencoder", "self"], "--autoencoder is for image samples"),
        (["train", "waves", "--size", "32"], "unknown option of waves, which the reader 'waves' opens: 'size'"),
    ],
)
def test_what_is_only_for_images_says_so(tmp_path: Path, words: list[str], why: str) -> None:
    result = mulligan(*words, "--samples", 32, "--with", HERE / "wave.py", "--quiet", folder=tmp_path)
    assert result.returncode == 2 and why in result.stderr and result.stderr.count("\n") == 1, result.stderr
    assert not (tmp_path / "runs").exists()


def test_what_is_only_for_images_refuses_a_run_of_waves(tmp_path: Path) -> None:
    bring = ["--with", HERE / "wave.py"]
    done("train", "waves", *bring, "--samples", 64, "--out", "run", "--quiet", folder=tmp_path)
    Image.new("L", (8, 8)).save(tmp_path / "photo.png")
    for words in (
        ["invert", "run", "photo.png", "--out", "found"],
        ["edit", "interpolate", "run", "--seeds", "0-2", "--out", "walk.gif"],
        ["apply", "run", "photo.png", "--out", "found"],
        ["study", "run"],
        ["sample", "run", "--out", "folder/"],
    ):
        result = mulligan(*words, folder=tmp_path)
        assert result.returncode == 2 and result.stderr.count("\n") == 1, (words, result.stderr)
