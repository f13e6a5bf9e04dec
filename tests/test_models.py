"""The families of networks: published sizes, shapes and gradients."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mulligan.core.condition import NOTHING, Condition, by_class
from mulligan.core.errors import UserError
from mulligan.kinds.image import ImageSample
from mulligan.models.autoencoder import AutoencoderDiscriminator, DecoderGenerator
from mulligan.models.dcgan import DCGANDiscriminator, DCGANGenerator
from mulligan.models.mlp import Maxout, MLPDiscriminator, MLPGenerator
from mulligan.models.r3gan import R3GANDiscriminator, R3GANGenerator
from mulligan.models.resnet import ResNetDiscriminator, ResNetGenerator
from mulligan.models.stylegan2 import StyleGAN2Discriminator, StyleGAN2Generator
from mulligan.nn.code import code_of
from mulligan.nn.norm import ConditionalBatchNorm

FAMILIES = {
    "dcgan": (DCGANGenerator, DCGANDiscriminator, {"width": 4}),
    "dcgan kernel 4": (DCGANGenerator, DCGANDiscriminator, {"width": 4, "kernel": 4}),
    "dcgan layer norm": (DCGANGenerator, DCGANDiscriminator, {"width": 4, "norm": "layer"}),
    "dcgan instance norm": (DCGANGenerator, DCGANDiscriminator, {"width": 4, "norm": "instance"}),
    "dcgan batch norm": (DCGANGenerator, DCGANDiscriminator, {"width": 4, "norm": "batch", "std": 0.02}),
    "r3gan": (R3GANGenerator, R3GANDiscriminator, {"width": 8, "group": 4, "blocks": 1}),
    "r3gan widths": (R3GANGenerator, R3GANDiscriminator, {"widths": (16, 8, 4), "group": 4, "blocks": 1}),
    "dcgan twin": (DCGANGenerator, DCGANDiscriminator, {"width": 4}),
    "dcgan codes": (DCGANGenerator, DCGANDiscriminator, {"width": 4, "codes": 3}),
    "autoencoder": (DecoderGenerator, AutoencoderDiscriminator, {"width": 4}),
    "mlp": (MLPGenerator, MLPDiscriminator, {"widths": (8, 6)}),
    "stylegan2": (StyleGAN2Generator, StyleGAN2Discriminator, {"most": 8}),
    "resnet": (ResNetGenerator, ResNetDiscriminator, {"width": 2}),
    "resnet attention": (ResNetGenerator, ResNetDiscriminator, {"width": 4, "attention": 1, "spectral": True}),
    "resnet orthogonal": (ResNetGenerator, ResNetDiscriminator, {"widths": (8, 12, 16), "init": "orthogonal"}),
}

NO_COND = Condition()


def image(*shape: int) -> ImageSample:
    return ImageSample(shape=shape)


def classes_of(*ids: int) -> Condition:
    return Condition({"class": torch.tensor(ids)})


def size(net: nn.Module) -> int:
    return sum(parameter.numel() for parameter in net.parameters())


@pytest.mark.parametrize("classes", [0, 3])
@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (4, 32, 48)], ids=str)
@pytest.mark.parametrize("family", FAMILIES)
def test_shapes_and_gradients(family: str, shape: tuple[int, ...], classes: int) -> None:
    torch.manual_seed(0)
    make_g, make_d, options = FAMILIES[family]
    context = image(*shape), by_class(classes)
    G = make_g(*context, **options)
    D = make_d(*context, **options, **({"class_by": "twin"} if "twin" in family else {}))
    for name, parameter in [*G.named_parameters(), *D.named_parameters()]:
        if "narrow" in name or "gain" in name:  # starts at zero, where what comes before it gets no gradient
            nn.init.normal_(parameter)
    cond = classes_of(0, 1, classes - 1, 0) if classes else NO_COND
    fake = G(torch.randn(4, *G.z_shape), cond)
    assert fake.shape == (4, *shape)
    assert family.startswith(("r3gan", "stylegan2")) or fake.abs().max() <= 1
    judgement = D(fake, cond)
    (logit,) = judgement.logits
    assert logit.shape == (4,)
    more = [each.square().sum() for each in (judgement.classes, judgement.twins, judgement.codes) if each is not None]
    torch.stack([(logit * torch.randn(4)).sum(), *more]).sum().backward()
    for net in (G, D):
        dead = [name for name, p in net.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
        assert not dead


def test_dcgan_can_take_the_class_in_its_norms() -> None:
    torch.manual_seed(0)
    G = DCGANGenerator(image(1, 28, 28), by_class(3), width=4, class_by="norm")
    norms = [layer for layer in G.layers if isinstance(layer, ConditionalBatchNorm)]
    assert len(norms) == 2 and G.embed is None
    z, cond, flipped = torch.randn(6, 100), classes_of(0, 0, 1, 1, 2, 2), classes_of(2, 2, 1, 1, 0, 0)
    assert torch.equal(G(z, cond), G(z, flipped))  # at first it makes no difference
    nn.init.normal_(norms[0].shift.weight)
    assert not torch.equal(G(z, cond), G(z, flipped))
    with pytest.raises(UserError, match="norm=batch"):
        DCGANGenerator(image(1, 28, 28), by_class(3), norm="layer", class_by="norm")


def test_g_depends_on_its_code_noise_by_the_code_only() -> None:
    torch.manual_seed(0)
    G = DCGANGenerator(image(1, 28, 28), NOTHING, width=4, codes=5).eval()
    z = torch.randn(6, 100)
    other = z.clone()
    other[:, :5] = 3 * z[:, :5] + 1  # the largest stays the largest
    assert code_of(z, 5).unique().numel() > 1
    torch.testing.assert_close(G(z, NO_COND), G(other, NO_COND))
    other[:, :5] = z[:, :5].roll(1, 1)
    assert not torch.allclose(G(z, NO_COND), G(other, NO_COND))
    counts = code_of(torch.randn(50_000, 9), 5).bincount()
    assert counts.min() > 9_700 and counts.max() < 10_300


def test_an_autoencoders_logit_is_minus_its_error() -> None:
    torch.manual_seed(0)
    x = torch.rand(3, 1, 28, 28) * 2 - 1
    for error, power in (("l1", 1), ("l2", 2)):
        D = AutoencoderDiscriminator(image(1, 28, 28), NOTHING, width=4, error=error)
        judgement = D(x, NO_COND)
        code, again = judgement.features
        assert code.shape == (3, 64) and again.shape == x.shape
        torch.testing.assert_close(judgement.logits[0], -(again - x).abs().pow(power).mean((1, 2, 3)))


def test_maxout_is_the_largest_of_its_pieces() -> None:
    layer, x = Maxout(3, 2, 4), torch.randn(5, 3)
    pieces = (x @ layer.linear.weight.T + layer.linear.bias).reshape(5, 2, 4)
    torch.testing.assert_close(layer(x), pieces.max(2).values)


def test_gan_has_the_networks_of_the_paper() -> None:
    assert size(MLPGenerator(image(1, 28, 28), NOTHING)) == 100 * 1200 + 1200 + 1200 * 1200 + 1200 + 1200 * 784 + 784
    assert size(MLPDiscriminator(image(1, 28, 28), NOTHING)) == 785 * 1200 + 241 * 1200 + 241


def test_styles_are_mixed_in_training_only() -> None:
    torch.manual_seed(0)
    G = StyleGAN2Generator(image(1, 28, 28), NOTHING, most=8, mixing=1.0)
    z = torch.randn(50, 64)
    ws = G.styled(z, NO_COND)
    own = G.mapping(z, None)
    mine = (ws == own[:, None]).all(2)  # (B, L)
    assert ws.shape == (50, G.synthesis.count, 64) and mine[:, 0].all() and not mine[:, -1].any()
    assert (mine.int().diff(dim=1) <= 0).all() and mine.sum(1).unique().numel() > 2  # own first, then another's
    G.eval()
    assert torch.equal(G.styled(z, NO_COND), own[:, None].expand(-1, G.synthesis.count, -1))
    assert torch.equal(G(z, NO_COND), G(z, NO_COND))  # the noise in its layers is fixed
    for layer in G.modules():
        if hasattr(layer, "strength"):
            nn.init.ones_(layer.strength)
    G.train()
    assert not torch.equal(G(z, NO_COND), G(z, NO_COND))


def test_dcgan_is_the_tutorials_network() -> None:
    assert size(DCGANGenerator(image(1, 28, 28), NOTHING)) == 2_305_472
    assert size(DCGANDiscriminator(image(1, 28, 28), NOTHING)) == 212_865


@pytest.mark.parametrize("norm", ["vector", "adain"])
def test_a_class_and_noise_reach_every_norm_of_a_resnet(norm: str) -> None:
    torch.manual_seed(0)
    G = ResNetGenerator(image(1, 28, 28), by_class(3), width=2, norm=norm, z=6, split=True, embed=5)
    z, cond = torch.randn(4, 6), classes_of(0, 1, 2, 0)
    made = G(z, cond)
    assert not torch.equal(made, G(z, classes_of(0, 2, 1, 0)))
    for share in range(3):  # the dense layer's, and a block's each
        other = z.clone()
        other[:, 2 * share : 2 * share + 2] += 1
        assert not torch.equal(made, G(other, cond))
    with pytest.raises(UserError, match="multiple of 3"):
        ResNetGenerator(image(1, 28, 28), by_class(3), norm="vector", z=7, split=True)


def test_spectral_norm_keeps_the_largest_singular_value_at_one() -> None:
    torch.manual_seed(0)
    D = ResNetDiscriminator(image(1, 28, 28), by_class(3), width=2, attention=1)
    x, cond = torch.randn(3, 1, 28, 28), classes_of(0, 1, 2)
    for _ in range(100):  # a power iteration each
        D(x, cond)
    D.eval()
    layers = [m for m in D.modules() if isinstance(m, nn.Conv2d | nn.Linear | nn.Embedding)]
    assert len(layers) > 15
    for layer in layers:
        largest = torch.linalg.svdvals(layer.weight.detach().flatten(1))[0].item()
        assert largest == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("make", [ResNetGenerator, ResNetDiscriminator])
def test_attention_where_there_is_no_such_grid_is_refused(make) -> None:
    with pytest.raises(UserError, match="attention=7"):
        make(image(1, 28, 28), NOTHING, attention=7)


def test_a_new_r3gan_block_is_the_identity() -> None:
    from mulligan.models.r3gan import Bottleneck

    x = torch.randn(2, 8, 5, 5)
    assert torch.equal(Bottleneck(8, 2, 4, 1.0)(x), x)


@pytest.mark.parametrize(
    ("shape", "near"), [((1, 30, 30), "32x32"), ((3, 6, 6), "8x8"), ((3, 33, 64), "32x64"), ((1, 15, 18), "16x16")]
)
@pytest.mark.parametrize("make", [DCGANGenerator, R3GANDiscriminator])
def test_sizes_it_cannot_serve_are_refused_with_the_nearest(make, shape: tuple[int, ...], near: str) -> None:
    with pytest.raises(UserError, match=near):
        make(image(*shape), NOTHING)
    channels, *_ = shape
    make(image(channels, *map(int, near.split("x"))), NOTHING, width=8)
