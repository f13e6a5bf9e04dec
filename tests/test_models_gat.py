"""The transformers of 2025 and 2026, and the terms they are trained with."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mulligan.core import registry
from mulligan.core.batch import Judgement, staged
from mulligan.core.condition import NOTHING, Condition, by_class
from mulligan.core.errors import UserError
from mulligan.core.network import Discriminator, Generator
from mulligan.core.recipe import Term
from mulligan.core.registry import discriminators, generators, refuse, terms
from mulligan.core.step import Step, ViewRule
from mulligan.engine.device import DeviceSetting
from mulligan.engine.turn import MicroBatch, Round, turn
from mulligan.kinds.image import ImageSample
from mulligan.kinds.points import PointSample
from mulligan.models.gat import SlowLinear
from mulligan.runs.build import build_networks, parameters_of
from mulligan.runs.parts import load_parts
from mulligan.terms.stages import noise_levels
from mulligan.zoo import afm, gat
from tests.toys import toy_game

load_parts()
EMPTY = Condition()
SMALL = {"width": 16, "depth": 3, "head": 8}
FAMILIES = {
    "gat": ({**SMALL, "stages": 3}, {**SMALL, "stages": 3, "embed": 8}),
    "cat": (SMALL, {**SMALL, "embed": 8}),
    "dit": (SMALL, SMALL),
}
HEADS = {"gat": 1, "cat": 3, "dit": 1}


def networks(
    family: str, shape: tuple[int, int, int], classes: int = 0, **options: int
) -> tuple[Generator, Discriminator]:
    torch.manual_seed(0)
    for_g, for_d = FAMILIES[family]
    context = ImageSample(shape=shape), by_class(classes)
    G = generators[family](*context, **{**for_g, **options})
    D = discriminators[family](*context, **{**for_d, **options})
    for net in (G, D):
        for name, parameter in net.named_parameters():
            if ("modulation" in name or ".out." in name) and not parameter.abs().sum():  # gates that start closed
                nn.init.normal_(parameter, std=0.1)
    return G, D


@pytest.mark.parametrize("classes", [0, 3])
@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (3, 64, 64), (4, 32, 48)], ids=str)
@pytest.mark.parametrize("family", FAMILIES)
def test_shapes_and_gradients(family: str, shape: tuple[int, ...], classes: int) -> None:
    G, D = networks(family, shape, classes)
    cond = Condition({"class": torch.tensor([0, 1, classes - 1, 0])} if classes else {})
    fake = G(torch.randn(4, *G.z_shape), cond)
    assert fake.shape == (4, G.stage_count * shape[0], *shape[1:])
    judgement = D(fake, cond)
    assert [logit.shape for logit in judgement.logits] == [(4,)] * HEADS[family]
    torch.stack([(logit * torch.randn(4)).sum() for logit in judgement.logits]).sum().backward()
    for net in (G, D):
        assert not [name for name, p in net.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    z = torch.randn(4, *G.z_shape)
    last = G(z, cond)[:, -shape[0] :]
    torch.testing.assert_close(G.eval()(z, cond), last)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_class_makes_a_difference(family: str) -> None:
    G, D = networks(family, (1, 28, 28), 3)
    z, ids = torch.randn(6, *G.z_shape), torch.tensor([0, 0, 1, 1, 2, 2])
    cond, other = (Condition({"class": each}) for each in (ids, ids.flip(0)))
    fake = G(z, cond)
    assert not torch.allclose(fake, G(z, other), atol=1e-4)
    assert not torch.allclose(D(fake, cond).logits[0], D(fake, other).logits[0], atol=1e-5)


@pytest.mark.parametrize("family", ["gat", "cat"])
def test_a_single_image_stands_for_its_stages(family: str) -> None:
    G, D = networks(family, (3, 32, 32))
    real = torch.randn(2, 3, 32, 32)
    assert G(torch.randn(2, *G.z_shape), EMPTY).shape[1] == 3 * G.stage_count
    for single, all_of_them in zip(D(real, EMPTY).logits, D(staged(real, G.stage_count), EMPTY).logits, strict=True):
        torch.testing.assert_close(single, all_of_them)
    with pytest.raises(UserError, match=r"G draws 5 stages, D sees 3"):
        D(torch.randn(2, 15, 32, 32), EMPTY)


@pytest.mark.parametrize("family", FAMILIES)
def test_sizes_that_patches_do_not_divide_are_refused_with_ones_that_they_do(family: str) -> None:
    for table in (generators, discriminators):
        with pytest.raises(UserError, match=r"--size 32x32, or generator\.patch and discriminator\.patch of 2 or 1"):
            table[family](ImageSample(shape=(3, 30, 32)), NOTHING)
        with pytest.raises(UserError, match=f"{family!r} is for image samples.*: mlp$"):
            refuse(table, family, PointSample(), NOTHING)
    G, D = networks("gat" if family == "cat" else family, (1, 30, 32), patch=2)
    assert D(G(torch.randn(2, *G.z_shape), EMPTY), EMPTY).logits[0].shape == (2,)


def test_stages_need_blocks_and_pixels() -> None:
    with pytest.raises(UserError, match="depth=2 is less than stages=4"):
        generators["gat"](ImageSample(shape=(1, 28, 28)), NOTHING, depth=2)
    with pytest.raises(UserError, match=r"discriminator\.stages to 2 or less"):
        discriminators["cat"](ImageSample(shape=(1, 28, 28)), NOTHING, patch=2)


def test_each_stage_of_gat_adds_to_the_one_before() -> None:
    G, _ = networks("gat", (1, 28, 28))
    z = torch.randn(2, 64)
    before = G(z, EMPTY)
    assert before.unflatten(1, (3, 1)).diff(dim=1).flatten(1).abs().sum(1).min() > 0
    with torch.no_grad():
        G.trunk.heads[1].out.bias.add_(1)
    torch.testing.assert_close(G(z, EMPTY), before + torch.tensor([0.0, 1.0, 1.0]).view(1, 3, 1, 1))
    assert G.trunk.depths == [1, 2, 3] and gat.gat_b().resolve().generator.build(
        generators, ImageSample(shape=(4, 32, 32)), by_class(10)
    ).trunk.depths == [3, 6, 9, 12]


def test_cat_draws_and_judges_each_stage_at_its_own_scale() -> None:
    G, D = networks("cat", (1, 28, 28))
    fake = G(torch.randn(2, 64), EMPTY)
    for stage, scale in zip(fake.split(1, 1), (4, 2, 1), strict=True):
        small = F.avg_pool2d(stage, scale)
        torch.testing.assert_close(F.interpolate(small, scale_factor=scale, mode="nearest"), stage)
        assert scale == 1 or not torch.allclose(F.interpolate(F.avg_pool2d(stage, 2 * scale), size=28), stage)
    logits = D(fake, EMPTY).logits
    for k in range(3):  # a head depends on its own stage only, and on nothing finer than its scale
        other = fake.clone()
        other[:, k] = torch.randn(2, 28, 28)
        changed = [not torch.allclose(a, b, atol=1e-6) for a, b in zip(logits, D(other, EMPTY).logits, strict=True)]
        assert changed == [i == k for i in range(3)]
    chequered = fake.clone()
    chequered[:, 0, ::2] += 1
    chequered[:, 0, 1::2] -= 1
    torch.testing.assert_close(D(chequered, EMPTY).logits[0], logits[0])


def test_the_first_images_of_cat_have_low_contrast() -> None:
    """On CIFAR-10, images grew to thirty times the range [-1, 1] in 50 steps when the first ones were like gat's."""
    z = torch.randn(16, 64)
    contrast = {family: networks(family, (3, 32, 32))[0](z, EMPTY)[:, -3:].std() for family in ("cat", "gat")}
    assert contrast["cat"] < 0.5 < 1 < contrast["gat"]


