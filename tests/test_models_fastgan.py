"""FastGAN: its networks, excitation from afar, and a D that draws what it saw."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from mulligan.core.batch import Judgement
from mulligan.core.errors import UserError
from mulligan.core.registry import terms
from mulligan.core.step import Step
from mulligan.models.fastgan import Excitation, FastGANDiscriminator, FastGANGenerator
from mulligan.nn.places import PlaceHead
from mulligan.runs.build import load_parts

load_parts()
SHAPES = [(1, 28, 28), (3, 32, 32), (3, 64, 64), (4, 32, 48), (1, 8, 8)]


@pytest.mark.parametrize("classes", [0, 3])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_shapes_and_gradients(shape: tuple[int, ...], classes: int) -> None:
    torch.manual_seed(0)
    G, D = FastGANGenerator(shape, classes, width=8), FastGANDiscriminator(shape, classes, width=4, most=8, decoder=4)
    cond = torch.tensor([0, 1, classes - 1, 0]) if classes else None
    fake = G(torch.randn(4, *G.z_shape), cond)
    assert fake.shape == (4, *shape) and fake.abs().max() <= 1
    judgement = D(fake, cond)
    (logits,) = judgement.logits
    assert logits.ndim == 3 and len(logits) == 4
    drawn = D.redrawn(judgement.features, fake.detach())
    assert all(a.shape == b.shape for a, b in drawn)
    total = (logits * torch.randn_like(logits)).sum() + sum((a - b).square().sum() for a, b in drawn)
    total.backward()
    for net in (G, D):
        assert not [name for name, p in net.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]


def test_large_images_are_excited_from_four_doublings_below() -> None:
    with torch.device("meta"):
        G = FastGANGenerator((3, 1024, 1024), 0, width=1024, least=8)
        D = FastGANDiscriminator((3, 1024, 1024), 0)
        assert G(torch.randn(1, 64), None).shape == (1, 3, 1024, 1024)
        f16, f8 = D(torch.randn(1, 3, 1024, 1024), None).features
    assert [e.factor for e in G.excitations] == [1, 2, 4, 8, 16]  # 4 -> 64, 8 -> 128, to 64 -> 1024
    assert [e.gate.out_channels for e in G.excitations] == [64, 32, 16, 8, 8]
    assert (f16.shape[2:], f8.shape[2:]) == ((16, 16), (8, 8))


def test_excitation_is_one_number_a_channel() -> None:
    torch.manual_seed(0)
    excite = Excitation(2, 3, (2, 3), 2)
    low, high = torch.randn(4, 2, 4, 6), torch.randn(4, 3, 8, 12)
    ratio = (excite(low, high) / high).flatten(2)
    torch.testing.assert_close(ratio, ratio[:, :, :1].expand_as(ratio))
    pooled = low.reshape(4, 2, 2, 2, 3, 2).mean((3, 5))
    hidden = torch.einsum("bchw,ochw->bo", pooled, excite.gather.weight) + excite.gather.bias
    hidden = torch.where(hidden > 0, hidden, 0.1 * hidden)
    torch.testing.assert_close(ratio[:, :, 0], (hidden @ excite.gate.weight[:, :, 0, 0].T + excite.gate.bias).sigmoid())


def test_noise_is_drawn_in_training_alone() -> None:
    torch.manual_seed(0)
    G = FastGANGenerator((1, 28, 28), 0, width=8)
    for name, parameter in G.named_parameters():
        if "strength" in name:
            nn.init.ones_(parameter)
    z = torch.randn(3, 64)
    assert not torch.equal(G(z, None), G(z, None))
    G.eval()
    torch.testing.assert_close(G(z, None)[1:], G(z[1:], None), rtol=1e-4, atol=1e-5)


def test_a_part_is_drawn_from_its_place() -> None:
    """With features that are the image itself, a decoder that does nothing has nothing to mend."""
    D = FastGANDiscriminator((1, 32, 32), 0)
    D.of_part = D.of_whole = nn.Identity()
    x = torch.randn(2, 1, 32, 32)
    fine = x.reshape(2, 1, 16, 2, 16, 2).mean((3, 5))
    rough = x.reshape(2, 1, 8, 4, 8, 4).mean((3, 5))
    places = set()
    for seed in range(8):
        torch.manual_seed(seed)
        part, whole = D.redrawn([fine, rough], x)
        assert part[0].shape == (2, 1, 8, 8)
        for drawn, wanted in (part, whole):
            torch.testing.assert_close(drawn, wanted)
        places.add(part[0].sum().item())
    assert len(places) > 3


class Painter(nn.Module):
    """Sees an image as it is, and draws it twice, off by 1 and by 2."""

    def forward(self, x: Tensor, cond: Tensor | None) -> Judgement:
        return Judgement([x.flatten(1).sum(1)], [x])

    def redrawn(self, features: list[Tensor], x: Tensor) -> list[tuple[Tensor, Tensor]]:
        return [(features[0] + 1, x), (features[0] - 2, x)]


def test_reconstruction_is_the_error_of_what_d_draws_of_what_it_is_shown() -> None:
    real = torch.rand(2, 1, 28, 28) * 2 - 1
    at = Step("d", nn.Identity(), Painter(), torch.zeros(2, 1), None, real, real, view_real=lambda x: x.flip(3))
    for error, expected in (("l1", 3), ("l2", 5)):
        torch.testing.assert_close(terms["reconstruction"](error=error).fn(at), torch.full((2,), float(expected)))
    seen = terms["reconstruction"](features="random").fn(at)
    assert seen.shape == (2,) and (seen > 0).all()
    at.D.redrawn = lambda features, x: [(features[0], x)]
    assert terms["reconstruction"](features="random").fn(at).tolist() == [0, 0]
    with pytest.raises(UserError, match="discriminator=fastgan"):
        terms["reconstruction"]().fn(Step("d", nn.Identity(), nn.Identity(), real, None, real, real))
    with pytest.raises(UserError, match="no maps"):
        terms["reconstruction"](features="plain")


def test_a_head_judges_every_place_and_adds_the_class() -> None:
    torch.manual_seed(0)
    head, x = PlaceHead(3, 2, 4), torch.randn(2, 3, 4, 5)
    said = head(x, torch.tensor([1, 3]))
    for b, k in ((0, 1), (1, 3)):
        for i in range(3):
            for j in range(4):
                own = (head.logit.weight[0] * x[b, :, i : i + 2, j : j + 2]).sum() + head.logit.bias[0]
                torch.testing.assert_close(said[b, i, j], own + head.embed.weight[k] @ x[b].mean((1, 2)))


@pytest.mark.parametrize("make", [FastGANGenerator, FastGANDiscriminator])
def test_sizes_it_cannot_serve_are_refused(make) -> None:
    with pytest.raises(UserError, match="32x32"):
        make((1, 30, 30), 0)
