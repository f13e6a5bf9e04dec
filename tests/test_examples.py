"""The commands of the README, and the examples, work as written."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import click
from PIL import Image

ROOT = Path(__file__).parent.parent


def test_the_first_gan_runs(tmp_path: Path) -> None:
    out = tmp_path / "first.png"
    order = [sys.executable, ROOT / "examples" / "first_gan.py", "--epochs", "1", "--images", "64", "--out", out]
    done = subprocess.run(order, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "epoch 1: discriminator" in done.stdout
    assert Image.open(out).size[0] > 100


def test_commands_and_links_of_the_readme_exist() -> None:
    from mulligan.cli import cli

    text = (ROOT / "README.md").read_text()
    for verb, words in re.findall(r"^mulligan (\w+)([^#\n]*)", text, flags=re.MULTILINE):
        command = cli.commands[verb]
        if isinstance(command, click.Group):
            command = command.commands[words.split()[0]]
        options = {option for parameter in command.params for option in parameter.opts}
        assert set(re.findall(r"(?<!\S)--?[a-z][\w-]*", words)) <= options, (verb, words)
    for link in re.findall(r"\]\(([^)]+)\)", text):
        assert (ROOT / link.partition("#")[0]).exists(), link
