"""Verbs that list what Mulligan has: zoo, parts, and shell completion."""

from __future__ import annotations

import re
from typing import Any

import click

from mulligan.cli.words import print_json, print_table


@click.command(short_help="List, show or compare recipes.")
@click.argument("names", nargs=-1, metavar="[NAME | compare NAME NAME]")
@click.option("--find", default="", help="List only recipes with all of these words, such as hinge 2018.")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def zoo(names: tuple[str, ...], find: str, as_json: bool) -> None:
    """List the recipes, show one in full, or show how two of them differ."""
    from mulligan import api

    match names:
        case ():
            found = api.recipes(find)
            if as_json:
                print_json([recipe.as_json() for recipe in found])
            elif not found:
                print(f"no recipe has all of these words: {find}")
            else:
                rows = sorted((_year(recipe.paper), recipe.name, recipe.about) for recipe in found)
                print_table(rows, header=("year", "recipe", "idea"))
        case (name,):
            recipe = api.recipe(name)
            if as_json:
                print_json(recipe.as_json())
                return
            print_table(api.describe(recipe))
            if recipe.parent:
                print()
                changed = api.differences(api.recipe(recipe.parent), recipe)
                print_table(changed, header=("differs in", recipe.parent, recipe.name))
        case ("compare", a, b):
            changed = api.differences(api.recipe(a), api.recipe(b))
            if as_json:
                print_json([dict(zip(("what", a, b), row, strict=True)) for row in changed])
            elif not changed:
                print(f"{a} and {b} differ in nothing but their descriptions")
            else:
                print_table(changed, header=("differs in", a, b))
        case _:
            raise click.UsageError("give no name, one, or: compare NAME NAME")


def _year(paper: str) -> str:
    found = re.search(r"\b(?:19|20)\d\d\b(?!\.\d)", paper)  # and not an arXiv number
    return found[0] if found else ""


@click.command(short_help="List kinds of parts, parts, or their options.")
@click.argument("kind", required=False)
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@click.option("--markdown", is_flag=True, help="Print all parts as one page of Markdown.")
def parts(kind: str | None, name: str | None, as_json: bool, markdown: bool) -> None:
    """List the kinds of parts, the parts of one KIND, or the options of the part NAME.

    For example:  mulligan parts loss,  mulligan parts generator dcgan
    """
    from mulligan import api
    from mulligan.core import catalogue

    facts = api.parts(kind, name)
    if markdown:
        if kind or as_json:
            raise click.UsageError("--markdown prints all parts: it goes with no KIND, and not with --json")
        print(catalogue.page(), end="")
        return
    if as_json:
        print_json(facts)
    elif name:
        _print_part(facts)
    elif kind:
        header, rows = catalogue.listed(catalogue.registry_named(kind))
        print_table(rows, header=header)
    else:
        rows = [(each["kind"], str(each["parts"]), each["about"].split(". ")[0].rstrip(".")) for each in facts]
        print_table(rows, header=("kind", "parts", "description"))


def _print_part(facts: dict[str, Any]) -> None:
    from mulligan.core.option_docs import typed_value

    print(f"{facts['kind']} {facts['name']}: {facts['text'] or facts['about']}\n")
    rows = [
        ("for", "any samples" if facts["samples"] is None else f"{', '.join(facts['samples'])} samples"),
        ("needs", ", ".join(facts["needs"])),
        ("takes", ", ".join(field for field in facts["takes"] if field not in facts["needs"])),
        ("gives", ", ".join(facts["gives"])),
        ("choose it", facts["choose"]),
        ("defined in", facts["module"]),
    ]
    print_table([row for row in rows if row[1]])
    options = []
    for each in facts["options"]:
        default = "(must be given)" if each["required"] else typed_value(each["default"])
        row = (each["name"], each["type"], default, each["words"], each["typed"])
        options.append(row if each["typed"] else row[:-1])
    if options:
        print()
        print_table(options, header=("option", "type", "default", "description", "typed as")[: len(options[0])])


@click.command(short_help="Print the completion script for a shell.")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script for SHELL, to be loaded in its start-up file."""
    from click.shell_completion import get_completion_class

    made = get_completion_class(shell)
    assert made is not None
    print(made(click.get_current_context().find_root().command, {}, "mulligan", "_MULLIGAN_COMPLETE").source())
