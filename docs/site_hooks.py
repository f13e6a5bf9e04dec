"""What MkDocs does beside its own: the READMEs are pages of the site, and files outside docs/ that pages link to.

A document links to other files as they lie in the repository, so that links work there. On the site `README.md` is the
first page, and what lies outside docs/ keeps its path.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parent.parent
PAGES = {"README.md": "index.md", "README.zh.md": "zh.md"}  # in the repository -> on the site
LINK = re.compile(r"(?<=\]\()([^)\s#]+)((?:#[^)\s]*)?(?=\)))")  # target and anchor


def on_files(files: Files, config: Any) -> Files:
    """Add the READMEs, and what any page links to outside docs/."""
    for source, uri in PAGES.items():
        if (ROOT / source).exists():
            files.append(File.generated(config, uri, content=(ROOT / source).read_text()))
    for page in list(files.documentation_pages()):
        source = _source(page.src_uri)
        for target, _ in LINK.findall((ROOT / source).read_text()):
            path = _linked(source, target)
            if path and files.get_file_from_path(_on_site(path)) is None:
                files.append(File.generated(config, path, abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Links as they are on the site."""
    here = page.file.src_uri
    source = _source(here)

    def moved(match: re.Match[str]) -> str:
        path = _linked(source, match[1])
        return posixpath.relpath(_on_site(path), posixpath.dirname(here) or ".") + match[2] if path else match[0]

    return LINK.sub(moved, markdown)


def _linked(source: str, target: str) -> str | None:
    """The path in the repository of a file that `source` links to; None for anything else."""
    path = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
    return path if (ROOT / path).is_file() else None


def _on_site(path: str) -> str:
    return PAGES.get(path, path.removeprefix("docs/"))


def _source(uri: str) -> str:
    """Where a page of the site lies in the repository."""
    readmes = {page: source for source, page in PAGES.items()}
    return readmes.get(uri) or (f"docs/{uri}" if (ROOT / "docs" / uri).exists() else uri)
