"""The shuffle family: shapes, gradients, sizes that are supported and refused."""

from __future__ import annotations

import pytest
import torch

from mulligan.core.condition import Condition, by_class
from mulligan.core.errors import UserError
from mulligan.kinds.image import ImageSample
from mulligan.models.shuffle import ShuffleDiscriminator, ShuffleGenerator, doublings


@pytest.mark.parametrize("classes", [0, 3])
@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (4, 64, 48), (3, 100, 100)])
def test_shapes_range_and_gradients(shape: tuple[int, ...], classes: int) -> None:
    G = ShuffleGenerator(ImageSample(shape=shape), by_class(classes), width=8, blocks=1, z=5)
    D = ShuffleDiscriminator(ImageSample(shape=shape), by_class(classes), width=8, blocks=1, features=6)
    for net in (G, D):  # residual branches start at zero, where their first convolution gets no gradient
        for name, parameter in net.named_parameters():
            if name.endswith("second.weight"):
                torch.nn.init.normal_(parameter, std=0.1)
    cond = Condition({"class": torch.tensor([0, classes - 1])} if classes else {})
    fake = G(torch.randn(2, *G.z_shape), cond)
    assert fake.shape == (2, *shape) and fake.abs().max() <= 1
    judgement = D(fake, cond)
    assert [logit.shape for logit in judgement.logits] == [(2,)]
    judgement.logits[0].sum().backward()
    for net in (G, D):
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters())


def test_the_class_matters_to_both() -> None:
    sample = ImageSample(shape=(1, 16, 16))
    G, D = ShuffleGenerator(sample, by_class(2), width=8), ShuffleDiscriminator(sample, by_class(2), width=8)
    z = torch.randn(1, *G.z_shape)
    zero, one = (Condition({"class": torch.tensor([k])}) for k in range(2))
    assert not torch.equal(G(z, zero), G(z, one))
    x = G(z, zero)
    assert D(x, zero).logits[0] != D(x, one).logits[0]


@pytest.mark.parametrize(("shape", "near"), [((1, 30, 30), "32x32"), ((1, 8, 8), "16x16"), ((3, 101, 77), "104x80")])
def test_other_sizes_are_refused_with_a_near_one_that_is_supported(shape: tuple[int, ...], near: str) -> None:
    with pytest.raises(UserError, match=near):
        ShuffleGenerator(ImageSample(shape=shape), by_class(0))
    channels, *_ = shape
    assert doublings((channels, *map(int, near.split("x")))) >= 2, "the recommended size is supported"
