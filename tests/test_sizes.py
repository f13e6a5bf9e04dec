"""Which image sizes networks support. Others are refused in one line, which names a near size that they support."""

from __future__ import annotations

import re

import pytest
import torch

from mulligan.core import registry
from mulligan.core.condition import by_class
from mulligan.core.errors import UserError
from mulligan.core.sample import Sample
from mulligan.engine.device import DeviceSetting
from mulligan.kinds.image import ImageSample
from mulligan.kinds.points import PointSample
from mulligan.models.sizes import base_grid, halvings
from mulligan.runs.build import build_networks
from mulligan.runs.parts import load_parts

load_parts()
SIZES = ((28, 28), (32, 32), (30, 45))
CPU, META = torch.device("cpu"), torch.device("meta")
RECIPES = {name: registry.recipes[name]().resolve() for name in registry.recipes}
FROM_NOISE = [r for r in RECIPES.values() if not registry.generators.declared(r.generator.name).needs]
ONE_OF_EACH = {(r.generator.name, len(r.generator.options.get("widths", ()))): r.name for r in FROM_NOISE}


@pytest.mark.parametrize("name", ONE_OF_EACH.values())
def test_a_family_is_built_or_names_a_size_that_it_can_be_built_for(name: str) -> None:
    recipe = RECIPES[name]
    device = CPU if recipe.discriminator.name == "projected" else META  # a frozen net reads its weights from a file

    def build(sample: Sample) -> None:
        with device:
            build_networks(recipe, sample, by_class(3), DeviceSetting(device))

    for size in SIZES:
        try:
            build(ImageSample(shape=(3, *size)))
        except UserError as error:
            said = str(error)
            assert "\n" not in said and f"{size[0]}x{size[1]}" in said
            named = re.search(r"try --size (\d+)x(\d+)(?:, or |$)", said)
            assert named, said
            build(ImageSample(shape=(3, *map(int, named.groups()))))
    if registry.generators.declared(recipe.generator.name).kinds is None:
        build(PointSample())
    else:
        with pytest.raises(UserError, match=r"is for image samples, .* valid generators: mlp$"):
            build(PointSample())


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
    with pytest.raises(UserError, match=r"not possible from 30x45; try --size 32x48$"):
        halvings("some", (1, 30, 45))
