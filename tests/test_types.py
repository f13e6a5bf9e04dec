"""Types: mypy finds nothing wrong, and programs of others get the types that they expect."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from mulligan.core import catalogue, registry
from mulligan.runs.parts import load_own_parts

pytest.importorskip("mypy", reason="mypy is not installed")
ROOT = Path(__file__).parent.parent
(PINNED,) = re.findall(r"^torch==(\d+)\.(\d+)", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
pytestmark = pytest.mark.skipif(
    tuple(map(int, torch.__version__.split(".")[:2])) < tuple(map(int, PINNED)),
    reason=f"the annotations of torch {torch.__version__} are not those of {'.'.join(PINNED)}",
)

PROGRAM = """
from collections.abc import Callable
from typing import Any, assert_type

from torch import Tensor
from torch.optim import Optimizer

import mulligan as mg
from mulligan import kit
from mulligan.core import registry
from mulligan.data import Dataset

run = mg.train("digits", minutes=5)
assert_type(run, mg.Run)
assert_type(mg.load("runs/digits"), mg.Run)
assert_type(run.sample(4), Tensor)
assert_type(run.G, kit.Generator)
assert_type(mg.Order(data="digits"), mg.Order)
assert_type(mg.recipe("dcgan"), kit.Recipe)
assert_type(mg.inspect("digits"), Dataset)

hinge = registry.losses["hinge"]()
assert_type(hinge, kit.Loss)
assert_type(hinge.d, Callable[[Tensor, Tensor], Tensor])
assert_type(kit.kinds["image"], type[kit.Sample])
assert_type(kit.optimizers["adam"]([]), Optimizer)
assert_type(kit.features["digits"](), kit.FeatureNet)
assert_type(kit.recipes["digits"](), kit.Recipe)
assert_type(kit.Part("hinge").build(kit.losses), kit.Loss)
assert_type(kit.Part("dcgan").build(kit.generators, kit.ImageSample(shape=(1, 28, 28)), kit.NOTHING), kit.Generator)
penalty = kit.terms["r1"]()  # a term, of which only the caller knows which of the four it is
assert_type(penalty.fn, Callable[..., Any])
if isinstance(penalty, kit.Penalty):
    assert_type(penalty.fn, Callable[[kit.Step], Tensor])


@kit.losses.register("mine")
def mine(
    *,
    margin: float = 1.0,  # of the logits of real samples
) -> kit.Loss:
    return hinge


@kit.generators.register("mine")
class Mine(kit.Generator):
    z_shape = (2,)

    def forward(self, z: Tensor, cond: kit.Condition) -> Tensor:
        return z


assert_type(mine(margin=2.0), kit.Loss)
assert_type(kit.MovingAverage(Mine()).net, Mine)
assert_type(Mine()(Tensor(), kit.Condition()), Tensor)
"""
WRONG = """
import mulligan as mg
from mulligan import kit

mg.Order(dta="digits")  # call-arg
mg.load("runs/digits").sample("four")  # arg-type
kit.losses["hinge"]().real  # attr-defined
kit.generators["dcgan"]().synthesise(1)  # operator
kit.losses.register("mine")(3)  # type-var
kit.Part("hinge").build("losses")  # arg-type
"""


def mypy(*words: str | Path) -> list[str]:
    """What it finds, a line each, by the rules in pyproject.toml."""
    order = [sys.executable, "-m", "mypy", "--no-error-summary", *map(str, words)]
    done = subprocess.run(order, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode in (0, 1) and not done.stderr, done.stderr
    return done.stdout.splitlines()


def test_mypy_finds_nothing() -> None:
    assert not mypy()


def test_a_program_gets_the_types_that_it_expects(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    assert not mypy(tmp_path / "program.py")


def test_what_is_wrong_in_a_program_is_found(tmp_path: Path) -> None:
    (tmp_path / "wrong.py").write_text(WRONG)
    expected = {str(number): line.split()[-1] for number, line in enumerate(WRONG.splitlines(), 1) if "  # " in line}
    found = [re.search(r"wrong\.py:(\d+): error: .*\[([\w-]+)\]$", line) for line in mypy(tmp_path / "wrong.py")]
    assert dict(each.groups() for each in found if each) == expected


def test_every_part_is_what_its_registry_says(tmp_path: Path) -> None:
    """`losses` is a `Registry[Callable[..., Loss]]`; then each of our losses is a `Callable[..., Loss]`."""
    load_own_parts()
    lines = ["from collections.abc import Callable", "from typing import Any"]
    for kind, parts in vars(registry).items():
        if not isinstance(parts, registry.Registry):
            continue
        wanted = registry.__annotations__[kind].removeprefix("Registry[").removesuffix("]")
        for name in re.findall(r"(?!Callable|Any)\b[A-Z]\w+", wanted):
            lines.append(f"from mulligan.core.registry import {name}")
        for part in (parts[name] for name in parts if catalogue.is_ours(parts, name)):
            lines.append(f"import {part.__module__}")
            lines.append(f"part_{len(lines)}: {wanted} = {part.__module__}.{part.__qualname__}")
    assert len(lines) > 2 * 150
    (tmp_path / "parts.py").write_text("\n".join(lines))
    assert not mypy(tmp_path / "parts.py")
