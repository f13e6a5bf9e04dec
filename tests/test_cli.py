"""The command line: quick, its words fixed, and one line for what the user did wrong."""

from __future__ import annotations

import json
import os
import pickle
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import click
import pytest

from mulligan.cli import cli

READ = {"size", "labels", "channels", "max_bad", "assignments"}  # how data are read
VERBS = {
    "train": {
        "data", "other", "out", "recipe", "task", "minutes", "samples", "epochs", "converge", "seed", "changes",
        "features", "device", "guard", "dry_run", "as_json", "quiet", "autoencoder", *READ,
    },
    "sample": {"run", "n", "seed", "class_", "truncation", "out", "which", "device"},
    "evaluate": {
        "what", "data", "groups", "features", "split", "samples", "seed", "which", "device", "as_json", "quiet", *READ,
    },
    "compare": {
        "whats", "data", "features", "split", "samples", "seed", "which", "device", "as_json", "quiet", *READ,
    },
    "study": {
        "run", "data", "test", "ratios", "seeds", "steps", "write", "which", "device", "as_json", "quiet",
    },
    "apply": {
        "run", "photos", "out", "mask", "mask_colour", "direction", "samples", "seed", "which", "device", "as_json",
        "quiet",
    },
    "invert": {
        "run", "photos", "out", "mask", "shrink", "samples", "space", "class_", "encoder", "steps", "starts",
        "features", "perceptual", "seed", "which", "device", "as_json", "quiet",
    },
    "edit": {
        "interpolate": {
            "run", "out", "seeds", "latents", "classes", "space", "frames", "loop", "fps", "which", "device", "as_json",
        },
        "mix": {"run", "out", "rows", "columns", "layers", "class_", "which", "device", "as_json"},
        "truncate": {"run", "out", "seeds", "class_", "which", "device", "as_json"},
        "directions": {
            "run", "out", "method", "number", "strength", "space", "layers", "seeds", "class_", "which", "device",
            "as_json",
        },
        "attribute": {"run", "out", "data", "strength", "space", "seeds", "which", "device", "as_json"},
        "move": {
            "run", "out", "latents", "along", "numbers", "strength", "fps", "which", "device", "as_json",
        },
    },
    "diagnose": {"run", "as_json"},
    "inspect": {"data", "pairs", "as_json", *READ},
    "zoo": {"names", "find", "as_json"},
    "parts": {"kind", "name", "as_json", "markdown"},
    "completion": {"shell"},
}  # fmt: skip


def mulligan(*words: str | Path, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "mulligan", *map(str, words)],
        capture_output=True, text=True, timeout=120, env={**os.environ, **environment},
    )  # fmt: skip


def words_of(command: click.Command) -> set[str | None] | dict[str, Any]:
    """What a verb takes, apart from --with; of a group, what each of its verbs takes."""
    if isinstance(command, click.Group):
        return {name: words_of(each) for name, each in command.commands.items()}
    return {p.name for p in command.params} - {"with"}


def test_verbs_and_options_are_fixed() -> None:
    assert words_of(cli) == VERBS


def test_every_verb_that_uses_parts_takes_files_of_parts() -> None:
    for name, command in cli.commands.items():
        verbs = command.commands.values() if isinstance(command, click.Group) else [command]
        for verb in verbs:
            assert any("--with" in p.opts for p in verb.params) == (name != "completion"), verb.name


def test_a_count_of_samples_may_be_called_images() -> None:
    (option,) = (p for p in cli.commands["train"].params if p.name == "samples")
    assert option.opts == ["--samples", "--images"]


def test_every_option_is_explained() -> None:
    for command in cli.commands.values():
        assert command.help
        for each in command.commands.values() if isinstance(command, click.Group) else ():
            assert each.help


