"""ProGAN: its networks, the drift term, and growing as a view of D."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from mulligan.core.batch import Judgement
from mulligan.core.condition import NOTHING, Condition, by_class
from mulligan.core.errors import UserError
from mulligan.core.network import Discriminator, Generator
from mulligan.core.registry import terms
from mulligan.core.step import Step, unchanged
from mulligan.engine.device import DeviceSetting
from mulligan.kinds.image import ImageSample
from mulligan.models.progan import ProGANDiscriminator, ProGANGenerator
from mulligan.runs.build import build_networks
from mulligan.runs.parts import load_parts
from mulligan.zoo.progan import progan_celebahq1024

load_parts()
NO_COND = Condition()


def image(*shape: int) -> ImageSample:
    return ImageSample(shape=shape)


def classes_of(*ids: int) -> Condition:
    return Condition({"class": torch.tensor(ids)})


def size(net: nn.Module) -> int:
    return sum(parameter.numel() for parameter in net.parameters())


@pytest.mark.parametrize("classes", [0, 3])
@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (3, 64, 64), (4, 32, 48)], ids=str)
def test_shapes_and_gradients(shape: tuple[int, ...], classes: int) -> None:
    torch.manual_seed(0)
    context = image(*shape), by_class(classes)
    G, D = ProGANGenerator(*context, most=8), ProGANDiscriminator(*context, most=8)
    for layer in G.to_details:  # begins at zero
        nn.init.normal_(layer.weight)
    cond = classes_of(0, 1, classes - 1, 0) if classes else NO_COND
    fake = G(torch.randn(4, *G.z_shape), cond)
    (logit,) = D(fake, cond).logits
    assert fake.shape == (4, *shape) and logit.shape == (4,)
    (logit * torch.randn(4)).sum().backward()
    for net in (G, D):
        assert not [name for name, p in net.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]


def test_the_published_sizes() -> None:
    """Table 2 of the paper: 23.1M each, and layer by layer 4.2M, 2.4M, ..., 51."""
    with torch.device("meta"):
        G, D = build_networks(progan_celebahq1024(), image(3, 1024, 1024), NOTHING, DeviceSetting(torch.device("meta")))
    assert round(size(G) / 1e6, 1) == 23.1 and round(size(D) / 1e6, 1) == 23.1
    assert round(size(G.dense) / 1e6, 1) == 4.2 and round(size(G.conv) / 1e6, 1) == 2.4
    of_stages = [[round(size(conv), -2) for conv in (stage.one, stage.two)] for stage in G.doublings]
    assert of_stages[3:] == [
        [1_179_900, 590_100], [295_000, 147_600], [73_800, 36_900], [18_500, 9_200], [4_600, 2_300],
    ]  # fmt: skip
    assert size(G.to_details[-1]) == 51 - 3  # details have no mean, so their layer no bias
    assert size(D.from_image) == 64 and round(size(D.head.dense) / 1e6, 1) == 4.2 and size(D.head.out) == 513


def test_a_downsampled_image_is_the_output_of_the_coarser_layers() -> None:
    torch.manual_seed(0)
    G = ProGANGenerator(image(3, 32, 32), NOTHING, most=8)
    for layer in G.to_details:
        nn.init.normal_(layer.weight)
    z = torch.randn(2, 64)
    whole = G(z, NO_COND)
    nn.init.zeros_(G.to_details[2].weight)
    without = G(z, NO_COND)
    assert not torch.allclose(whole, without, atol=0.1)
    shrunk, blocks = (x.unflatten(3, (16, 2)).unflatten(2, (16, 2)) for x in (whole, without))
    torch.testing.assert_close(shrunk.mean((3, 5)), blocks.mean((3, 5)))
    torch.testing.assert_close(blocks, blocks.mean((3, 5), keepdim=True).expand_as(blocks))


def step(shape: tuple[int, ...], D: nn.Module | None = None) -> Step:
    real, fake = torch.randn(2, 2, *shape, generator=torch.Generator().manual_seed(0))
    return Step("d", Generator(), D or Discriminator(), torch.zeros(2, 1), NO_COND, real, fake)


def in_blocks(x: Tensor, side: int) -> Tensor:
    """Each block set to its mean, by loops: (B, C, H, W)."""
    y = x.clone()
    for i in range(0, x.shape[2], side):
        for j in range(0, x.shape[3], side):
            y[:, :, i : i + side, j : j + side] = x[:, :, i : i + side, j : j + side].mean((2, 3), keepdim=True)
    return y


@pytest.mark.parametrize(
    ("weight", "block", "fade"),
    [(-1, 4, 0), (0, 4, 0), (0.25, 4, 0), (0.375, 4, 0.5), (0.5, 2, 0), (0.7, 2, 0), (0.875, 2, 0.5), (0.95, 2, 0.8)],
)
def test_growing_holds_a_resolution_and_then_fades_in_the_next(weight: float, block: int, fade: float) -> None:
    at = step((3, 16, 24))
    views = terms["growing"](coarsest=4).fn(at, weight)
    for view, x in zip(views, (at.real, at.fake), strict=True):
        expected = (1 - fade) * in_blocks(x, block) + fade * (x if block == 2 else in_blocks(x, 2))
        torch.testing.assert_close(view(x), expected)
        torch.testing.assert_close(view(x[:1]), view(x)[:1])


def test_at_full_resolution_or_without_space_views_change_nothing() -> None:
    for weight, shape in ((1.0, (3, 16, 16)), (1.7, (3, 16, 16)), (0.0, (3,)), (0.0, (3, 7)), (0.0, (1, 4, 4))):
        assert terms["growing"](coarsest=4).fn(step(shape), weight) == (unchanged, unchanged)
    sound, _ = terms["growing"](coarsest=4, hold=0.0).fn(step((1, 8)), 0.5)
    x = torch.arange(8.0)[None, None]
    assert sound(x).flatten().tolist() == [
        (a + b) / 2 for a, b in zip(range(8), [0.5, 0.5, 2.5, 2.5, 4.5, 4.5, 6.5, 6.5], strict=True)
    ]
    for wrong in ({"hold": 1.0}, {"hold": -0.1}, {"coarsest": 0}):
        with pytest.raises(UserError, match="hold"):
            terms["growing"](**wrong)


def test_layers_finer_than_what_d_sees_do_not_learn() -> None:
    torch.manual_seed(0)
    G = ProGANGenerator(image(1, 32, 32), NOTHING, most=8)
    for layer in G.to_details:
        nn.init.normal_(layer.weight)
    fake = G(torch.randn(4, 64), NO_COND)
    _, view = terms["growing"]().fn(step((1, 32, 32)), 0.4)  # one of 3 doublings, without fading
    (view(fake) * torch.randn(4, 1, 32, 32)).sum().backward()
    gradients = [max(p.grad.abs().max().item() for p in stage.parameters()) for stage in G.doublings]
    assert gradients[0] > 0.1 and max(gradients[1:]) < 1e-4
    assert G.conv.weight.grad.abs().max() > 0.1


class Sum(Discriminator):
    def forward(self, x: Tensor, cond: Condition) -> Judgement:
        return Judgement([x.flatten(1).sum(1)], [])


def test_drift_is_the_square_of_ds_logit_on_reals() -> None:
    at = step((3, 2), Sum())
    torch.testing.assert_close(terms["drift"]().fn(at), at.real.sum((1, 2)) ** 2)


def test_a_penalty_differentiates_through_the_view() -> None:
    """The gradient of D through a view of blocks is constant over each block."""
    at = step((1, 8, 8), Sum())
    at.add_views(terms["growing"]().fn(at, 0.0))
    weights = torch.randn(1, 8, 8)
    at.D.forward = lambda x, cond: Judgement([(x * weights).flatten(1).sum(1)], [])
    found = terms["wgan-gp"]().fn(at)
    torch.testing.assert_close(found, (in_blocks(weights[None], 2).norm() - 1).square().expand(2))


@pytest.mark.parametrize("make", [ProGANGenerator, ProGANDiscriminator])
def test_sizes_it_cannot_serve_are_refused(make) -> None:
    with pytest.raises(UserError, match="32x32"):
        make(image(1, 30, 30), NOTHING)