def test_dense_networks_take_noise_of_a_samples_shape() -> None:
    G = generators["mlp"](ImageSample(shape=(3, 4, 5)), by_class(2), z=0, widths=(7,))
    z = torch.randn(6, 3, 4, 5)
    assert G.z_shape == z.shape[1:] and G(z, Condition({"class": torch.zeros(6, dtype=torch.long)})).shape == z.shape


def test_networks_for_a_laptop_are_small() -> None:
    for recipe in (gat.gat(), afm.afm(), registry.recipes["cat"]()):
        setting = DeviceSetting(torch.device("cpu"))
        G, D = build_networks(recipe.resolve(), ImageSample(shape=(1, 28, 28)), by_class(10), setting)
        assert parameters_of(G) < 1e6 and parameters_of(D) < 1e6


def test_a_mapping_starts_like_any_layer_and_learns_a_hundredth_as_fast() -> None:
    torch.manual_seed(0)
    layer, x = SlowLinear(40, 20), torch.eye(40)
    before = layer(x).detach()
    bound = math.sqrt(6 / (40 + 20))
    assert 0.98 * bound < before.abs().max() < bound
    adam = torch.optim.Adam(layer.parameters(), lr=0.5)
    layer(x).sum().backward()
    adam.step()
    torch.testing.assert_close(before - layer(x), torch.full((40, 20), 2 * 0.5 * 0.01))  # of the weight and the bias