@pytest.mark.parametrize(
    "asked, spins",
    [({}, "1000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "active"}, "None")],
)
def test_threads_wait_as_asked_or_briefly(asked: dict[str, str], spins: str) -> None:
    code = "import sys, os, mulligan; assert 'torch' not in sys.modules; print(os.environ.get('GOMP_SPINCOUNT'))"
    environment = {key: value for key, value in os.environ.items() if key != "GOMP_SPINCOUNT"} | asked
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.stdout.split() == [spins]


def test_help_is_quick_and_needs_no_torch() -> None:
    code = "import sys, mulligan.cli as c; c.cli(['--help'], standalone_mode=False); assert 'torch' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0
    times = []
    for _ in range(5):
        started = time.monotonic()
        assert mulligan("--help").returncode == 0
        times.append(time.monotonic() - started)
    assert min(times) < 0.4


def one_line(result: subprocess.CompletedProcess) -> str:
    assert result.returncode == 2, (result.stdout, result.stderr)
    assert len(result.stderr.strip().splitlines()) == 1, result.stderr
    assert "Traceback" not in result.stderr
    return result.stderr


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["train", "digtis"], "digits"),
        (["train", "/nowhere/at/all"], "/nowhere/at/all"),
        (["train", "digits", "--recipe", "dcgam"], "did you mean 'dcgan'"),
        (["train", "digits", "--set", "generator.widht=3"], "did you mean 'width'"),
        (["train", "digits", "--set", "generator"], "--set generator.width=128"),
        (["train", "digits", "--minutes", "0"], "positive"),
        (["train", "digits", "--minutes", "soon"], "valid float"),
        (["train", "digits", "--device", "tpu"], "cpu"),
        (["train", "digits", "--features", "inceptoin", "--samples", "8"], "inception"),
        (["train", "digits", "--size", "0x3"], "0x3"),
        (["train", "digits", "--read", "siez=3"], "did you mean 'size'"),
        (["train", "digits", "--read", "size"], "--read size=64"),
        (["train", "digits", "--out", "/proc/nothing/here", "--samples", "8"], "/proc/nothing"),
        (["train"], "DATA"),
        (["trian", "digits"], "trian"),
        (["sample", "/nowhere"], "/nowhere"),
        (["evaluate", "/tmp"], "run.json"),
        (["zoo", "dcgam"], "dcgan"),
        (["inspect", "/nowhere"], "/nowhere"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_the_user_did_wrong_is_one_line(words: list[str], complaint: str, tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "mulligan", *words], capture_output=True, text=True, timeout=120, cwd=tmp_path
    )
    assert complaint in one_line(result)
    assert not list(tmp_path.iterdir()), "nothing is written for a command that cannot run"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("cli") / "run"
    result = mulligan(
        "train", "digits", "--samples", "32", "--out", out, "--set", "batch=8", "--set", "generator.width=8", "--json"
    )
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["samples_seen"] == 32
    return out


@pytest.mark.parametrize("out", ["grid.png", "folder", "samples.npz"])
def test_sample_writes_what_its_name_says(run: Path, out: str, tmp_path: Path) -> None:
    result = mulligan("sample", run, "-n", "12", "--out", tmp_path / out)
    assert result.returncode == 0, result.stderr
    assert (tmp_path / out).exists()


def test_evaluate_prints_json(run: Path) -> None:
    result = json.loads(mulligan("evaluate", run, "--json", "--samples", "50").stdout)
    assert (
        set(result) == {"metrics", "intervals", "classes", "closest", "says", "notes", "protocol"}
        and result["protocol"]["num_fake"] == 50
    )


def test_a_dry_run_predicts_and_writes_nothing(tmp_path: Path) -> None:
    words = ["train", "digits", "--minutes", "5", "--dry-run", "--json", "--out", str(tmp_path / "x")]
    predicted = json.loads(mulligan(*words).stdout)
    assert predicted["parameters"]["generator"] > 0 and predicted["predicted_memory_mb"] > 100
    assert predicted["predicted_minutes"] == pytest.approx(5, rel=0.05)
    assert not (tmp_path / "x").exists()


def test_zoo_prints_one_recipe_in_full() -> None:
    printed = mulligan("zoo", "dcgan").stdout
    assert "nonsaturating" in printed and "adam" in printed
    assert json.loads(mulligan("zoo", "dcgan", "--json").stdout)["name"] == "dcgan"


def test_zoo_prints_the_differences() -> None:
    printed = mulligan("zoo", "wgan-gp").stdout.splitlines()
    heading = [line.split() for line in printed].index(["differs", "in", "wgan", "wgan-gp"])
    assert ["terms.clip", "weight=0.01", "every=1", "-"] in [line.split() for line in printed[heading:]]
    found = json.loads(mulligan("zoo", "compare", "dcgan", "ggan", "--json").stdout)
    assert found == [{"what": "loss", "dcgan": "nonsaturating", "ggan": "hinge"}]
    assert "dcgan and dcgan differ in nothing" in mulligan("zoo", "compare", "dcgan", "dcgan").stdout
    said = mulligan("zoo", "compare", "dcgan")
    assert said.returncode == 2 and "compare NAME NAME" in said.stderr


def test_zoo_finds_by_words_and_years() -> None:
    names = [recipe["name"] for recipe in json.loads(mulligan("zoo", "--find", "hinge 2018", "--json").stdout)]
    assert names == ["sngan", "sngan-cifar10", "sngan-projection"]
    assert mulligan("zoo", "--find", "hinge 1918").stdout == "no recipe has all of these words: hinge 1918\n"
    assert "lr=0.0024 " in mulligan("zoo", "gat").stdout
    table = mulligan("zoo").stdout.splitlines()
    assert any(line.split()[:2] == ["2014", "gan"] for line in table) and "1912" not in " ".join(table)


class Bomb:
    def __reduce__(self) -> tuple:
        return os.mkdir, ("bomb-went-off",)


@pytest.mark.parametrize("content", [pickle.dumps(Bomb()), struct.pack("<Q", 1 << 40) + b"{}", b""])
def test_hostile_weights_are_one_line(run: Path, content: bytes, tmp_path: Path) -> None:
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    (copy / "checkpoints" / "best.safetensors").write_bytes(content)
    result = subprocess.run(
        [sys.executable, "-m", "mulligan", "sample", str(copy)], capture_output=True, text=True, cwd=tmp_path
    )
    assert "best.safetensors" in one_line(result)
    assert not (tmp_path / "bomb-went-off").exists()


def test_a_read_only_folder_is_one_line(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write anywhere")
    tmp_path.chmod(0o500)
    assert str(tmp_path) in one_line(mulligan("train", "digits", "--samples", "8", "--out", tmp_path / "x"))


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(shell: str) -> None:
    result = mulligan("completion", shell)
    assert result.returncode == 0 and "_MULLIGAN_COMPLETE" in result.stdout
