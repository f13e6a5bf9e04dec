"""The registered recipes, their descriptions, and differences between them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mulligan.core import registry
from mulligan.core.recipe import Recipe
from mulligan.runs.parts import load_parts

ABOUT = ("name", "about", "paper", "parent")  # fields that describe a recipe, and do not change training


def recipes(find: str = "") -> list[Recipe]:
    """Every registered recipe, resolved, by name. `find`: only those with all of these words: `hinge 2018`."""
    load_parts()
    found = [registry.recipes[name]().resolve() for name in registry.recipes]
    return [recipe for recipe in found if all(word in _words(recipe) for word in find.lower().split())]


def _words(recipe: Recipe) -> str:
    return " ".join(f"{what} {how}" for what, how in describe(recipe)).lower()


def differences(a: Recipe, b: Recipe) -> list[tuple[str, str, str]]:
    """(what, in a, in b) for everything that differs: options of parts with the same name, otherwise whole parts."""
    return list(_differing("", *({k: v for k, v in each.as_json().items() if k not in ABOUT} for each in (a, b))))


def _differing(path: str, a: Any, b: Any) -> Iterator[tuple[str, str, str]]:
    same_part = isinstance(a, dict) and isinstance(b, dict) and a.get("name") == b.get("name") and "shape" not in a
    if same_part:
        for key in dict.fromkeys([*a, *b]):
            yield from _differing(f"{path}.{key}".removeprefix("."), a.get(key), b.get(key))
    elif a != b:
        yield path, _as_text(a), _as_text(b)


def _as_text(value: Any) -> str:
    match value:
        case None:
            return "-"
        case {"shape": _}:
            return _spelled({"": value}).removeprefix("=")
        case dict():
            return _spelled(value)
        case float():
            return _spelled({"": value}).removeprefix("=")
    return str(value)


def describe(recipe: Recipe) -> list[tuple[str, str]]:
    """(what, how) lines that describe a recipe in full."""
    lines = [("name", recipe.name), ("idea", recipe.about), ("paper", recipe.paper), ("parent", recipe.parent)]
    parts = {
        "generator": recipe.generator,
        "discriminator": recipe.discriminator,
        "loss": recipe.loss,
        "optimizer.generator": recipe.optimizer.generator,
        "optimizer.discriminator": recipe.optimizer.discriminator,
        "task": recipe.task,
    }
    lines += [(what, _spelled(part.as_json())) for what, part in parts.items()]
    lines += [(f"terms.{name}", _spelled(term.as_json())) for name, term in recipe.terms.items()]
    plain = {k: v for k, v in recipe.as_json().items() if k not in {*parts, *ABOUT, "optimizer", "terms"}}
    lines += [(what, _spelled(value) if isinstance(value, dict) else str(value)) for what, value in plain.items()]
    return [(what, how) for what, how in lines if how]


def _spelled(options: dict[str, Any]) -> str:
    """`dcgan width=64 z=100`; a schedule as `cosine(start, end)`."""
    words = []
    for name, value in options.items():
        match value:
            case {"shape": shape, "start": start, "end": end, **rest}:
                value = f"{shape}({', '.join(f'{v:g}' for v in (start, end, rest.get('samples')) if v is not None)})"
            case float():
                value = float(f"{value:.12g}")  # prints 2e-4 * 12 as 0.0024
            case None:
                continue
        words.append(str(value) if name == "name" else f"{name}={value}")
    return "  ".join(words)
