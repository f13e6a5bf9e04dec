"""FastGAN: its networks, skip-layer excitation, and a D that reconstructs its input."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from mulligan.core.batch import Judgement
from mulligan.core.condition import NOTHING, Condition, by_class
from mulligan.core.errors import UserError
from mulligan.core.network import Discriminator, Generator
from mulligan.core.registry import terms
from mulligan.core.step import Step
from mulligan.kinds.image import ImageSample
from mulligan.models.fastgan import Excitation, FastGANDiscriminator, FastGANGenerator
from mulligan.nn.patch_head import PatchHead
from mulligan.runs.parts import load_parts

load_parts()
SHAPES = [(1, 28, 28), (3, 32, 32), (3, 64, 64), (4, 32, 48), (1, 8, 8)]
NO_COND = Condition()


def image(*shape: int) -> ImageSample:
    return ImageSample(shape=shape)


def classes_of(*ids: int) -> Condition:
    return Condition({"class": torch.tensor(ids)})


@pytest.mark.parametrize("classes", [0, 3])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_shapes_and_gradients(shape: tuple[int, ...], classes: int) -> None:
    torch.manual_seed(0)
    context = image(*shape), by_class(classes)
    G, D = FastGANGenerator(*context, width=8), FastGANDiscriminator(*context, width=4, most=8, decoder=4)
    cond = classes_of(0, 1, classes - 1, 0) if classes else NO_COND
    fake = G(torch.randn(4, *G.z_shape), cond)
    assert fake.shape == (4, *shape) and fake.abs().max() <= 1
    judgement = D(fake, cond)
    (logits,) = judgement.logits
    assert logits.ndim == 3 and len(logits) == 4
    redrawn = D.redrawn(judgement.features, fake.detach())
    assert all(a.shape == b.shape for a, b in redrawn)
    total = (logits * torch.randn_like(logits)).sum() + sum((a - b).square().sum() for a, b in redrawn)
    total.backward()
    for net in (G, D):
        assert not [name for name, p in net.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]


def test_large_images_are_excited_from_four_doublings_below() -> None:
    with torch.device("meta"):
        G = FastGANGenerator(image(3, 1024, 1024), NOTHING, width=1024, least=8)
        D = FastGANDiscriminator(image(3, 1024, 1024), NOTHING)
        assert G(torch.randn(1, 64), NO_COND).shape == (1, 3, 1024, 1024)
        f16, f8 = D(torch.randn(1, 3, 1024, 1024), NO_COND).features
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


def test_noise_is_drawn_in_training_only() -> None:
    torch.manual_seed(0)
    G = FastGANGenerator(image(1, 28, 28), NOTHING, width=8)
    for name, parameter in G.named_parameters():
        if "strength" in name:
            nn.init.ones_(parameter)
    z = torch.randn(3, 64)
    assert not torch.equal(G(z, NO_COND), G(z, NO_COND))
    G.eval()
    torch.testing.assert_close(G(z, NO_COND)[1:], G(z[1:], NO_COND), rtol=1e-4, atol=1e-5)


def test_a_part_is_decoded_from_its_position() -> None:
    """With features that are the image itself, a decoder that changes nothing is exact."""
    D = FastGANDiscriminator(image(1, 32, 32), NOTHING)
    D.of_part = D.of_whole = nn.Identity()
    x = torch.randn(2, 1, 32, 32)
    fine = x.reshape(2, 1, 16, 2, 16, 2).mean((3, 5))
    coarse = x.reshape(2, 1, 8, 4, 8, 4).mean((3, 5))
    sums = set()
    for seed in range(8):
        torch.manual_seed(seed)
        part, whole = D.redrawn([fine, coarse], x)
        assert part[0].shape == (2, 1, 8, 8)
        for decoded, target in (part, whole):
            torch.testing.assert_close(decoded, target)
        sums.add(part[0].sum().item())
    assert len(sums) > 3


class Painter(Discriminator):
    """Its features are the image; it redraws it twice, off by 1 and by 2."""

    redraws = True

    def forward(self, x: Tensor, cond: Condition) -> Judgement:
        return Judgement([x.flatten(1).sum(1)], [x])

    def redrawn(self, features: list[Tensor], x: Tensor) -> list[tuple[Tensor, Tensor]]:
        return [(features[0] + 1, x), (features[0] - 2, x)]


def test_reconstruction_is_the_error_of_ds_view_redrawn() -> None:
    real = torch.rand(2, 1, 28, 28) * 2 - 1
    at = Step("d", Generator(), Painter(), torch.zeros(2, 1), NO_COND, real, real, view_real=lambda x: x.flip(3))
    for error, expected in (("l1", 3), ("l2", 5)):
        torch.testing.assert_close(terms["reconstruction"](error=error).fn(at), torch.full((2,), float(expected)))
    errors = terms["reconstruction"](features="random").fn(at)
    assert errors.shape == (2,) and (errors > 0).all()
    at.D.redrawn = lambda features, x: [(features[0], x)]
    assert terms["reconstruction"](features="random").fn(at).tolist() == [0, 0]
    with pytest.raises(UserError, match="discriminator=fastgan"):
        terms["reconstruction"]().fn(Step("d", Generator(), Discriminator(), real, NO_COND, real, real))
    with pytest.raises(UserError, match="no maps"):
        terms["reconstruction"](features="plain")


def test_a_head_judges_every_patch_and_adds_the_class() -> None:
    torch.manual_seed(0)
    head, x = PatchHead(3, 2, 4), torch.randn(2, 3, 4, 5)
    logits = head(x, torch.tensor([1, 3]))
    for b, k in ((0, 1), (1, 3)):
        for i in range(3):
            for j in range(4):
                own = (head.logit.weight[0] * x[b, :, i : i + 2, j : j + 2]).sum() + head.logit.bias[0]
                torch.testing.assert_close(logits[b, i, j], own + head.embed.weight[k] @ x[b].mean((1, 2)))


@pytest.mark.parametrize("make", [FastGANGenerator, FastGANDiscriminator])
def test_sizes_it_cannot_serve_are_refused(make) -> None:
    with pytest.raises(UserError, match="32x32"):
        make(image(1, 30, 30), NOTHING)
