"""Verbs that show what Mulligan has: zoo, and the shell's completion."""

from __future__ import annotations

import re

import click

from mulligan.cli.words import (
    print_json,
    print_table,
)


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME | compare NAME NAME]")
@click.option("--find", default="", help="Only those in which these words occur: hinge, 2018, spectral, ...")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def zoo(names: tuple[str, ...], find: str, as_json: bool) -> None:
    """List the recipes, show one in full, or how one differs from another."""
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
                changed = api.compare(api.recipe(recipe.parent), recipe)
                print_table(changed, header=("differs in", recipe.parent, recipe.name))
        case ("compare", a, b):
            changed = api.compare(api.recipe(a), api.recipe(b))
            if as_json:
                print_json([dict(zip(("what", a, b), row, strict=True)) for row in changed])
            elif not changed:
                print(f"{a} and {b} differ in nothing but their words")
            else:
                print_table(changed, header=("differs in", a, b))
        case _:
            raise click.UsageError("give no name, one, or: compare NAME NAME")


def _year(paper: str) -> str:
    found = re.search(r"\b(?:19|20)\d\d\b(?!\.\d)", paper)  # and not an arXiv number
    return found[0] if found else ""


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script for SHELL, to be sourced from its start-up file."""
    from click.shell_completion import get_completion_class

    made = get_completion_class(shell)
    assert made is not None
    print(made(click.get_current_context().find_root().command, {}, "mulligan", "_MULLIGAN_COMPLETE").source())
