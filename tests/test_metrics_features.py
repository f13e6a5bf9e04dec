"""Feature nets: their preprocessing, the shipped ones, and the protocol of a number."""

from __future__ import annotations

import dataclasses
import importlib
import json
import pkgutil
from typing import get_type_hints

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
from mulligan.data.digits import FILE as DIGITS
from mulligan.metrics.distances import frechet_distance, measure
from mulligan.metrics.features.digits import WEIGHTS, ByChannel, DigitsNet
from mulligan.metrics.features.hub import HubNet
from mulligan.metrics.features.inception import FidInception
from mulligan.metrics.features.net import FeatureNet
from mulligan.metrics.features.own import OwnNet
from mulligan.metrics.features.pixels import resize, to_grey, to_rgb
from mulligan.metrics.features.plain import Plain
from mulligan.metrics.features.random_net import RandomNet
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


def test_resize_like_tensorflow_1():
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
    net, points = Part("plain").build(features), noise(5, 2)
    assert torch.equal(net(points), points)
    assert torch.equal(net(noise(5, 3, 8, 8)), noise(5, 3, 8, 8).flatten(1)), "any shape, as rows of numbers"
    assert net(noise(2, 1, 64, 64)).shape == (2, 4096)
    with pytest.raises(UserError, match=r"at most 4,096 numbers, and these have 4,160; other feature nets:.* random"):
        net(noise(5, 1, 64, 65))


def test_what_a_net_declares_is_what_it_has():
    """By name, for a choice before it is built, and by attribute of the instance; other tests build the costly ones."""
    classes = {name: FeatureNet for name in features} | {
        "digits": DigitsNet, "digits-by-channel": ByChannel, "random": RandomNet, "plain": Plain, "self": OwnNet,
        "inception": FidInception, "dinov2": HubNet, "clip": HubNet,
    }  # fmt: skip
    for name, kind in classes.items():
        gives = features.declared(name).gives
        assert kind is not FeatureNet and get_type_hints(features[name])["return"] is kind, name
        assert gives == {what for what in ("maps", "head") if getattr(kind, f"has_{what}")}, name
        assert ("maps" in gives) == (kind.maps is not FeatureNet.maps), name
        assert features.declared(name).kinds == (None if name == "plain" else {"image"}), name
    for name in (*SHIPPED, "plain", "digits-by-channel"):
        net = Part(name).build(features)
        assert isinstance(net, classes[name]) and (net.has_head == hasattr(net, "head")), name


@pytest.mark.parametrize("name", SHIPPED)
@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 17, 40), (4, 64, 64)])
def test_a_net_takes_images_of_any_size(name: str, shape: tuple[int, ...]):
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
    """Of each class of the shipped digits the last 50 (they come sorted by class), as images in [-1, 1]."""
    with np.load(DIGITS) as held:
        pixels, labels = held["images"], held["labels"]
    assert (np.diff(labels) >= 0).all()
    last = np.concatenate([np.arange(500 * c + 450, 500 * c + 500) for c in range(10)])
    images = torch.from_numpy(pixels[last])[:, None]
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
    real, rest = extract(net, [images[::2]], to_net=to_float), images[1::2]
    blurred = [rest, F.avg_pool2d(rest + 1, 3, 1, 1) - 1, F.avg_pool2d(rest + 1, 5, 1, 2) - 1]
    noisy = [rest, *[(rest + level * noise(*rest.shape)).clamp(-1, 1) for level in (0.5, 1.0)]]
    poorer = [rest, rest[labels[1::2] < 7], rest[labels[1::2] < 3]]
    for ladder in (blurred, noisy, poorer):
        steps = [frechet_distance(real, extract(net, [step], to_net=to_float)) for step in ladder]
        assert steps[0] * 1.5 < steps[1] and steps[1] * 1.5 < steps[2]
    collapsed = measure(real, extract(net, [rest[labels[1::2] == 3].repeat(10, 1, 1, 1)], to_net=to_float))
    assert collapsed["precision"] > 0.8 and collapsed["recall"] < 0.2 and collapsed["coverage"] < 0.2


# --- computing features, and the protocol


def test_extract_is_the_same_however_images_come():
    net = Part("digits").build(features)
    raw = torch.randint(0, 256, (7, 1, 28, 28), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    whole = extract(net, [raw], to_net=to_float)
    assert whole.shape == (7, 96) and whole.dtype == torch.float32 and whole.device.type == "cpu"
    torch.testing.assert_close(extract(net, iter([raw[:3], raw[3:]]), to_net=to_float), whole, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(extract(net, [to_float(raw)], to_net=to_float), whole)
    net.block = 2
    torch.testing.assert_close(extract(net, [raw], to_net=to_float), whole, rtol=1e-4, atol=1e-5)
    with pytest.raises(UserError, match="no samples"):
        extract(net, [], to_net=to_float)


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
        records="uint8",
        pairs="inpaint",
    )
    assert Protocol(**json.loads(json.dumps(protocol.as_dict()))) == protocol
    line = str(protocol)
    assert "\n" not in line
    for part in ("5,000 fakes", "seed 3", "step-000000100", "4,500 train", "cafe", "0123456789ab", "antialias", "k=5"):
        assert part in line
    assert "train images of digits (cafe)" in line and "antialias, uint8; k=5; inpaint of the same images" in line
    assert "train rows of" in str(dataclasses.replace(protocol, noun="rows"))
