"""Shared by the verbs: exit codes, options for reading data, parts of the user, and printing."""

from __future__ import annotations

import functools
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

RUN = click.Path(path_type=Path)
MOST_NUMBERS = 1000  # in a range
OK, FAILED, USER_ERROR, INTERRUPTED = 0, 1, 2, 130


class Size(click.ParamType):
    """`64` or `64x48` (height x width)."""

    name = "H[xW]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        if isinstance(value, tuple):
            return value
        match = re.fullmatch(r"(\d+)(?:x(\d+))?", value)
        if not match or not int(match[1]):
            self.fail(f"{value!r} is not a size such as 64 or 64x48", param, ctx)
        return int(match[1]), int(match[2] or match[1])


class Numbers(click.ParamType):
    """`3`, `1,5,9` or `0-4`: integers from 0 up, in the given order."""

    name = "N,N-N"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        if isinstance(value, tuple):
            return value
        found: list[int] = []
        for part in value.split(","):
            match = re.fullmatch(r"\s*(\d{1,9})(?:-(\d{1,9}))?\s*", part)
            first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
            if last < first or last - first >= MOST_NUMBERS:
                self.fail(f"{value!r} is not numbers such as 3 or 1,5,9 or 0-4", param, ctx)
            found += range(first, last + 1)
        return tuple(found)


def read_options(command: Callable) -> Callable:
    """The options for reading data, which are the same for all verbs. The command gets them as a dict `read`."""

    @functools.wraps(command)
    def reading(
        *args: Any, size: Any, labels: bool, channels: str | None, max_bad: float | None, assignments: tuple[str, ...],
        **rest: Any,
    ) -> Any:  # fmt: skip
        given = {"size": size, "labels": labels or None, "channels": channels and int(channels), "max_bad": max_bad}
        read = {name: value for name, value in given.items() if value is not None} | dict(map(_assignment, assignments))
        return command(*args, read=read, **rest)

    for option in (
        click.option(
            "--read", "assignments", multiple=True, metavar="OPTION=VALUE",
            help="Option of the data's reader (see `mulligan parts reader`); repeatable.",
        ),
        click.option("--size", type=Size(), help="Resize to this height x width (antialiased, then centre crop)."),
        click.option("--labels", is_flag=True, help="Sub-folders are classes."),
        click.option(
            "--channels", type=click.Choice(["1", "3", "4"]), help="Grey, RGB or RGBA.  [default: as most images are]"
        ),
        click.option("--max-bad", type=float, help="Largest share of unreadable files to skip.  [default: 0.1]"),
    ):  # fmt: skip
        reading = option(reading)
    return reading


def _assignment(text: str) -> tuple[str, Any]:
    from mulligan.core.recipe import parse_setting

    return parse_setting(text, option="--read", example="size=64")


def brings_parts(command: click.Command) -> click.Command:
    """Add `--with FILE` to a verb, or to all verbs of a group: the user's own parts, imported before it runs."""
    if isinstance(command, click.Group):
        for each in command.commands.values():
            brings_parts(each)
        return command

    def use(context: click.Context, parameter: click.Parameter, files: tuple[str, ...]) -> None:
        if files:
            from mulligan import api

            api.use(*files)

    option = click.Option(
        ["--with"],
        multiple=True,
        metavar="FILE.py|MODULE",
        expose_value=False,
        is_eager=True,
        callback=use,
        help="Import your own parts first; repeatable.",
    )
    command.params.append(option)
    return command


def print_table(rows: list[tuple[str, ...]], header: tuple[str, ...] = ()) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(*header, box=None, show_header=bool(header), pad_edge=False, header_style="bold")
    while rows and len(table.columns) < len(rows[0]):
        table.add_column(overflow="fold")
    for row in rows:
        table.add_row(*(cell.replace("[", "\\[") for cell in row))
    Console(highlight=False, width=None if sys.stdout.isatty() else 200).print(table)


def print_json(value: Any) -> None:
    print(json.dumps(value, indent=2))


def readable(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name}: {readable(count)}" for name, count in value.items()) or "none"
    if isinstance(value, list | tuple):
        text = "; ".join(
            ": ".join(map(str, item)) if isinstance(item, list | tuple) else str(item) for item in value[:8]
        )
        return (text + (f"; and {len(value) - 8} more" if len(value) > 8 else "")) or "none"
    return "none" if value is None else f"{value:,}" if isinstance(value, int) else str(value)
