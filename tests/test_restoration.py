"""Tasks that corrupt images, and the batches that they make."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from mulligan.core import registry
from mulligan.core.batch import to_float, to_uint8
from mulligan.core.errors import UserError
from mulligan.core.recipe import Part
from mulligan.core.sample import Sample
from mulligan.kinds.image import ImageSample
from mulligan.kinds.points import PointSample
from mulligan.runs.parts import load_parts
from mulligan.tasks.generation import Task
from mulligan.tasks.restoration import draw_masks

load_parts()
KINDS = [
    *(Part("inpaint", masks=masks) for masks in ("boxes", "strokes", "border", "half", "mixed")),
    *(Part("denoise", noise=noise) for noise in ("gaussian", "poisson", "salt")),
    *(Part("deblur", blur=blur) for blur in ("gaussian", "motion", "mixed")),
    *(Part("superres", scale=scale) for scale in (2, 4, 8)),
    Part("superres", enlarge="nearest"),
    Part("colour"),
    Part("jpeg"),
]


def data_of(sample: Sample) -> SimpleNamespace:
    rows = np.arange(20)
    return SimpleNamespace(name="some", sample=sample, classes=[], train=rows, heldout=rows[:10], partners=None)


def task_of(part: Part, shape: tuple[int, ...] = (3, 24, 36)) -> Task:
    return part.build(registry.tasks, data_of(ImageSample(shape=shape)))


def rng(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def clean() -> torch.Tensor:
    """Smooth pictures (6, 3, 24, 36), of 8 bits."""
    rough = torch.rand(6, 3, 4, 6, generator=rng(0)) * 2 - 1
    smooth = torch.nn.functional.interpolate(rough, size=(24, 36), mode="bicubic").clamp(-1, 1)
    return to_float(to_uint8(smooth))


@pytest.mark.parametrize("part", KINDS, ids=lambda part: " ".join(map(str, part.as_json().values())))
def test_corruption_is_seeded_in_range_and_of_the_shape_it_says(part: Part, clean: torch.Tensor) -> None:
    task = task_of(part)
    cond, again, other = (task.corrupt(clean.clone(), rng(seed)) for seed in (1, 1, 2))
    assert list(cond) == list(task.condition.names) == ["image", "mask"][: 1 + (part.name == "inpaint")]
    for name, tensor in cond.items():
        assert tensor.shape == (6, *task.condition[name].shape) and tensor.shape[2:] == (24, 36)
        assert task.condition[name].along == "HW" and tensor.dtype == torch.float32
        assert tensor.isfinite().all() and tensor.abs().max() <= 1
        assert torch.equal(tensor, again[name])
        if part.name not in ("colour", "superres"):  # which leave nothing to chance
            assert not torch.equal(tensor, other[name])
    if part.name not in ("inpaint", "colour"):
        assert not torch.equal(cond["image"], clean)
        assert (cond["image"] - clean).abs().mean() < 0.5, "it is still the same picture"


@pytest.mark.parametrize("kind", ["boxes", "strokes", "border", "half", "mixed"])
@pytest.mark.parametrize("size", [(28, 28), (9, 40)], ids=str)
def test_masks_have_holes_and_leave_something(kind: str, size: tuple[int, int]) -> None:
    masks = draw_masks(torch.zeros(64, 1, *size), rng(0), kind, 0.5)
    share = masks.flatten(1).mean(1)
    assert masks.unique().tolist() == [0, 1] and share.min() > 0 and share.max() < 1
    assert len(masks.flatten(1).unique(dim=0)) > 1


def test_a_centred_box_is_where_and_as_large_as_it_says() -> None:
    mask = draw_masks(torch.zeros(2, 1, 28, 28), rng(0), "boxes", 0.5, centred=True)
    wanted = torch.zeros(28, 28)
    wanted[7:21, 7:21] = 1
    assert torch.equal(mask, wanted.expand(2, 1, 28, 28))


def test_what_a_blur_does_to_a_point_and_to_what_is_flat() -> None:
    point = torch.full((4, 1, 21, 21), -1.0)
    point[:, :, 10, 10] = 1
    for blur in ("gaussian", "motion"):
        task = task_of(Part("deblur", blur=blur, least=1.0, most=2.0), (1, 21, 21))
        spread = task.corrupt(point, rng(0))["image"] + 1
        assert torch.allclose(spread.sum((1, 2, 3)), torch.tensor(2.0), atol=1e-4), "no light is lost"
        assert spread.flatten(1).max(1).values.max() < 1.5
        flat = task.corrupt(torch.full_like(point, 0.25), rng(0))["image"]
        assert torch.allclose(flat, torch.tensor(0.25))


def test_noise_is_as_strong_as_it_says() -> None:
    grey = torch.zeros(8, 1, 64, 64)
    for noise, wanted in (("gaussian", 0.2), ("poisson", 0.2 * 2 * 0.5**0.5)):
        task = task_of(Part("denoise", noise=noise, least=0.2, most=0.2), (1, 64, 64))
        assert task.corrupt(grey, rng(0))["image"].std().item() == pytest.approx(wanted, rel=0.02)
    salted = task_of(Part("denoise", noise="salt", least=0.3, most=0.3), (1, 64, 64)).corrupt(grey, rng(0))["image"]
    assert (salted != 0).float().mean().item() == pytest.approx(0.3, abs=0.01)


@pytest.mark.parametrize(
    ("part", "shape", "complaint"),
    [
        (Part("colour"), (1, 8, 8), "--channels 3"),
        (Part("jpeg"), (4, 8, 8), "--channels 3"),
        (Part("inpaint", hole=1.0), (1, 8, 8), "between 0 and 1"),
        (Part("denoise", least=0.5, most=0.1), (1, 8, 8), "strength"),
        (Part("pairs"), (1, 8, 8), "a/ and b/"),
    ],
    ids=str,
)
def test_what_cannot_be_restored_is_said(part: Part, shape: tuple[int, ...], complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        task_of(part, shape)


@pytest.mark.parametrize("name", sorted({part.name for part in KINDS} | {"pairs", "style"}))
def test_only_images_are_restored(name: str) -> None:
    with pytest.raises(UserError, match=f"task '{name}' is for image samples, and these are points of 2; valid tasks"):
        registry.refuse(registry.tasks, name, PointSample())


def test_records_become_batches() -> None:
    data = data_of(ImageSample(shape=(1, 4, 4)))
    data.records = lambda rows: torch.zeros(len(rows), 1, 4, 4)
    batch = Part("inpaint").build(registry.tasks, data).batch(np.arange(3))
    assert batch.real.shape == (3, 1, 4, 4) and batch.cond == {}
