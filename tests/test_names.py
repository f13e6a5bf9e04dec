"""Names are the field's, and nobody asks what data are: two rules that are easy to check and easy to forget."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "mulligan"
FILES = sorted(ROOT.rglob("*.py"))
# words that this project once used in senses of its own; what to say instead is in docs/architecture.md
DIALECT = {
    "shown", "told", "dice", "deal", "deals", "dealt", "look", "looks", "places", "ways", "word", "behind", "kept",
    "host", "goods",
}  # fmt: skip
ASKING = re.compile(
    r"\bndim *(==|!=|<=|>=|in\b)|\blen\([\w.]*shape\)|\.is_floating_point\(|\.dim\(\) *(==|!=)"
    r"|isinstance\([^)]*\b(Dataset|\w*Sample)\b|\.kind *(==|!=|in\b|not in\b)|\bkind *(==|!=) *[\"'](image|points)\b"
)
# where the question is not what data are
ALLOWED = {
    "nn/filters.py": "the rank of a filter, which may be separable",
    "metrics/pairwise.py": "features are (N, D)",
    "metrics/features/net.py": "weights, to stamp them",
    "engine/ema.py": "weights, to average them",
    "core/batch.py": "the converter of pictures, which passes floats through",
    "core/registry.py": "the one function that refuses a kind",
    "core/sample.py": "the same for commands",
    "core/formats.py": "what an older version wrote",
}
READERS = ("kinds", "data")  # who make and read samples


def where(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", [path for path in FILES if where(path).split("/")[0] not in READERS], ids=where)
def test_nobody_asks_what_data_are(path: Path) -> None:
    asking = [f"{number}: {line.strip()}" for number, line in enumerate(path.read_text().splitlines(), 1)
              if ASKING.search(line)]  # fmt: skip
    assert bool(asking) == (where(path) in ALLOWED), asking or "no longer needs its exception"


def names(tree: ast.AST) -> Iterator[str]:
    """What others may type: functions, classes, their arguments and fields, and constants; not what begins with _."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            yield node.name
        if (isinstance(node, ast.FunctionDef) and not node.name.startswith("_")) or (
            isinstance(node, ast.FunctionDef) and node.name == "__init__"
        ):
            yield from (each.arg for each in [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs])
        if isinstance(node, ast.ClassDef):
            fields = [each for each in node.body if isinstance(each, ast.AnnAssign)]
            yield from (each.target.id for each in fields if isinstance(each.target, ast.Name))
    for node in getattr(tree, "body", []):
        if isinstance(node, ast.Assign):
            yield from (each.id for each in node.targets if isinstance(each, ast.Name))


def words(name: str) -> set[str]:
    """`GoodsSeen_at` -> goods, seen, at."""
    return {each.lower() for each in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)}


@pytest.mark.parametrize("path", FILES, ids=where)
def test_names_are_standard_terms(path: Path) -> None:
    found = {name for name in names(ast.parse(path.read_text())) if words(name) & DIALECT}
    assert not found