def test_a_wider_gat_learns_more_slowly() -> None:
    assert gat.rate(768) == 2e-4 and gat.rate(384) == 4e-4 and gat.rate(1152) == pytest.approx(2e-4 * 2 / 3)


class Staged(Generator):
    """A G of which only the number of stages, and their scales, matter."""

    def __init__(self, stages: int = 1, scales: tuple[int, ...] = ()) -> None:
        super().__init__()
        self.stage_count, self.scales = stages, scales


class Sum(Discriminator):
    """Its logit is the sum of its input."""

    def forward(self, x: Tensor, cond: Condition) -> Judgement:
        return Judgement([x.flatten(1).sum(1)], [])


def step(side: str, G: Generator, real: Tensor, fake: Tensor, z: Tensor | None = None, memory=None) -> Step:
    return Step(side, G, Sum(), torch.zeros(len(fake), 1) if z is None else z, EMPTY, real, fake, memory=memory)


def test_noise_levels_are_the_papers() -> None:
    assert noise_levels(4) == pytest.approx([0.885, 0.76, 0.51, 0.01])
    assert noise_levels(1) == [0.01]


def test_stage_noise_fades_each_stage_into_noise_that_stages_share() -> None:
    torch.manual_seed(0)
    stages = torch.ones(40_000, 4, 1, 1)
    rule = terms["stage-noise"]()
    real, fake = rule.fn(step("d", Staged(4), stages, stages), 1.0)
    viewed = real(stages)
    assert torch.equal(real(stages), viewed) and torch.equal(real(stages[:7]), viewed[:7])
    assert not torch.equal(fake(stages), viewed)
    t = torch.tensor([0.885, 0.76, 0.51, 0.01])
    noise = (viewed - (1 - t)[:, None, None]).flatten(1)
    expected = torch.empty(4, 4)
    for j in range(4):
        for k in range(j, 4):  # what is added on the way from k to j is independent of stage k's noise, which fades
            expected[j, k] = expected[k, j] = t[k] ** 2 * (1 - t[j]) / (1 - t[k])
    torch.testing.assert_close(noise.T @ noise / len(noise), expected, atol=0.02, rtol=0)
    quiet, _ = rule.fn(step("d", Staged(4), stages, stages), 0.0)
    assert torch.equal(quiet(stages), stages)
    with pytest.raises(UserError, match="generator=gat"):
        rule.fn(step("d", Staged(), stages, stages), 1.0)


