"""Numbers of parameters, ours and published: docs/zoo.md shows them, and a test checks them."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import torch

from mulligan.core import registry
from mulligan.core.condition import NOTHING, ConditionSpec, Field, by_class
from mulligan.engine.device import device_setting
from mulligan.kinds.image import ImageSample
from mulligan.runs.build import build_networks, parameters_of
from mulligan.runs.parts import load_parts

PAPER = "the paper"
CODE = "the authors' code"
DERIVED = "arithmetic on the authors' code"  # known to one unit of its last digit
LOG = "a log of PyTorch-StudioGAN"


class Size(NamedTuple):
    """What the networks of a recipe are built for, and their published sizes."""

    shape: tuple[int, int, int]
    published: tuple[str | None, str | None] = (None, None)  # millions of G and of D, as written; None: not found
    where: str = ""
    condition: ConditionSpec = NOTHING
    more: tuple[int, int] = (0, 0)  # parameters that they count and we do not, of G and of D
    why: str = ""


def _of_latents(width: int, of_g: str) -> Size:
    positions = 16 * 16 * width
    return Size(
        (4, 32, 32), (of_g, None), PAPER, by_class(1000), more=(positions, positions),
        why="fixed positions are counted there",
    )  # fmt: skip


def _of_gat(width: int, of_g: str, of_d: str) -> Size:
    fixed, unused = 256 * width, 17 * width
    aligned = (width + 1) * 2048 + 2049 * 2048 + 2049 * 768
    return Size(
        (4, 32, 32), (of_g, of_d), DERIVED, by_class(1000), more=(fixed + unused, fixed + aligned),
        why="fixed positions are counted there, and unused patch embeddings of G; an MLP maps D's tokens to DINOv2's",
    )  # fmt: skip


UNAFFINE = "4x4 kernels in upsampling, where theirs are 3x3, and norms that scale and shift"


def _image(*more: Field, paired: bool = False) -> ConditionSpec:
    return ConditionSpec((Field("image", (3, 256, 256), along="HW"), *more), paired)


SIZES = {
    "sngan-cifar10": Size((3, 32, 32), ("4.28", "1.05"), "public logs"),
    "contragan-cifar10": Size((3, 32, 32), ("9.416196", "2.517186"), LOG, by_class(10)),
    "biggan-imagenet128": Size((3, 128, 128), ("70.43", "87.98"), CODE, by_class(1000)),
    "biggan-deep-imagenet128": Size(
        (3, 128, 128), ("50.4", "34.6"), PAPER, by_class(1000), more=(144_125, 0),
        why="their last convolution gives 128 channels, of which three are used",
    ),
    "progan-celebahq1024": Size((3, 1024, 1024), ("23.1", "23.1"), PAPER),
    "stylegan2-ffhq1024": Size((3, 1024, 1024), ("30.370060", "29.012513"), CODE),
    "stylegan3-t-ffhq1024": Size((3, 1024, 1024), ("22.3", None), PAPER),
    "stylegan3-r-ffhq1024": Size((3, 128, 128), ("21.366701", None), "a log of the authors' code, of a smaller size"),
    "stylegan3-t-ffhqu256": Size((3, 256, 256), ("23.3", None), PAPER),
    "stylegan3-r-ffhqu256": Size((3, 256, 256), ("15.8", None), PAPER),
    "r3gan-cifar10": Size((3, 32, 32), ("20.78", "21.28"), DERIVED, by_class(10)),
    "r3gan-ffhq64": Size((3, 64, 64), ("22.43", "22.38"), DERIVED),
    "r3gan-ffhq256": Size((3, 256, 256), ("23.06", "23.01"), DERIVED),
    "r3gan-imagenet32": Size((3, 32, 32), ("82.9", "86.6"), DERIVED, by_class(1000)),
    "r3gan-imagenet64": Size((3, 64, 64), ("103.6", "107.2"), DERIVED, by_class(1000)),
    "afm-b": _of_latents(768, "130"),
    "afm-m": _of_latents(1024, "306"),
    "afm-l": _of_latents(1024, "457"),
    "afm-xl": _of_latents(1152, "673"),
    "gat-s": _of_gat(384, "29.36", "39.21"),
    "gat-b": _of_gat(768, "116.75", "104.68"),
    "gat-l": _of_gat(1024, "408.75", "323.04"),
    "gat-xl": _of_gat(1152, "602.25", "467.68"),
    "pix2pix": Size(
        (3, 256, 256), ("54.414", "2.769"), CODE, _image(paired=True), more=(-5_504, -896),
        why="biases where theirs have none: in all layers of G but the last, and before D's norms",
    ),
    "cyclegan": Size(
        (3, 256, 256), ("22.756", "5.529"), CODE, _image(Field("side", classes=2)),
        more=(-594_432, -3_584), why=UNAFFINE,
    ),
    "cut": Size(
        (3, 256, 256), ("11.939", "2.765"), CODE, _image(), more=(-297_216, -1_792), why=UNAFFINE
    ),
}  # fmt: skip


def counted(name: str) -> tuple[int, int]:
    """Numbers of parameters of G and of D, which are built without memory for their weights."""
    load_parts()
    size, recipe = SIZES[name], registry.recipes[name]().resolve()
    setting = dataclasses.replace(device_setting("cpu", "fp32"), device=torch.device("meta"))
    with setting.device:
        G, D = build_networks(recipe, ImageSample(shape=size.shape), size.condition, setting)
    return parameters_of(G), parameters_of(D)
