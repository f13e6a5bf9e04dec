"""What the documents promise, done."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import click

from mulligan.cli import cli

DOCS = Path(__file__).parent.parent / "docs"
NUMBERS = """
import math, torch
from mulligan.core.registry import losses

assert run.sample(2).shape == (2, 1, 28, 28) and run.recipe.parent == "dcgan"
loss, (real, fake) = losses["softmax"](), torch.tensor([[1.0, 3.0], [0.0, 2.0]])
total = math.log(sum(map(math.exp, (0, 1, 2, 3))))
assert torch.allclose(loss.d(real, fake).mean(), torch.tensor(total - 2))
assert torch.allclose(loss.g(real, fake).mean(), torch.tensor(total - 1.5))
"""
NETWORKS = """
import mulligan as mg

mg.use("small.py")
settings = {"batch": 8, "generator": "small", "discriminator": "small"}
for task in "unconditional", "by-class":
    run = mg.train("digits", recipe="gan", out=task, samples=16, settings=settings | {"task": task}, quiet=True)
    assert run.sample(2).shape == (2, 1, 28, 28)
"""
BEFORE_THE_LOOP = """
import copy, torch
from mulligan.kit import NOTHING, ImageSample, discriminators, generators
import mulligan as mg

mg.use("small.py")
torch.manual_seed(0)
G, D = (kind["small"](ImageSample(shape=(1, 8, 8)), NOTHING) for kind in (generators, discriminators))
loader = [torch.rand(4, 1, 8, 8) * 2 - 1 for _ in range(3)]
before = copy.deepcopy([G.state_dict(), D.state_dict()])
"""
AFTER_THE_LOOP = """
for net, old in zip((G, D), before):
    assert any(not torch.equal(now, old[name]) for name, now in net.state_dict().items())
    assert all(now.isfinite().all() for now in net.state_dict().values())
"""


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (DOCS / "add_a_gan.md").read_text(), re.DOTALL)


def done_in(folder: Path, code: str) -> None:
    """In a process of its own: what it registers must not stay."""
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


def test_a_gan_is_added_by_one_file_anywhere(tmp_path: Path) -> None:
    gan, use, _, _ = blocks("python")
    (tmp_path / "softmax_gan.py").write_text(gan)
    done_in(tmp_path, use + NUMBERS)


def test_networks_of_ones_own_train_with_and_without_classes(tmp_path: Path) -> None:
    _, _, networks, _ = blocks("python")
    (tmp_path / "small.py").write_text(networks)
    done_in(tmp_path, NETWORKS)


def test_a_loop_of_ones_own_takes_losses_and_terms(tmp_path: Path) -> None:
    _, _, networks, loop = blocks("python")
    (tmp_path / "small.py").write_text(networks)
    done_in(tmp_path, BEFORE_THE_LOOP + loop + AFTER_THE_LOOP)


def test_commands_that_are_told_are_there() -> None:
    (commands,) = blocks("sh")
    for line in commands.splitlines():
        program, verb, *words = line.partition("#")[0].split()
        command = cli.commands[verb]
        assert program == "mulligan" and not isinstance(command, click.Group)
        options = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in words if word.startswith("-")} <= options, line


def test_what_documents_link_to_is_there() -> None:
    text = (DOCS / "add_a_gan.md").read_text()
    headings = [
        re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in re.findall(r"^#+ (.+)$", text, re.M)
    ]
    for link in re.findall(r"\]\(([^)]+)\)", text):
        file, _, heading = link.partition("#")
        assert (DOCS / file).exists() if file else heading in headings, link


def test_every_name_of_the_kit_is_explained() -> None:
    from mulligan import kit

    explained = set(re.findall(r"\w+", kit.__doc__ or ""))
    for name in kit.__all__:
        assert hasattr(kit, name) and name in explained, name
    public = {name for name in vars(kit) if not name.startswith("_")} - {"load_own_parts"}
    assert public == set(kit.__all__)
    assert kit.losses["hinge"]().g_sees_real is False and "r1" in kit.terms and "dcgan" in kit.generators