@pytest.mark.parametrize("space", [(), (5,), (3, 4), (2, 3, 2)])
def test_stage_terms_take_samples_of_any_rank(space: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    fake = torch.randn(7, 6, *space)
    at = step("d", Staged(3), fake, fake)
    assert terms["stage-noise"]().fn(at, 1.0)[0](fake).shape == fake.shape
    assert torch.equal(terms["stage-noise"]().fn(at, 0.0)[1](fake), fake)
    expected = sum((fake[:, 2 * k : 2 * k + 2] - fake[:, 4:]).flatten(1).square().mean(1) for k in (0, 1)) / 2
    torch.testing.assert_close(terms["stage-consistency"]().fn(at), expected)


def test_stage_consistency_is_the_distance_from_the_last_stage_at_each_scale() -> None:
    torch.manual_seed(0)
    fake = torch.randn(5, 6, 8, 8, requires_grad=True)
    found = terms["stage-consistency"]().fn(step("g", Staged(3, (4, 2, 1)), fake, fake))
    expected = torch.zeros(5)
    for k, scale in ((0, 4), (1, 2)):
        for c in range(2):
            for i in range(8 // scale):
                for j in range(8 // scale):
                    at = (slice(i * scale, (i + 1) * scale), slice(j * scale, (j + 1) * scale))
                    difference = fake[:, 2 * k + c][(slice(None), *at)] - fake[:, 4 + c][(slice(None), *at)]
                    expected = expected + difference.mean((1, 2)).square() / (2 * 2 * (8 // scale) ** 2)
    torch.testing.assert_close(found, expected)
    (gradient,) = torch.autograd.grad(found.sum(), fake)
    assert gradient[:, :4].abs().sum() > 0 and gradient[:, 4:].abs().sum() == 0  # the last one is a fixed target


@pytest.mark.parametrize("shape", [(2,), (3, 4, 4)])
def test_transport_is_how_far_g_moves_its_noise(shape: tuple[int, ...]) -> None:
    z, fake = torch.randn(5, *shape), torch.randn(5, *shape)
    found = terms["transport"]().fn(step("g", Staged(), fake, fake, z))
    assert found.tolist() == pytest.approx([((f - e) ** 2).mean().item() for f, e in zip(fake, z, strict=True)])
    with pytest.raises(UserError, match="generator=dit"):
        terms["transport"]().fn(step("g", Staged(), fake, fake, torch.randn(5, 9)))


def test_centring_penalises_the_sum_of_both_logits() -> None:
    real, fake = torch.tensor([[1.0, 2.0], [3.0, -3.0]]), torch.tensor([[1.0, 1.0], [0.0, 2.0]])
    assert terms["centring"]().fn(step("d", Staged(), real, fake)).tolist() == [25, 4]


def test_gradients_between_d_and_g_have_a_constant_size() -> None:
    rule, memory = terms["gradient-normalisation"](decay=0.75), {}
    running = None
    for seed in range(3):
        torch.manual_seed(seed)
        fake, slope = torch.randn(4, 3, 2, requires_grad=True), 10.0 ** (2 * seed) * torch.randn(4, 3, 2)
        real, view = rule.fn(step("g", Staged(), fake, fake, memory=memory), 2.0)
        assert real(fake) is fake and torch.equal(view(fake), fake)
        ((view(fake) + view(fake)) * slope / 2).sum().backward()  # viewed twice, it counts once
        running = slope.square().mean() / 4 if running is None else 0.75 * running + 0.25 * slope.square().mean() / 4
        torch.testing.assert_close(memory["gradient-normalisation.square"], running)
        torch.testing.assert_close(fake.grad, slope * 2.0 / running.sqrt() / fake.numel())
    assert isinstance(rule, ViewRule) and rule.side == "g" and not memory["gradient-normalisation.square"].requires_grad
    assert not rule.fn(step("g", Staged(), fake, fake), 1.0)[1](fake.detach()).requires_grad


def test_the_slope_of_d_does_not_change_how_g_learns() -> None:
    """With normalised gradients: a D, and one a hundred times as steep."""
    gradients = {}
    for factor in (1.0, 100.0):
        game = toy_game(rules=[("own", Term(1.0), terms["gradient-normalisation"]())], share_fakes=False)
        with torch.no_grad():
            game.d.net.head.weight.mul_(factor)
            game.d.net.head.bias.mul_(factor)
        batch = MicroBatch(game.train_batch(0, 8), torch.randn(8, 4, generator=torch.Generator().manual_seed(0)))
        turn(game.g, game.d, [batch], Round(game.loss, game.augment, strength=0.0, seen=0, budget=1), index=0)
        gradients[factor] = game.g.net.net.weight.grad.clone()
    torch.testing.assert_close(gradients[1.0], gradients[100.0])
    assert gradients[1.0].abs().sum() > 0


def test_half_precision_that_scales_its_loss_is_refused() -> None:
    fake = torch.randn(2, 3)
    with torch.autocast("cpu", torch.float16), pytest.raises(UserError, match="bf16 or fp32"):
        terms["gradient-normalisation"]().fn(step("g", Staged(), fake, fake), 1.0)


@pytest.mark.parametrize("family", FAMILIES)
def test_exact_penalties_can_differentiate_twice_and_first_order_ones_agree(family: str) -> None:
    G, D = networks(family, (1, 28, 28))
    real = staged(torch.randn(2, 1, 28, 28), G.stage_count)
    D.requires_grad_(True)
    exact = terms["r1"]().fn(Step("d", G, D, real, EMPTY, real.clone().requires_grad_(), real))
    exact.mean().backward()
    assert all(p.grad is not None for name, p in D.named_parameters() if "bias" not in name and "token" in name)
    D.zero_grad()
    many = real[:1].expand(300, -1, -1, -1)
    rough = terms["r1"](sigma=0.01).fn(Step("d", G, D, many, EMPTY, many, many)).detach()
    assert abs(rough.mean() - exact[0]) < 4 * rough.std() / math.sqrt(300) + 0.02 * exact[0]
