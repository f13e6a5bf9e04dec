"""What is shipped and published around the code: data in the package, metadata, documents of the project."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from mulligan.core.version import __version__

ROOT = Path(__file__).parent.parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
PROJECT = PYPROJECT["project"]
IMPORTED_AS = {"PIL": "pillow", "imageio_ffmpeg": "imageio-ffmpeg"}  # others are imported by their names
HIDDEN = [*(ROOT / ".github").rglob("*.yml"), ROOT / ".pre-commit-config.yaml", ROOT / "CITATION.cff"]


def name_of(requirement: str) -> str:
    found = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert found, requirement
    return found.group().lower()


def read_yaml(path: Path) -> Any:
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")
    return yaml.safe_load(path.read_text("utf-8"))


@pytest.mark.parametrize(
    "name",
    [
        "py.typed",
        "data/digits.npz",
        "data/digits.LICENSE.txt",
        "metrics/weights/digits.safetensors",
        "report/page.html.j2",
    ],
)
def test_data_lie_in_the_package(name: str) -> None:
    assert resources.files("mulligan").joinpath(*name.split("/")).is_file()


def test_all_that_is_no_code_is_named_as_package_data() -> None:
    package = ROOT / "mulligan"
    patterns = PYPROJECT["tool"]["setuptools"]["package-data"]["mulligan"]
    named = {path for pattern in patterns for path in package.glob(pattern)}
    there = {path for path in package.rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")}
    assert there <= named, "these would not be in the wheel"


def test_what_is_imported_is_declared() -> None:
    extras = PROJECT["optional-dependencies"]
    declared = {name_of(each) for each in PROJECT["dependencies"]}
    declared |= {name_of(each) for extra in ("hub", "latent", "video") for each in extras[extra]}
    for path in (ROOT / "mulligan").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            modules += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            for top in {module.partition(".")[0] for module in modules} - sys.stdlib_module_names - {"mulligan"}:
                assert IMPORTED_AS.get(top, top).lower() in declared, f"{path} imports {top}"


def test_licences_lie_where_the_metadata_says() -> None:
    assert PROJECT["license"] == "Apache-2.0 AND CC-BY-SA-3.0"
    assert PROJECT["license-files"] == ["LICENSE", "mulligan/data/digits.LICENSE.txt"]
    assert all((ROOT / name).is_file() for name in [*PROJECT["license-files"], PROJECT["readme"]])


def test_the_changelog_knows_the_version() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text("utf-8")
    titles = re.findall(r"^## \[(.+?)\](?: - (\d{4}-\d\d-\d\d))?$", changelog, re.MULTILINE)
    assert titles[0] == ("Unreleased", "") and titles[1][0] == __version__
    assert all(day for _, day in titles[1:]), "a version has a day"
    assert all(f"\n[{name}]: {PROJECT['urls']['Repository']}/" in changelog for name, _ in titles)


def test_the_citation_knows_the_version() -> None:
    citation = (ROOT / "CITATION.cff").read_text("utf-8")
    assert re.findall(r"^version: (.+)$", citation, re.MULTILINE) == [__version__]
    assert f"\nrepository-code: {PROJECT['urls']['Repository']}\n" in citation


@pytest.mark.parametrize("path", HIDDEN, ids=lambda path: path.name)
def test_yaml_parses(path: Path) -> None:
    assert isinstance(read_yaml(path), dict)


@pytest.mark.parametrize("name", ["bug", "idea"])
def test_forms_are_of_the_kind_that_is_shown(name: str) -> None:
    form = read_yaml(ROOT / ".github" / "ISSUE_TEMPLATE" / f"{name}.yml")
    assert form["name"] and form["description"]
    asked = [field for field in form["body"] if field["type"] != "markdown"]
    assert len({field["id"] for field in asked}) == len(asked) and all(field["attributes"]["label"] for field in asked)
    assert {field["type"] for field in asked} <= {"textarea", "input"}


def test_the_workflow_tests_the_lowest_torch_and_python() -> None:
    matrix = read_yaml(ROOT / ".github" / "workflows" / "test.yml")["jobs"]["tests"]["strategy"]["matrix"]
    (torch,) = (each for each in PROJECT["dependencies"] if name_of(each) == "torch")
    assert [f"torch>={row['torch'].removesuffix('.0')}" for row in matrix["include"]] == [torch]
    assert PROJECT["requires-python"] == f">={matrix['python'][0]}" and matrix["torch"] == ["newest"]
    stated = {each.rpartition(" :: ")[2] for each in PROJECT["classifiers"] if "Python :: 3." in each}
    assert set(matrix["python"]) <= stated
