"""All parts by kind, as JSON and as the page docs/parts.md. The caller must load the parts first.

`mulligan parts` prints this information. It includes parts that are defined outside the package; the page does not.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from mulligan.core import registry
from mulligan.core.errors import unknown
from mulligan.core.option_docs import (
    REQUIRED,
    first_line,
    first_paragraph,
    options_with_words,
    plain_value,
    typed_value,
)
from mulligan.core.registry import EVERY, Registry


class Usage(NamedTuple):
    """The description of a kind of part, and how to choose one on the command line."""

    about: str = ""
    choose: str = ""  # how to choose a part: {name}
    option: str = ""  # how to set an option of it: {name}, {option}, {value}


USAGE = {
    "recipe": Usage(
        "A GAN and its training, as a list of parts. `mulligan zoo NAME` prints one in full.", "--recipe {name}"
    ),
    "generator": Usage(
        "Makes samples from noise and a condition.", "--set generator={name}", "--set generator.{option}={value}"
    ),
    "discriminator": Usage(
        "Separates real samples from generated ones.", "--set discriminator={name}",
        "--set discriminator.{option}={value}",
    ),
    "loss": Usage(
        "The functions of logits that the two players minimise.", "--set loss={name}", "--set loss.{option}={value}"
    ),
    "term": Usage(
        "A penalty that is added to a player's loss, or an action before, in or after its turn. Each term also has a "
        "`weight`, and `every`: the number of steps between two uses of it (`--set terms.r1.every=16`).",
        "--set terms.{name}.weight=1",
        "--set terms.{name}.{option}={value}",
    ),
    "augmentation": Usage(
        "Changes real and generated samples before the discriminator sees them.", "--set augment={name}",
        "--set augment.{option}={value}",
    ),
    "optimizer": Usage(
        "Updates a player's weights. The discriminator's optimizer is set by `optimizer.discriminator` in the same "
        "way. A number may be a schedule: `cosine(start, end)`, `linear(start, end, samples)`, "
        "`late-linear(start, end)`.",
        "--set optimizer.generator={name}",
        "--set optimizer.generator.{option}={value}",
    ),
    "task": Usage(
        "Defines the condition that the generator gets besides noise, and makes training batches from the data.",
        "--task {name}",
        "--set task.{option}={value}",
    ),
    "feature net": Usage("Computes the features of samples that metrics compare.", "--features {name}", ""),
    "group of measures": Usage("Metrics that `mulligan evaluate` computes together.", "--metrics {name}"),
    "reader": Usage("Opens data sets of certain formats.", "", "--read {option}={value}"),
    "kind of sample": Usage("The type of one sample: how it is stored, displayed and saved. The data determine it."),
}  # fmt: skip
COLUMNS = ("samples", "condition", "gives")  # of a list; a column without information is left out


def usage_of(parts: Registry) -> Usage:
    return USAGE.get(parts.kind, Usage())


def kind_name(parts: Registry) -> str:
    """The name of a kind as it is typed: `feature-net`."""
    return parts.kind.replace(" ", "-")


def registry_named(name: str) -> Registry:
    """A registry by the name of its kind. The plural, or the first or last word alone, is enough: `losses`, `kinds`.

    Raises UserError, with the nearest names, for an unknown kind.
    """
    typed = name.lower().replace(" ", "-").replace("_", "-")
    for each in (typed, typed.removesuffix("s"), typed.removesuffix("es")):
        for parts in EVERY:
            words = kind_name(parts).split("-")
            if each in (kind_name(parts), _plural(parts), words[0], words[-1]):
                return parts
    raise unknown("kind of part", name, map(kind_name, EVERY))


def all_kinds() -> list[dict[str, Any]]:
    """Every kind of part with the number of its parts, as JSON."""
    return [{"kind": kind_name(each), "parts": len(list(each)), "about": usage_of(each).about} for each in EVERY]


def about(parts: Registry, name: str) -> str:
    """The description of a part, in one line."""
    return parts[name]().about if parts is registry.recipes else first_line(parts[name])


def is_ours(parts: Registry, name: str) -> bool:
    """Whether a part belongs to the package."""
    return parts[name].__module__.partition(".")[0] == "mulligan"


def takes(parts: Registry, name: str) -> dict[str, str]:
    """What a part declares where it is registered, by `COLUMNS`."""
    declared = parts.declared(name)
    fields = [f"{field} (needed)" if field in declared.needs else field for field in sorted(declared.takes)]
    return {
        "samples": "any" if declared.kinds is None else ", ".join(sorted(declared.kinds)),
        "condition": ", ".join(fields),
        "gives": ", ".join(sorted(declared.gives)),
    }


def listed(parts: Registry, names: Iterable[str] | None = None) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """A header, and a row for each part: its name, its description, and the columns that hold any information."""
    names = parts if names is None else names
    rows = [{"name": name, "description": about(parts, name), **takes(parts, name)} for name in names]
    used = [column for column in COLUMNS if {row[column] for row in rows} - {"any", ""}]
    header = ("name", "description", *used)
    return header, [tuple(row[column] for column in header) for row in rows]


def facts(parts: Registry, name: str) -> dict[str, Any]:
    """Everything that is known about a part, as JSON."""
    part, declared, usage = parts[name], parts.declared(name), usage_of(parts)
    return {
        "kind": kind_name(parts),
        "name": name,
        "about": about(parts, name),
        "text": first_paragraph(part),
        "module": part.__module__,
        "samples": None if declared.kinds is None else sorted(declared.kinds),
        "takes": sorted(declared.takes),
        "needs": sorted(declared.needs),
        "gives": sorted(declared.gives),
        "choose": usage.choose.format(name=name),
        "options": [
            {
                "name": option.name,
                "type": option.type,
                "default": plain_value(option.default),
                "required": option.default is REQUIRED,
                "words": option.words,
                "typed": usage.option.format(name=name, option=option.name, value=_example(option.default)),
            }
            for option in options_with_words(part)
        ],
    }


def _example(default: Any) -> str:
    return typed_value(default) or "..."


def page() -> str:
    """docs/parts.md: every part of the package with its options."""
    counts = {parts: [name for name in parts if is_ours(parts, name)] for parts in EVERY}
    lines = [
        "# Parts",
        "",
        "The parts that a GAN can be made of, by kind. `mulligan parts KIND NAME` prints the same for one part, and "
        "shows how to type each option. This page is generated by `mulligan parts --markdown`; do not edit it.",
        "",
        "| kind | count | description |",
        "|---|---|---|",
    ]
    for parts, names in counts.items():
        lines.append(f"| [{kind_name(parts)}](#{_plural(parts)}) | {len(names)} | {_cell(usage_of(parts).about)} |")
    for parts, names in counts.items():
        lines += ["", *_section(parts, names)]
    return "\n".join(lines) + "\n"


def _plural(parts: Registry) -> str:
    first, of, rest = kind_name(parts).partition("-of-")
    return first + ("es" if first.endswith("s") else "s") + of + rest


def _section(parts: Registry, names: list[str]) -> Iterator[str]:
    usage = usage_of(parts)
    yield f"## {_plural(parts).replace('-', ' ').capitalize()}"
    yield ""
    yield usage.about
    for verb, typed in (("Choose one", usage.choose), ("Set an option", usage.option)):
        if typed:
            yield f"{verb} with `{typed.format(name='NAME', option='OPTION', value='VALUE')}`."
    yield ""
    header, rows = listed(parts, names)
    optional = {name for name in names if options_with_words(parts[name])}
    yield from _table(header, ((_linked(parts, row[0], optional), *map(_cell, row[1:])) for row in rows))
    for name in names:
        if name in optional:
            yield ""
            yield f"### {parts.kind} {name}"
            yield ""
            yield _prose(first_paragraph(parts[name]))
            yield ""
            yield from _table(
                ("option", "type", "default", "description"),
                (
                    (f"`{each.name}`", _code(each.type), _code(typed_value(each.default)), _cell(each.words))
                    for each in options_with_words(parts[name])
                ),
            )


def _linked(parts: Registry, name: str, optional: set[str]) -> str:
    slug = re.sub(r"[^\w -]", "", f"{parts.kind} {name}".lower()).replace(" ", "-")
    return f"[`{name}`](#{slug})" if name in optional else f"`{name}`"


def _table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    yield f"| {' | '.join(header)} |"
    yield f"|{'---|' * len(header)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"


def _code(text: str) -> str:
    return _cell(f"`{text}`") if text else ""


def _cell(text: str) -> str:
    """Text in a cell of a table."""
    return _prose(text).replace("|", "\\|")


def _prose(text: str) -> str:
    """Text that Markdown shows literally: outside of backticks, nothing is read as HTML or as emphasis."""
    pieces = text.split("`")
    return "`".join(re.sub(r"([<*])", r"\\\1", each) if i % 2 == 0 else each for i, each in enumerate(pieces))
