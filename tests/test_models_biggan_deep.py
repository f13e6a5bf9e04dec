"""BigGAN-deep against its published sizes, its figure, and against being a part at all."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from mulligan.core.errors import UserError
from mulligan.core.registry import terms
from mulligan.models.biggan_deep import BigGANDeepDiscriminator, BigGANDeepGenerator, DeepDown, DeepUp
from mulligan.nn.attention import SelfAttention
from mulligan.runs.build import build_networks, load_parts
from mulligan.zoo.biggan_deep import biggan_deep, biggan_deep_imagenet128, logan

load_parts()


def size(net: nn.Module) -> int:
    return sum(parameter.numel() for parameter in net.parameters())


@pytest.mark.parametrize("classes", [0, 3])
@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (3, 64, 64), (4, 32, 48)], ids=str)
@pytest.mark.parametrize("options", [{"width": 4}, {"width": 4, "attention": 1, "slope": 0.2}], ids=str)
def test_shapes_and_gradients(options: dict, shape: tuple[int, ...], classes: int) -> None:
    torch.manual_seed(0)
    G = BigGANDeepGenerator(shape, classes, z=6, embed=5, **options)
    D = BigGANDeepDiscriminator(shape, classes, **options)
    for name, parameter in [*G.named_parameters(), *D.named_parameters()]:
        if "gain" in name:  # attention starts at zero, where what comes before it gets no gradient
            nn.init.normal_(parameter)
    cond = torch.tensor([0, 1, 2, 0]) if classes else None
    fake = G(torch.randn(4, *G.z_shape), cond)
    assert fake.shape == (4, *shape) and fake.abs().max() <= 1
    (logit,) = D(fake, cond).logits
    assert logit.shape == (4,)
    (logit * torch.randn(4)).sum().backward()
    for net in (G, D):
        assert not [name for name, p in net.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]


def test_published_size_at_128() -> None:
    """Appendix B of the paper: 50.4 and 34.6 million. D counts its table of 1000 classes, of 2,048,000.

    The published G's last convolution gives 128 channels, of which three are looked at; ours gives the three.
    """
    with torch.device("meta"):
        G, D = build_networks(biggan_deep_imagenet128().resolve(), (3, 128, 128), 1000, torch.device("meta"))
    unseen = (128 - 3) * (128 * 9 + 1)
    assert size(G) == 50_244_484
    assert (size(G) + unseen) / 1e6 == pytest.approx(50.4, abs=0.05)
    assert size(D) / 1e6 == pytest.approx(34.6, abs=0.05)


def test_sizes_of_a_training_log_at_32() -> None:
    """As PyTorch-StudioGAN's log of CIFAR-10 counts them to the last one (BigGAN-Deep, 17 September 2020)."""
    with torch.device("meta"):
        G = BigGANDeepGenerator((3, 32, 32), 10, widths=(384,) * 4, z=80, attention=1)
        D = BigGANDeepDiscriminator((3, 32, 32), 10, widths=(192,) * 4, attention=1)
    assert (size(G), size(D)) == (4_599_876, 415_010)


def test_a_laptops_size_is_small() -> None:
    G, D = build_networks(biggan_deep().resolve(), (1, 28, 28), 10, torch.device("cpu"))
    assert size(G) < 1e6 and size(D) < 1e6


def test_g_drops_channels_by_hand() -> None:
    """Four times norm, relu, convolution; the sides doubled before the first 3x3; eight of twelve channels kept."""
    torch.manual_seed(0)
    block = DeepUp(12, 8, bottleneck=4, told=5, double=True, slope=0.0).eval()
    x, told = torch.randn(2, 12, 4, 4), torch.randn(2, 5)
    y = block.convs[0](F.relu(block.norms[0](x, told)))
    y = F.relu(block.norms[1](y, told)).repeat_interleave(2, 2).repeat_interleave(2, 3)
    y = block.convs[2](F.relu(block.norms[2](block.convs[1](y), told)))
    y = block.convs[3](F.relu(block.norms[3](y, told)))
    kept = x[:, :8].repeat_interleave(2, 2).repeat_interleave(2, 3)
    torch.testing.assert_close(block(x, told), y + kept)
    assert [conv.out_channels for conv in block.convs] == [3, 3, 3, 8]


def test_d_adds_channels_by_hand() -> None:
    """What comes in stays, the half of it; four new channels lie beside it."""
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
    G = BigGANDeepGenerator((1, 28, 28), 3, width=2, z=6, embed=5)
    seen = []
    for module in G.modules():
        if isinstance(module, DeepUp):
            module.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[1]))
    z, cond = torch.randn(4, 6), torch.tensor([0, 1, 2, 0])
    G(z, cond)
    told = torch.cat([G.embed(cond), z], 1)
    assert len(seen) == 4 and all(torch.equal(each, told) for each in seen)


def test_attention_is_where_the_paper_has_it() -> None:
    """At half the side: in G before the last doubling, in D after the first halving."""
    G = BigGANDeepGenerator((3, 64, 64), 0, width=8, attention=1)
    D = BigGANDeepDiscriminator((3, 64, 64), 0, width=8, attention=1)
    sides = []
    for net in (G, D):
        (layer,) = [module for module in net.modules() if isinstance(module, SelfAttention)]
        layer.register_forward_pre_hook(lambda module, inputs: sides.append(inputs[0].shape[2]))
    D(G(torch.randn(2, 128), None), None)
    assert sides == [32, 32]
    with pytest.raises(UserError, match="biggan-deep: attention=9"):
        BigGANDeepDiscriminator((3, 64, 64), 0, attention=9)


@pytest.mark.parametrize("shape", [(1, 30, 30), (3, 7, 7), (2,)], ids=str)
def test_sizes_it_cannot_serve_are_refused(shape: tuple[int, ...]) -> None:
    for build in (BigGANDeepGenerator, BigGANDeepDiscriminator):
        with pytest.raises(UserError, match="biggan-deep"):
            build(shape, 0)


def test_losses_reach_every_parameter_through_a_search() -> None:
    """Twice through batch norm, attention, pooling and spectral norm, to all weights of both."""
    torch.manual_seed(0)
    recipe = logan().with_set({"generator.width": 4, "discriminator.width": 4})
    G, D = build_networks(recipe, (1, 28, 28), 3, torch.device("cpu"))
    for name, parameter in [*G.named_parameters(), *D.named_parameters()]:
        if "gain" in name:
            nn.init.normal_(parameter)
    z, cond = torch.randn(4, *G.z_shape), torch.tensor([0, 1, 2, 0])
    found = terms["latent-search"](damping=1.0, share=1.0).fn(G, D, z, cond, 0.9)
    assert not torch.allclose(found, z, atol=1e-6)
    (found - z).square().sum().backward()
    for net in (G, D):  # biases of piecewise linear layers change no slope
        learnt = {name: p.grad for name, p in net.named_parameters() if not name.endswith("bias")}
        assert not [name for name, slope in learnt.items() if slope is None or not slope.abs().sum() > 0]
