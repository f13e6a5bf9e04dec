"""The shuffle family: shapes, gradients, sizes served and refused."""

from __future__ import annotations

import pytest
import torch

from mulligan.core.errors import UserError
from mulligan.models.shuffle import ShuffleDiscriminator, ShuffleGenerator, doublings


@pytest.mark.parametrize("classes", [0, 3])
@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (4, 64, 48), (3, 100, 100)])
def test_shapes_range_and_gradients(shape: tuple[int, ...], classes: int) -> None:
    G = ShuffleGenerator(shape, classes, width=8, blocks=1, z=5)
    D = ShuffleDiscriminator(shape, classes, width=8, blocks=1, features=6)
    for net in (G, D):  # residual branches start at zero, where their first convolution gets no gradient
        for name, parameter in net.named_parameters():
            if name.endswith("second.weight"):
                torch.nn.init.normal_(parameter, std=0.1)
    cond = torch.tensor([0, classes - 1]) if classes else None
    fake = G(torch.randn(2, *G.z_shape), cond)
    assert fake.shape == (2, *shape) and fake.abs().max() <= 1
    judgement = D(fake, cond)
    assert [logit.shape for logit in judgement.logits] == [(2,)]
    judgement.logits[0].sum().backward()
    for net in (G, D):
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters())


def test_the_class_matters_to_both() -> None:
    G, D = ShuffleGenerator((1, 16, 16), 2, width=8), ShuffleDiscriminator((1, 16, 16), 2, width=8)
    z = torch.randn(1, *G.z_shape)
    zero, one = torch.tensor([0]), torch.tensor([1])
    assert not torch.equal(G(z, zero), G(z, one))
    x = G(z, zero)
    assert D(x, zero).logits[0] != D(x, one).logits[0]


@pytest.mark.parametrize(("shape", "near"), [((1, 30, 30), "32x32"), ((1, 8, 8), "16x16"), ((3, 101, 77), "104x80")])
def test_sizes_it_cannot_serve_are_refused_with_the_nearest(shape: tuple[int, ...], near: str) -> None:
    with pytest.raises(UserError, match=near):
        ShuffleGenerator(shape, 0)
    channels, *_ = shape
    assert doublings((channels, *map(int, near.split("x")))) >= 2, "what is recommended is served"
