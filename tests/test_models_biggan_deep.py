"""BigGAN-deep: published sizes, the blocks of its figure, shapes and gradients."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from mulligan.core.condition import NOTHING, Condition, by_class
from mulligan.core.errors import UserError
from mulligan.core.registry import terms
from mulligan.engine.device import DeviceSetting
from mulligan.kinds.image import ImageSample
from mulligan.kinds.points import PointSample
from mulligan.models.biggan_deep import BigGANDeepDiscriminator, BigGANDeepGenerator, DeepDown, DeepUp
from mulligan.nn.attention import SelfAttention
from mulligan.runs.build import build_networks
from mulligan.runs.parts import load_parts
from mulligan.zoo.biggan_deep import biggan_deep, biggan_deep_imagenet128, logan

load_parts()
CPU, META = DeviceSetting(torch.device("cpu")), DeviceSetting(torch.device("meta"))


def image(*shape: int) -> ImageSample:
    return ImageSample(shape=shape)


def classes_of(*ids: int) -> Condition:
    return Condition({"class": torch.tensor(ids)})


def size(net: nn.Module) -> int:
    return sum(parameter.numel() for parameter in net.parameters())


@pytest.mark.parametrize("classes", [0, 3])
@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (3, 64, 64), (4, 32, 48)], ids=str)
@pytest.mark.parametrize("options", [{"width": 4}, {"width": 4, "attention": 1, "slope": 0.2}], ids=str)
def test_shapes_and_gradients(options: dict, shape: tuple[int, ...], classes: int) -> None:
    torch.manual_seed(0)
    G = BigGANDeepGenerator(image(*shape), by_class(classes), z=6, embed=5, **options)
    D = BigGANDeepDiscriminator(image(*shape), by_class(classes), **options)
    for name, parameter in [*G.named_parameters(), *D.named_parameters()]:
        if "gain" in name:  # attention starts at zero, where what comes before it gets no gradient
            nn.init.normal_(parameter)
    cond = classes_of(0, 1, 2, 0) if classes else Condition()
    fake = G(torch.randn(4, *G.z_shape), cond)
    assert fake.shape == (4, *shape) and fake.abs().max() <= 1
    (logit,) = D(fake, cond).logits
    assert logit.shape == (4,)
    (logit * torch.randn(4)).sum().backward()
    for net in (G, D):
        assert not [name for name, p in net.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]


def test_published_size_at_128() -> None:
    """Appendix B of the paper: 50.4 and 34.6 million. D counts its table of 1000 classes, of 2,048,000.

    The published G's last convolution has 128 output channels, of which three are used; ours has these three.
    """
    with torch.device("meta"):
        G, D = build_networks(biggan_deep_imagenet128().resolve(), image(3, 128, 128), by_class(1000), META)
    unused = (128 - 3) * (128 * 9 + 1)
    assert size(G) == 50_244_484
    assert (size(G) + unused) / 1e6 == pytest.approx(50.4, abs=0.05)
    assert size(D) / 1e6 == pytest.approx(34.6, abs=0.05)


def test_sizes_of_a_training_log_at_32() -> None:
    """As PyTorch-StudioGAN's log of CIFAR-10 counts them to the last one (BigGAN-Deep, 17 September 2020)."""
    with torch.device("meta"):
        G = BigGANDeepGenerator(image(3, 32, 32), by_class(10), widths=(384,) * 4, z=80, attention=1)
        D = BigGANDeepDiscriminator(image(3, 32, 32), by_class(10), widths=(192,) * 4, attention=1)
    assert (size(G), size(D)) == (4_599_876, 415_010)


def test_a_laptops_size_is_small() -> None:
    G, D = build_networks(biggan_deep().resolve(), image(1, 28, 28), by_class(10), CPU)
    assert size(G) < 1e6 and size(D) < 1e6


def test_g_drops_channels_by_hand() -> None:
    """Four times norm, relu, convolution; the sides doubled before the first 3x3; eight of twelve channels kept."""
    torch.manual_seed(0)
    block = DeepUp(12, 8, bottleneck=4, vector=5, double=True, slope=0.0).eval()
    x, vector = torch.randn(2, 12, 4, 4), torch.randn(2, 5)
    y = block.convs[0](F.relu(block.norms[0](x, vector)))
    y = F.relu(block.norms[1](y, vector)).repeat_interleave(2, 2).repeat_interleave(2, 3)
    y = block.convs[2](F.relu(block.norms[2](block.convs[1](y), vector)))
    y = block.convs[3](F.relu(block.norms[3](y, vector)))
    skip = x[:, :8].repeat_interleave(2, 2).repeat_interleave(2, 3)
    torch.testing.assert_close(block(x, vector), y + skip)
    assert [conv.out_channels for conv in block.convs] == [3, 3, 3, 8]


