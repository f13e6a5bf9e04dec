"""Which sizes networks serve, and that what they do not is refused in one line with one that they do."""

from __future__ import annotations

import re
from inspect import signature

import pytest
import torch

from mulligan.core import registry
from mulligan.core.errors import UserError
from mulligan.models.sizes import base_grid, halvings
from mulligan.runs.build import build_networks, load_parts

load_parts()
SIZES = ((28, 28), (32, 32), (30, 45))
CPU, META = torch.device("cpu"), torch.device("meta")
RECIPES = {name: registry.recipes[name]().resolve() for name in registry.recipes}
FROM_NOISE = [r for r in RECIPES.values() if "shown" not in signature(registry.generators[r.generator.name]).parameters]
ONE_OF_EACH = {(r.generator.name, len(r.generator.options.get("widths", ()))): r.name for r in FROM_NOISE}


@pytest.mark.parametrize("name", ONE_OF_EACH.values())
def test_a_family_is_built_or_names_a_size_that_it_can_be_built_for(name: str) -> None:
    recipe = RECIPES[name]
    device = CPU if recipe.discriminator.name == "projected" else META  # a frozen net has weights that are read

    def build(*shape: int) -> None:
        with device:
            build_networks(recipe, shape, 3, device)

    for size in SIZES:
        try:
            build(3, *size)
        except UserError as error:
            said = str(error)
            assert "\n" not in said and f"{size[0]}x{size[1]}" in said
            named = re.search(r"try --size (\d+)x(\d+)(?:, or |$)", said)
            assert named, said
            build(3, *map(int, named.groups()))
    try:
        build(2)
    except UserError as error:
        assert str(error).endswith("points are for mlp")


@pytest.mark.parametrize(
    ("size", "count", "grid"),
    [((32, 32), 3, (4, 4)), ((24, 40), 3, (3, 5)), ((5, 7), 0, (5, 7)), ((64, 64), 6, (1, 1))],
)
def test_a_base_grid(size: tuple[int, int], count: int, grid: tuple[int, int]) -> None:
    assert base_grid("some", (3, *size), count) == grid


def test_a_near_size_is_named() -> None:
    with pytest.raises(UserError, match=r"some: 4 stages .* multiples of 8, not 28x45; try --size 32x48$"):
        base_grid("some", (1, 28, 45), 3)
    with pytest.raises(UserError, match=r"try --size 64x64$"):
        base_grid("some", (1, 28, 28), 6)
    with pytest.raises(UserError, match="points are for mlp"):
        base_grid("some", (2,), 3)
    with pytest.raises(UserError, match=r"not possible from 30x45; try --size 32x48$"):
        halvings("some", (1, 30, 45))
