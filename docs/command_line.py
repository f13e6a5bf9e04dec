"""docs/reference/command-line.md, from the commands themselves.

python docs/command_line.py
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click

from mulligan.cli import cli

PAGE = Path(__file__).parent / "reference" / "command-line.md"
GROUPS = {
    "Train": ("inspect", "train", "diagnose"),
    "Use": ("sample", "apply", "invert", "edit"),
    "Measure": ("evaluate", "compare", "study"),
    "Look up": ("zoo", "parts", "completion"),
}
INTRODUCTION = """\
# Command line

What every command takes. `mulligan VERB --help` prints the same. This page is written by `docs/command_line.py`; do not
edit it.

- `RUN` is the folder of a run, for example `runs/digits`.
- `DATA` is a built-in data set (`digits`, `stacked`, `ring`, `grid`) or a path.
- **Exit codes:** 0 done; 1 the training failed and could not be repaired; 2 something that you can correct, and one
  line on stderr says what; 130 interrupted and saved.
- **Output:** results go to stdout, progress and messages to stderr. `--json` prints a result for programs.
- **Cache:** decoded data, learnt feature nets and autoencoders lie in the user's cache folder, or in the folder that
  the environment variable `MULLIGAN_CACHE` names. It can be deleted at any time.
- **Shell completion:** `eval "$(mulligan completion bash)"` (or `zsh`, `fish`)
"""


def page() -> str:
    """The whole page."""
    grouped = [name for names in GROUPS.values() for name in names]
    assert sorted(grouped) == sorted(cli.commands), "a verb has no group"
    lines = [INTRODUCTION, "| | |", "|---|---|"]
    for group, names in GROUPS.items():
        lines.append(f"| {group} | {', '.join(f'[{name}](#mulligan-{name})' for name in names)} |")
    for name in grouped:
        lines += ["", *_section(cli.commands[name], click.Context(cli, info_name="mulligan"), level=2)]
    return "\n".join(lines) + "\n"


def _section(command: click.Command, parent: click.Context, level: int) -> Iterator[str]:
    context = click.Context(command, info_name=command.name, parent=parent)
    yield f"{'#' * level} {context.command_path}"
    yield ""
    yield f"`{' '.join([context.command_path, *command.collect_usage_pieces(context)])}`"
    yield ""
    yield re.sub(r"\n *", "\n", command.help or "").strip()
    if isinstance(command, click.Group):
        for each in command.commands.values():
            yield ""
            yield from _section(each, context, level + 1)
        return
    options = [each for each in command.params if isinstance(each, click.Option)]
    rows = [record for each in options if (record := each.get_help_record(context))]
    yield ""
    yield "| option | description |"
    yield "|---|---|"
    for option, words in rows:
        yield f"| `{_cell(option)}` | {_prose(words)} |"


def _cell(text: str) -> str:
    return re.sub(r"\s+", " ", text).replace("|", "\\|")


def _prose(text: str) -> str:
    """Words with their default, as Markdown shows them."""
    words, _, rest = _cell(text).partition("[default:")
    words = re.sub(r"([<*])", r"\\\1", words).strip()
    return f"{words} Default: {rest.strip().removesuffix(']')}.".strip() if rest else words


if __name__ == "__main__":
    PAGE.write_text(page())