def test_d_adds_channels_by_hand() -> None:
    """The input stays, downsampled by two; four new channels are appended."""
    torch.manual_seed(0)
    block = DeepDown(8, 12, bottleneck=4, halve=True, slope=0.0)
    x = torch.randn(2, 8, 4, 4)
    y = x
    for conv in block.convs[:3]:
        y = conv(F.relu(y))
    y = block.convs[3](F.avg_pool2d(F.relu(y), 2))
    halved = F.avg_pool2d(x, 2)
    torch.testing.assert_close(block(x), y + torch.cat([halved, block.more(halved)], 1))
    assert [conv.out_channels for conv in block.convs] == [3, 3, 3, 12]
    for conv in block.convs:
        nn.init.zeros_(conv.weight), nn.init.zeros_(conv.bias)
    assert torch.equal(block(x)[:, :8], halved)
    fewer = DeepDown(12, 8, bottleneck=4, halve=False, slope=0.0)
    assert fewer(torch.randn(2, 12, 4, 4)).shape == (2, 8, 4, 4)


def test_class_and_noise_reach_every_block() -> None:
    torch.manual_seed(0)
    G = BigGANDeepGenerator(image(1, 28, 28), by_class(3), width=2, z=6, embed=5)
    vectors = []
    for module in G.modules():
        if isinstance(module, DeepUp):
            module.register_forward_pre_hook(lambda module, inputs: vectors.append(inputs[1]))
    z, cond = torch.randn(4, 6), classes_of(0, 1, 2, 0)
    G(z, cond)
    vector = torch.cat([G.embed(cond["class"]), z], 1)
    assert len(vectors) == 4 and all(torch.equal(each, vector) for each in vectors)


def test_attention_is_where_the_paper_has_it() -> None:
    """At half the side: in G before the last doubling, in D after the first halving."""
    G = BigGANDeepGenerator(image(3, 64, 64), NOTHING, width=8, attention=1)
    D = BigGANDeepDiscriminator(image(3, 64, 64), NOTHING, width=8, attention=1)
    sides = []
    for net in (G, D):
        (layer,) = [module for module in net.modules() if isinstance(module, SelfAttention)]
        layer.register_forward_pre_hook(lambda module, inputs: sides.append(inputs[0].shape[2]))
    D(G(torch.randn(2, 128), Condition()), Condition())
    assert sides == [32, 32]
    with pytest.raises(UserError, match="biggan-deep: attention=9"):
        BigGANDeepDiscriminator(image(3, 64, 64), NOTHING, attention=9)


@pytest.mark.parametrize("shape", [(1, 30, 30), (3, 7, 7)], ids=str)
def test_sizes_it_cannot_serve_are_refused(shape: tuple[int, ...]) -> None:
    for build in (BigGANDeepGenerator, BigGANDeepDiscriminator):
        with pytest.raises(UserError, match="biggan-deep"):
            build(image(*shape), NOTHING)


def test_points_are_refused() -> None:
    with pytest.raises(UserError, match=r"'biggan-deep' is for image samples.* valid generators: mlp"):
        build_networks(biggan_deep().resolve(), PointSample(), NOTHING, CPU)


def test_losses_reach_every_parameter_through_a_latent_search() -> None:
    """Twice through batch norm, attention, pooling and spectral norm, to all weights of both."""
    torch.manual_seed(0)
    recipe = logan().with_set({"generator.width": 4, "discriminator.width": 4})
    G, D = build_networks(recipe, image(1, 28, 28), by_class(3), CPU)
    for name, parameter in [*G.named_parameters(), *D.named_parameters()]:
        if "gain" in name:
            nn.init.normal_(parameter)
    z, cond = torch.randn(4, *G.z_shape), classes_of(0, 1, 2, 0)
    found = terms["latent-search"](damping=1.0, share=1.0).fn(G, D, z, cond, 0.9)
    assert not torch.allclose(found, z, atol=1e-6)
    (found - z).square().sum().backward()
    for net in (G, D):  # biases of piecewise linear layers change no slope
        learnt = {name: p.grad for name, p in net.named_parameters() if not name.endswith("bias")}
        assert not [name for name, slope in learnt.items() if slope is None or not slope.abs().sum() > 0]
