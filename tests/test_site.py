"""The README, its translation and docs/: links lead somewhere, commands exist, numbers were measured."""

from __future__ import annotations

import ast
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path

import click
import pytest

from mulligan.cli import cli

ROOT = Path(__file__).parent.parent
README, CHINESE = ROOT / "README.md", ROOT / "README.zh.md"
PAGES = sorted(
    [README, CHINESE, *(ROOT / "docs").rglob("*.md"), *(each for each in [ROOT / "CONTRIBUTING.md"] if each.exists())]
)
GENERATED = {"parts.md", "measured.md", "zoo.md", "command-line.md"}
LINK = re.compile(r"\]\(([^)\s]+)\)")
ON_SITE = {"index.md": README, "zh.md": CHINESE}  # pages that docs/site_hooks.py makes


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def prose(text: str) -> str:
    """Without blocks of code."""
    return re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    """Of the headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", prose(page.read_text()), re.MULTILINE)
    plain = [re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title) for title in titles]
    return {re.sub(r"[^\w -]", "", title).strip().lower().replace(" ", "-") for title in plain}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    for link in LINK.findall(prose(page.read_text())):
        assert not link.startswith(("http", "/")), f"{link}: the documents link to nothing outside the repository"
        file, _, anchor = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        assert target.is_file() and target.is_relative_to(ROOT), link
        assert not anchor or anchor in anchors(target), link


def test_the_readme_is_short() -> None:
    for page in (README, CHINESE):
        lines = page.read_text().splitlines()
        assert len(lines) <= 100, page.name
        assert all(len(line) <= 120 for line in lines), page.name


def typed(text: str) -> Iterator[list[str]]:
    """Every command of a document: lines of `sh` blocks, lines after a prompt, and code in the text."""
    lines = [line for block in blocks(text, "sh") for line in block.splitlines()]
    lines += [line[2:] for block in blocks(text, "text") for line in block.splitlines() if line.startswith("$ ")]
    lines += re.findall(r"`(mulligan [^`]+)`", prose(text))
    for line in lines:
        words = shlex.split(line.replace("…", ""), comments=True)
        if words[:1] == ["mulligan"]:
            yield words[1:]


def refused(verb: str, words: list[str]) -> str:
    """What is wrong with a command, if anything: an unknown verb, option or choice, or an option without its value."""
    command: click.Command | None = cli.commands.get(verb)
    if isinstance(command, click.Group) and words:
        command, words = command.commands.get(words[0]), words[1:]
    if command is None:
        return "no such verb"
    options = {name: option for option in command.params if isinstance(option, click.Option) for name in option.opts}
    waiting: click.Option | None = None
    for word in words:
        if waiting:
            if isinstance(waiting.type, click.Choice) and word not in waiting.type.choices:
                return f"{word} is no choice"
            waiting = None
        elif word.startswith("-"):
            if word not in options:
                return f"no option {word}"
            waiting = None if options[word].is_flag else options[word]
    return "an option without a value" if waiting else ""


def test_commands_that_do_not_exist_are_noticed() -> None:
    assert not refused("train", ["photos/", "--guard", "warn", "--converge", "--set", "batch=8"])
    assert not refused("edit", ["mix", "runs/photos", "--out", "mixed.png"])
    assert refused("trian", []) and refused("edit", ["mixed"]) and refused("train", ["photos/", "--minute", "3"])
    assert refused("train", ["photos/", "--guard", "loud"]) and refused("sample", ["runs/photos", "--out"])


@pytest.mark.parametrize("page", [page for page in PAGES if page.name not in GENERATED], ids=name_of)
def test_commands_exist(page: Path) -> None:
    for verb, *words in typed(page.read_text()):
        if verb not in ("VERB", "--help"):
            assert not refused(verb, words), (verb, *words)


def test_settings_and_names_in_commands_exist() -> None:
    """Also in the text: an option has to be one of some part of its kind."""
    from mulligan.core import registry
    from mulligan.core.recipe import Recipe
    from mulligan.runs.build import load_parts

    load_parts()
    kinds = {"loss": registry.losses, "augment": registry.augmentations, "task": registry.tasks}
    kinds |= {"generator": registry.generators, "discriminator": registry.discriminators}
    options = {kind: {option for name in parts for option in parts.defaults(name)} for kind, parts in kinds.items()}
    of_optimizers = {option for name in registry.optimizers for option in registry.optimizers.defaults(name)}

    def exists(path: str, value: str) -> bool:
        match path.split("."):
            case ["terms", name]:
                return name in registry.terms
            case ["terms", name, option]:
                return option in {"weight", "every", *registry.terms.defaults(name)}
            case ["optimizer", "generator" | "discriminator", option]:
                return option in of_optimizers
            case [kind]:
                return value in kinds[kind] or not value if kind in kinds else kind in Recipe.__dataclass_fields__
            case [kind, option]:
                return kind in kinds and option in options[kind]
        return path == "optimizer.generator"

    for page in PAGES:
        if page.name in GENERATED | {"add_a_gan.md"}:
            continue
        text = re.sub(r"^```text\n.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)  # may show mistakes
        for name in re.findall(r"--recipe ([\w.-]+)", text):
            assert name in registry.recipes or name.endswith(".json") or name.isupper(), (page.name, name)
        for name in re.findall(r"--task ([\w-]+)", text):
            assert name in registry.tasks, (page.name, name)
        for path, value in re.findall(r"--set '?([\w.-]+)=([\w-]*)", text):
            assert exists(path, value), (page.name, path, value)
        for path in re.findall(r"`((?:task|generator|discriminator|augment|terms)\.[\w.-]+)`", text):
            assert exists(path, ""), (page.name, path)


def test_python_in_documents_is_python_and_names_what_there_is() -> None:
    import mulligan as mg
    from mulligan import kit

    for page in PAGES:
        for code in blocks(page.read_text(), "python"):
            for node in ast.walk(ast.parse(code)):
                if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "mg":
                    assert node.attr in mg.__all__, (page.name, node.attr)
                if isinstance(node, ast.ImportFrom) and node.module == "mulligan.kit":
                    assert {alias.name for alias in node.names} <= set(kit.__all__), page.name
        for name in re.findall(r"`mg\.(\w+)", page.read_text()):
            assert name in mg.__all__, (page.name, name)


def test_the_python_page_names_everything() -> None:
    import mulligan as mg
    from mulligan import api, kit

    text = (ROOT / "docs" / "reference" / "python.md").read_text()
    of_mg, of_kit = text.split("\n## mulligan.kit\n")
    for name in mg.__all__:
        assert f"mg.{name}" in of_mg, name
    for name in api.__all__:
        assert re.search(rf"`(mg\.)?{name}\b", of_mg), name
    for name in kit.__all__:
        assert re.search(rf"`{name}\b", of_kit) or re.search(rf"`[^`\n]*\b{name}\b", of_kit), name
    fields = set(mg.Order.__dataclass_fields__)
    listed = re.findall(r"`(\w+)`", "\n".join(re.findall(r"^\| ((?:`\w+`(?:, )?)+) \|", of_mg, re.MULTILINE)))
    assert fields <= set(listed), fields - set(listed)


def test_the_command_line_page_is_of_these_commands() -> None:
    spec = spec_from_file_location("command_line", ROOT / "docs" / "command_line.py")
    assert spec and spec.loader
    script = module_from_spec(spec)
    spec.loader.exec_module(script)
    assert script.PAGE.read_text() == script.page(), "write it anew: python docs/command_line.py"


def test_the_architecture_names_every_room() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    floors = text.split("\n## Floors\n")[1].split("\n## ")[0]
    for path in (ROOT / "mulligan").iterdir():
        if not path.name.startswith("_") and (path.is_dir() or path.suffix == ".py"):
            assert re.search(rf"\b{path.stem}\b", floors), path.name
    for file in set(re.findall(r"`((?:mulligan/)?\w+/\w+\.py)`", "".join(page.read_text() for page in PAGES))):
        assert (ROOT / file).exists() or (ROOT / "mulligan" / file).exists(), file
    assert len(text.splitlines()) <= 160


def test_files_of_a_run_are_all_named() -> None:
    from mulligan.core.formats import FORMAT
    from mulligan.core.run import RunFolder

    text = (ROOT / "docs" / "reference" / "files.md").read_text()
    for name, value in vars(RunFolder).items():
        if isinstance(value, property):
            assert getattr(RunFolder(""), name).name in text, name
    assert f"this one writes {FORMAT}" in text and re.search(rf"^\| {FORMAT} \|", text, re.MULTILINE)


def test_what_the_guard_finds_and_does_is_all_named() -> None:
    from mulligan.engine.detectors import DETECTORS
    from mulligan.engine.remedies import REMEDIES

    text = (ROOT / "docs" / "why" / "guard.md").read_text()
    for name in DETECTORS:
        assert f"| {name} |" in text, name
    for name in REMEDIES:
        first, _, last = name.partition(" ")
        assert name in text or re.search(rf"\b{first}, \w+ {last}\b", text), name


def test_the_translation_is_in_step() -> None:
    ours, theirs = README.read_text(), CHINESE.read_text()

    def code(text: str) -> list[str]:
        """Without comments."""
        found = blocks(text, "sh") + blocks(text, "python")
        return [" ".join(line.partition("#")[0].split()) for block in found for line in block.splitlines()]

    def linked(text: str) -> list[str]:
        return [link for link in LINK.findall(text) if not link.startswith("README")]

    assert code(ours) == code(theirs)
    assert linked(ours) == linked(theirs), "the same links and pictures, in the same order"
    assert re.findall(r"^#+ ", ours, re.MULTILINE) == re.findall(r"^#+ ", theirs, re.MULTILINE)
    assert numbers_of_rows(ours) == numbers_of_rows(theirs)


def rows_of_proof(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("| [")]


def numbers_of_rows(text: str) -> list[list[str]]:
    """Of every row of the table of proof, its numbers but for those of its link."""
    return [re.findall(r"\d[\d,]*(?:\.\d+)?", LINK.sub("]", row)) for row in rows_of_proof(text)]


def test_numbers_in_the_readme_were_measured() -> None:
    """Each to the digits that it is given with, in the section of docs/measured.md that its row links to."""
    text = README.read_text()
    rows = rows_of_proof(text)
    assert len(rows) >= 4
    sections = re.split(r"^## ", (ROOT / "docs" / "measured.md").read_text(), flags=re.MULTILINE)
    for row, numbers in zip(rows, numbers_of_rows(text), strict=True):
        file, _, anchor = LINK.findall(row)[0].partition("#")
        assert file == "docs/measured.md", row
        (section,) = [
            each
            for each in sections
            if re.sub(r"[^\w -]", "", each.partition("\n")[0]).lower().replace(" ", "-") == anchor
        ]
        measured = [float(each.replace(",", "")) for each in re.findall(r"\d[\d,]*\.?\d*", section) if each.strip(",.")]
        for number in numbers:
            digits = len(number.partition(".")[2])
            assert any(f"{each:.{digits}f}" == number.replace(",", "") for each in measured), (row, number)


def nav(text: str) -> list[str]:
    """Pages that mkdocs.yml names."""
    return re.findall(r"^ +- [^:]+: (\S+\.md)$", text.split("\nnav:\n")[1], re.MULTILINE)


def test_every_page_is_in_the_navigation() -> None:
    named = nav((ROOT / "mkdocs.yml").read_text())
    assert len(named) == len(set(named))
    for name in named:
        assert (ON_SITE.get(name) or ROOT / "docs" / name).exists(), name
    everywhere = {str(page.relative_to(ROOT / "docs")) for page in PAGES if page.is_relative_to(ROOT / "docs")}
    assert everywhere <= set(named), everywhere - set(named)


def test_the_site_builds(tmp_path: Path) -> None:
    if find_spec("mkdocs") is None or find_spec("material") is None:
        pytest.skip("mkdocs-material is not installed: pip install mulligan[docs]")
    order = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", tmp_path / "site"]
    done = subprocess.run(order, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "site" / "index.html").exists() and (tmp_path / "site" / "examples" / "first_gan.py").exists()
