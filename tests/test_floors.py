"""Imports only ever point down: the house stands on its floors."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "mulligan"
# floor of every package and module; those on one floor never import each other
FLOORS = {
    "core": 0,
    "nn": 1, "kinds": 1,
    "data": 2, "tasks": 2, "models": 2, "losses": 2, "terms": 2, "metrics": 2, "zoo": 2, "augment": 2,
    "engine": 3, "report": 3,
    "measure": 4,
    "runs": 5,
    "latent": 6, "translate": 6,
    "api": 7, "kit": 7,
    "cli": 8, "__main__": 9,
}  # fmt: skip
ONLY = {"engine": {"core"}, "report": {"core"}, "cli": {"api", "core"}}
ALSO = {"zoo": {"models", "losses", "terms"}}  # a recipe may name what it is made of
# whose types a module may name, for type checkers alone: below `if TYPE_CHECKING`, never at run time
TYPES = {"core/registry.py": {"data", "metrics", "tasks"}}  # what the registries hold
FILES = sorted(ROOT.rglob("*.py"))


def place(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imported(path: Path, *, types: bool = True) -> set[str]:
    """Names of what a module imports; without `types`, of what it imports at run time."""
    names: set[str] = set()
    tree = ast.parse(path.read_text())
    for node in [] if types else ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body.clear()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("path", [p for p in FILES if p.parent != ROOT or p.name != "__init__.py"], ids=str)
def test_imports_point_down(path: Path) -> None:
    here, types = place(path), TYPES.get(path.relative_to(ROOT).as_posix(), set())
    assert here in FLOORS, f"{here} has no floor: give it one in the architecture first"
    at_run_time = imported(path, types=False)
    for name in imported(path):
        top, _, rest = name.partition(".")
        there = rest.partition(".")[0]
        if top != "mulligan" or there == here:
            continue
        allowed = FLOORS[there] < FLOORS[here] if here not in ONLY else there in ONLY[here]
        excused = there in ALSO.get(here, ()) or (there in types and name not in at_run_time)
        assert allowed or excused, f"{here} imports {there}"


def test_the_command_line_never_imports_torch() -> None:
    for path in (ROOT / "cli").rglob("*.py"):
        assert not any(name.partition(".")[0] in ("torch", "numpy") for name in imported(path)), path


@pytest.mark.parametrize("path", FILES, ids=str)
def test_no_attic(path: Path) -> None:
    assert path.stem not in {"utils", "misc", "helpers", "common"}
    assert len(path.read_text().splitlines()) <= 400, f"{path} is two rooms"
