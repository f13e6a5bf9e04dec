"""The recipes that there are."""

from __future__ import annotations

from typing import Any

from mulligan.api.build import load_parts
from mulligan.core import registry
from mulligan.core.recipe import Recipe


def recipes() -> list[Recipe]:
    """Every registered recipe, resolved, by name."""
    load_parts()
    return [registry.recipes[name]().resolve() for name in registry.recipes]


def describe(recipe: Recipe) -> list[tuple[str, str]]:
    """(what, how) lines that spell a recipe out for a reader."""
    lines = [("name", recipe.name), ("idea", recipe.about), ("paper", recipe.paper)]
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
    plain = {
        k: v for k, v in recipe.as_json().items() if k not in {*parts, "name", "about", "paper", "optimizer", "terms"}
    }
    lines += [(what, _spelled(value) if isinstance(value, dict) else str(value)) for what, value in plain.items()]
    return [(what, how) for what, how in lines if how]


def _spelled(options: dict[str, Any]) -> str:
    """`dcgan width=64 z=100`; a schedule as `cosine(start, end)`."""
    words = []
    for name, value in options.items():
        match value:
            case {"shape": shape, "start": start, "end": end, **rest}:
                value = f"{shape}({', '.join(f'{v:g}' for v in (start, end, rest.get('images')) if v is not None)})"
            case None:
                continue
        words.append(str(value) if name == "name" else f"{name}={value}")
    return "  ".join(words)
