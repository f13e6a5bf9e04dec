"""Projected GAN: a frozen net inside D that nothing changes, mixtures of its maps, a head for each."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from mulligan.core.condition import Condition, by_class
from mulligan.core.errors import UserError
from mulligan.core.network import Generator
from mulligan.core.registry import discriminators, features, refuse, terms
from mulligan.core.step import Step
from mulligan.kinds.image import ImageSample
from mulligan.kinds.points import PointSample
from mulligan.models.projected import Mixing, ProjectedDiscriminator
from mulligan.nn.frozen import Frozen, with_maps
from mulligan.runs.parts import load_parts

load_parts()
DIGIT = ImageSample(shape=(1, 28, 28))
NOTHING, EMPTY = by_class(0), Condition()


@pytest.mark.parametrize("classes", [0, 3])
@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (3, 64, 64), (4, 32, 48)], ids=str)
def test_shapes_and_gradients(shape: tuple[int, ...], classes: int) -> None:
    torch.manual_seed(0)
    D = ProjectedDiscriminator(ImageSample(shape=shape), by_class(classes), width=8)
    x = torch.randn(3, *shape).clamp(-1, 1).requires_grad_()
    judgement = D(x, Condition({"class": torch.tensor([0, 1, 2])} if classes else {}))
    assert len(judgement.logits) == len(judgement.features) == 3
    for logits in judgement.logits:
        assert logits.ndim == 3 and len(logits) == 3 and 4 <= logits.shape[1] <= 5
        (of_image,) = torch.autograd.grad(logits.sum(), x, retain_graph=True)
        assert of_image.abs().sum() > 0
    sum((logits * torch.randn_like(logits)).sum() for logits in judgement.logits).backward()
    assert not [name for name, p in D.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]


def test_the_nets_that_have_maps() -> None:
    assert with_maps() == ["digits", "inception", "random"]
    for shape in ((1, 28, 28), (3, 50, 40)):
        x = torch.rand(2, *shape) * 2 - 1
        for name in ("digits", "random"):
            net = features[name]()
            maps = net.maps(x)
            assert [m.shape[2] for m in maps] == ([28, 14, 7] if name == "digits" else [32, 16, 8])
            if name == "random":
                torch.testing.assert_close(F.avg_pool2d(maps[-1], 4).flatten(1), net(x))
            else:
                torch.testing.assert_close(net.trunk[5:](maps[-1]), net(x))
    with pytest.raises(UserError, match=r"no maps.*digits, inception, random"):
        ProjectedDiscriminator(DIGIT, NOTHING, features="plain")
    with pytest.raises(UserError, match="did you mean 'random'"):
        ProjectedDiscriminator(DIGIT, NOTHING, features="randon")
    with pytest.raises(UserError, match=r"'projected' is for image samples.*: mlp$"):
        refuse(discriminators, "projected", PointSample(), NOTHING)


def test_inceptions_last_map_is_what_it_pools() -> None:
    from mulligan.metrics.features.inception import FidInception, InceptionV3

    torch.manual_seed(0)
    net = FidInception(InceptionV3(), "antialias", "untrained")
    x = torch.rand(1, 1, 20, 20) * 2 - 1
    with torch.no_grad():
        maps = net.maps(x)
        torch.testing.assert_close(maps[-1].mean((2, 3)), net(x))
    assert [tuple(m.shape[1:3]) for m in maps] == [(192, 71), (288, 35), (768, 17), (2048, 8)]


def fingerprint(net: nn.Module) -> list[torch.Tensor]:
    return [buffer.clone() for buffer in net.buffers()]


def test_nothing_touches_what_is_frozen() -> None:
    D = ProjectedDiscriminator(DIGIT, NOTHING, width=8)
    assert not list(D.frozen.parameters()) and not D.frozen.state_dict() and not D.mixing.state_dict()
    assert all(not name.startswith(("frozen", "mixing")) for name in D.state_dict())
    before = fingerprint(D.frozen), fingerprint(D.mixing)
    x = torch.randn(4, 1, 28, 28)
    before_training = D.eval()(x, EMPTY).features
    D.train().requires_grad_(True)
    assert not any(module.training for module in D.frozen.modules())
    for a, b in zip(before_training, D(x, EMPTY).features, strict=True):
        assert torch.equal(a, b)  # by running statistics
    optimizer = torch.optim.Adam(D.parameters(), lr=0.1)
    sum(logits.sum() for logits in D(x, EMPTY).logits).backward()
    optimizer.step()
    at = Step("d", Generator(), D, torch.zeros(4, 1), EMPTY, x, x)
    terms["clip"]().fn(at, 0.001)
    for was, now in zip(before, (D.frozen, D.mixing), strict=True):
        assert all(torch.equal(a, b) for a, b in zip(was, fingerprint(now), strict=True))


def test_projections_do_not_depend_on_the_seed() -> None:
    """After a rewind random numbers differ, and weights from a checkpoint meet projections that are drawn anew."""
    torch.manual_seed(0)
    one = ProjectedDiscriminator(DIGIT, NOTHING, width=8)
    torch.manual_seed(1)
    other = ProjectedDiscriminator(DIGIT, NOTHING, width=8)
    x = torch.randn(2, 1, 28, 28)
    for a, b in zip(one.eval()(x, EMPTY).features, other.eval()(x, EMPTY).features, strict=True):
        assert torch.equal(a, b)
    other.load_state_dict(copy.deepcopy(one.state_dict()))
    for a, b in zip(one(x, EMPTY).logits, other(x, EMPTY).logits, strict=True):
        assert torch.equal(a, b)


def test_a_frozen_net_sees_what_the_net_sees() -> None:
    x = torch.rand(2, 1, 28, 28) * 2 - 1
    for name in ("digits", "random"):
        for a, b in zip(Frozen(name).train()(x), features[name]().maps(x), strict=True):
            assert torch.equal(a, b)


def test_mixing_goes_from_coarse_to_fine() -> None:
    torch.manual_seed(0)
    mix = Mixing([2, 3])
    fine, rough = torch.randn(1, 2, 4, 4), torch.randn(1, 3, 2, 2)
    mixed_fine, mixed_rough = mix([fine, rough])
    coarse = torch.einsum("oc,bchw->bohw", mix.within1[:, :, 0, 0], rough)
    torch.testing.assert_close(mixed_rough, coarse)
    up = F.interpolate(F.conv2d(coarse, mix.from_coarser0, padding=1), size=(4, 4), mode="bilinear")
    own = torch.einsum("oc,bchw->bohw", mix.within0[:, :, 0, 0], fine)
    torch.testing.assert_close(mixed_fine, (own + up) / 2**0.5)
    assert not torch.equal(mix([fine, rough + 1])[0], mixed_fine) and torch.equal(
        mix([fine + 1, rough])[1], mixed_rough
    )
    wide = Mixing([256, 256])
    assert wide.within0.var().item() == pytest.approx(1 / 256, rel=0.05)
    assert wide.from_coarser0.var().item() == pytest.approx(1 / (256 * 9), rel=0.05)
