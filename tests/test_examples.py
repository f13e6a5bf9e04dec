"""What the README and the examples tell people to do."""

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


def test_the_readme_names_only_what_there_is() -> None:
    from mulligan.cli import cli
    from mulligan.core import registry
    from mulligan.runs.build import load_parts

    load_parts()
    text = (ROOT / "README.md").read_text()
    for verb, words in re.findall(r"^mulligan (\w+)([^#\n]*)", text, flags=re.MULTILINE):
        command = cli.commands[verb]
        if isinstance(command, click.Group):
            command = command.commands[words.split()[0]]
        options = {option for parameter in command.params for option in parameter.opts}
        assert set(re.findall(r"(?<!\S)--?[a-z][\w-]*", words)) <= options, (verb, words)
    for link in re.findall(r"\]\(([^)]+)\)", text):
        assert (ROOT / link.partition("#")[0]).exists(), link
    sizes = {name for name in registry.recipes if " as published for " in registry.recipes[name]().about}
    for kind in (registry.losses, registry.terms, registry.recipes):
        for name in kind:
            assert f"`{name}`" in text or name in sizes, f"the README leaves out {kind.kind} {name}"
