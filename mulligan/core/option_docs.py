"""The options of a part in readable form: name, type, default, and the comment of each in the source.

An option is a keyword-only argument of a registered constructor, or a field of a dataclass. Its description is the
comment at the end of its own line, or else the comment lines above it:

    width: PositiveInt = 64,  # channels of the last layer
"""

from __future__ import annotations

import ast
import functools
import inspect
import io
import json
import re
import tokenize
import types
from collections.abc import Callable, Iterator
from dataclasses import is_dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

from mulligan.core.recipe import Schedule
from mulligan.core.registry import options_of

REQUIRED = inspect.Parameter.empty  # the default of an option that must be given
FOR_TOOLS = re.compile(r"\s*#\s*(?:noqa|fmt|type|ruff|pyright|mypy|pragma)\b.*")  # comments that describe nothing
BOUNDS = {"gt": ">", "ge": ">=", "lt": "<", "le": "<="}


class Option(NamedTuple):
    name: str
    type: str  # readable: `int >= 1`, `"a" | "b"`, `tuple of str`, `number or schedule`
    default: Any  # REQUIRED if there is none
    words: str  # the description; "" if the source has none


def options_with_words(part: Callable[..., Any]) -> list[Option]:
    """Every option of a part, in the order of its signature."""
    return list(_options(part))


@functools.cache
def _options(part: Callable[..., Any]) -> tuple[Option, ...]:
    hints, words = _hints(part), _words(part)
    return tuple(
        Option(p.name, readable_type(hints.get(p.name, p.annotation)), p.default, words.get(p.name, ""))
        for p in options_of(part)
    )


def first_paragraph(part: Callable[..., Any]) -> str:
    """The first paragraph of a part's docstring, on one line; "" where there is none."""
    text = inspect.cleandoc(part.__doc__ or "")
    return " ".join(text.partition("\n\n")[0].split())


def first_line(part: Callable[..., Any]) -> str:
    """The first line of a part's docstring."""
    return inspect.cleandoc(part.__doc__ or "").partition("\n")[0].strip()


def plain_value(value: Any) -> Any:
    """A default as a JSON value; None if there is none."""
    match value:
        case Schedule():
            return typed_value(value)
        case tuple() | list():
            return [plain_value(each) for each in value]
        case None | bool() | int() | float() | str():
            return value
    return None if value is REQUIRED else str(value)


def typed_value(value: Any) -> str:
    """A value as it is typed after `--set part.option=`: `64`, `true`, `null`, `color,cutout`, `cosine(0.1, 0)`."""
    match value:
        case Schedule():
            ends = [value.start, value.end, *([value.samples] if value.samples else [])]
            return f"{value.shape}({', '.join(f'{end:g}' for end in ends)})"
        case tuple() | list():
            return ",".join(map(typed_value, value)) or "[]"
        case float():
            return re.sub(r"e([+-])0", r"e\1", repr(value))  # 1e-8, not 1e-08
        case None | bool() | "":
            return json.dumps(value)
    return "" if value is REQUIRED else str(value)


def readable_type(hint: Any) -> str:
    """An annotation in readable form."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Annotated:
        bounds = [bound for mark in inner[1:] for bound in _bounds(mark, whole=inner[0] is int)]
        return " ".join([readable_type(inner[0]), ", ".join(bounds)]).strip()
    if origin is Literal:
        return " | ".join(json.dumps(each) for each in inner)
    if origin in (Union, types.UnionType):
        if Schedule in inner:
            return "number or schedule"
        some = " | ".join(readable_type(each) for each in inner if each is not types.NoneType)
        return f"{some} or null" if types.NoneType in inner else some
    if origin in (tuple, list):
        if origin is list or inner[-1:] == (Ellipsis,):
            return f"{origin.__name__} of {readable_type(inner[0])}"
        return f"({', '.join(map(readable_type, inner))})"
    if hint is Path:
        return "path"
    if hint is inspect.Parameter.empty:
        return ""
    return hint.__name__ if isinstance(hint, type) else str(hint).replace("typing.", "")


def _bounds(mark: Any, whole: bool) -> Iterator[str]:
    """Bounds such as `>= 1` from the metadata of `Annotated`: pydantic's `Field(ge=1)` or `annotated_types.Ge(1)`."""
    for inner in getattr(mark, "metadata", ()):
        yield from _bounds(inner, whole)
    for name, sign in BOUNDS.items():
        bound = getattr(mark, name, None)
        if bound is not None:
            if whole and sign in "><":  # for integers, > 0 is >= 1
                bound, sign = bound + (1 if sign == ">" else -1), f"{sign}="
            yield f"{sign} {bound:g}"


def _hints(part: Callable[..., Any]) -> dict[str, Any]:
    where = part.__init__ if inspect.isclass(part) and not is_dataclass(part) else part
    try:
        return get_type_hints(where, include_extras=True)
    except (NameError, TypeError):  # a name that no module defines, as in the cell of a notebook
        return {}


def _words(part: Callable[..., Any]) -> dict[str, str]:
    """Descriptions by name of the argument or field. Those of a class override those of its bases."""
    if not inspect.isclass(part):
        return _words_in(part)
    if not is_dataclass(part):
        return _words_in(part.__init__)
    found: dict[str, str] = {}
    for base in reversed(part.__mro__[:-1]):
        found |= _words_in(base)
    return found


def _words_in(thing: Callable[..., Any]) -> dict[str, str]:
    try:
        source = inspect.getsource(thing)
    except (OSError, TypeError):  # entered at a prompt, or written in C
        return {}
    if source[:1].isspace():
        source = f"if True:\n{source}"
    try:
        node, comments = ast.parse(source).body[0], dict(_comments(source))
    except (SyntaxError, tokenize.TokenError):  # a lambda in the middle of an expression
        return {}
    if isinstance(node, ast.If):
        node = node.body[0]
    lines = source.splitlines()
    found = {name: _words_at(first, last, lines, comments) for name, first, last in _option_nodes(node)}
    return {name: words for name, words in found.items() if words}


def _comments(source: str) -> Iterator[tuple[int, str]]:
    """(line number, text) of every comment that is not for a tool."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT and (words := FOR_TOOLS.sub("", token.string).lstrip("#").strip()):
            yield token.start[0], words


def _option_nodes(node: ast.stmt) -> Iterator[tuple[str, Any, Any]]:
    """(name, first node, last node) of each keyword-only argument of a function, or field of a class."""
    if isinstance(node, ast.FunctionDef):
        for argument, default in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True):
            yield argument.arg, argument, default or argument
    elif isinstance(node, ast.ClassDef):
        for each in node.body:
            if isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name):
                yield each.target.id, each, each


def _words_at(first: Any, last: Any, lines: list[str], comments: dict[int, str]) -> str:
    """The comment at the end of the last line, else of the first, else above; "" if the line has other code."""
    before = lines[first.lineno - 1].encode()[: first.col_offset].decode()  # columns of `ast` count bytes
    after = lines[last.end_lineno - 1].encode()[last.end_col_offset :].decode()
    if before.strip() or not re.match(r"\s*,?\s*(#|$)", after):
        return ""
    above: list[str] = []
    line = first.lineno - 1
    while line in comments and lines[line - 1].lstrip().startswith("#"):
        above.insert(0, comments[line])
        line -= 1
    return comments.get(last.end_lineno) or comments.get(first.lineno) or " ".join(above)
