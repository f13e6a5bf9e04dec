"""Images as points of a latent space: found, interpolated and moved."""

from __future__ import annotations

import math

import pytest
import torch
from toys import NO_COND, ToyG

from mulligan.core.condition import NOTHING, Condition, by_class
from mulligan.core.errors import UserError
from mulligan.engine.sampling import noise_at
from mulligan.kinds.image import ImageSample
from mulligan.latent.analysis import activations, class_directions, first_layer_gram, pca_directions, sefa_directions
from mulligan.latent.search import LatentSearch, SearchSettings, Target
from mulligan.latent.spaces import (
    LatentBatch,
    NoiseSpace,
    StyleSpace,
    blended_classes,
    class_condition,
    lerp,
    slerp,
    space_of,
)
from mulligan.models.dcgan import DCGANGenerator
from mulligan.models.shuffle import ShuffleGenerator
from mulligan.models.stylegan2 import StyleGAN2Generator

QUICK = SearchSettings(steps=12, starts=2, draws=16, perceptual=0.0)
SHAPE = (1, 16, 16)
SAMPLE = ImageSample(shape=SHAPE)


def lively(G: torch.nn.Module) -> torch.nn.Module:
    """A generator whose images differ."""
    torch.manual_seed(0)
    for p in G.parameters():
        if p.ndim > 1:
            torch.nn.init.normal_(p, std=0.5 / math.sqrt(p[0].numel()) * 3)
    return G.eval().requires_grad_(False)


# the search


def test_the_image_of_a_known_point_is_found_again() -> None:
    torch.manual_seed(0)
    G = ToyG((1, 4, 4)).eval().requires_grad_(False)
    z = torch.stack([noise_at(5, i, (4,)) for i in range(3)])
    wanted = G(z, NO_COND)
    settings = SearchSettings(steps=150, starts=4, draws=64, shell=0.0)
    search = LatentSearch(NoiseSpace(G, "cpu"), (4,), None, settings=settings)
    found = search.find(Target(wanted, torch.ones_like(wanted)))
    assert found.classes is None and found.latents.shape == (3, 4)
    assert (search.images(found) - wanted).abs().max() < 0.02
    assert torch.equal(search.find(Target(wanted, torch.ones_like(wanted))).latents, found.latents), "repeatable"


def test_the_class_is_found_too() -> None:
    G = lively(ShuffleGenerator(SAMPLE, by_class(3), width=8, z=6))
    ids = torch.tensor([0, 1, 2, 2])
    wanted = G(torch.stack([noise_at(9, i, (6,)) for i in range(4)]), class_condition(ids))
    target, space = Target(wanted, torch.ones_like(wanted)), NoiseSpace(G, "cpu")
    settings = SearchSettings(steps=60, starts=6, draws=300)
    found = LatentSearch(space, (6,), range(3), settings=settings).find(target)
    assert found.classes is not None and (found.classes == ids).all()
    given = LatentSearch(space, (6,), [1], settings=QUICK).find(target)
    assert given.classes is not None and (given.classes == 1).all()


def test_the_penalty_keeps_noise_where_samples_are() -> None:
    G = lively(ShuffleGenerator(SAMPLE, NOTHING, width=8, z=6))
    wanted = torch.ones(2, *SHAPE)  # nothing that it makes
    far, near = (
        LatentSearch(
            NoiseSpace(G, "cpu"), (6,), None, settings=SearchSettings(steps=60, shell=shell, draws=64)
        ).find(Target(wanted, torch.ones_like(wanted))).latents.norm(dim=1).div(math.sqrt(6)).sub(1).abs().max()
        for shell in (0.0, 100.0)
    )  # fmt: skip
    assert near < 0.1 < far


@pytest.mark.parametrize("name", ["w", "w+"])
def test_styles_are_found(name: str) -> None:
    G = lively(StyleGAN2Generator(SAMPLE, NOTHING, base=64, most=8, z=6, styles=5, layers=2))
    space = space_of(G, name, (), "cpu")
    assert isinstance(space, StyleSpace) and space.shape == ((1 if name == "w" else G.synthesis.count), 5)
    z = torch.stack([noise_at(3, i, (6,)) for i in range(2)])
    wanted = G(z, NO_COND)
    assert torch.allclose(space.images(space.latents(z, NO_COND), NO_COND), wanted, atol=1e-5)
    search = LatentSearch(space, (6,), None, settings=SearchSettings(steps=200, starts=4, draws=128))
    found = search.find(Target(wanted, torch.ones_like(wanted)))
    error = (search.images(found) - wanted).square().mean((1, 2, 3)) / wanted.var((1, 2, 3))
    assert error.max() < 0.05
    with pytest.raises(UserError, match="no styles"):
        space_of(ToyG(SHAPE), "w", (), "cpu")


def test_what_is_not_known_does_not_count() -> None:
    torch.manual_seed(0)
    G = ToyG((1, 4, 4)).eval().requires_grad_(False)
    wanted = G(noise_at(5, 0, (4,))[None], NO_COND)
    weights = torch.ones_like(wanted)
    weights[..., 2:] = 0
    damaged = torch.where(weights > 0, wanted, 1.0)
    settings = SearchSettings(steps=150, starts=4, draws=64, shell=0.0)
    search = LatentSearch(NoiseSpace(G, "cpu"), (4,), None, settings=settings)
    made = search.images(search.find(Target(damaged, weights)))
    assert (made - wanted).abs().max() < 0.05, "eight pixels determine four numbers"


# interpolation


def test_slerp_keeps_the_sphere_and_its_ends() -> None:
    a, b = torch.randn(2, 5, 64, generator=torch.Generator().manual_seed(0))
    for t, end in ((0.0, a), (1.0, b)):
        assert torch.allclose(slerp(a, b, torch.tensor(t)), end, atol=1e-5)
    t = torch.linspace(0, 1, 5)
    path = slerp(a, b, t)
    assert torch.allclose(path.norm(dim=1), torch.lerp(a.norm(dim=1), b.norm(dim=1), t), rtol=1e-5)
    angle = torch.nn.functional.cosine_similarity(a, path).acos() / torch.nn.functional.cosine_similarity(a, b).acos()
    assert torch.allclose(angle, t, atol=1e-3), "evenly"
    assert torch.allclose(slerp(a, 2 * a, torch.tensor(0.5)), 1.5 * a, atol=1e-5)
    assert slerp(a, -a, torch.tensor(0.3)).isfinite().all()
    assert torch.allclose(lerp(a, b, torch.tensor(0.5)), (a + b) / 2, atol=1e-6)


@pytest.mark.parametrize("make", [ShuffleGenerator, DCGANGenerator])
def test_classes_blend(make: type) -> None:
    G = lively(make(SAMPLE, by_class(3), width=8, z=6))
    z, zero = torch.randn(4, 6), torch.zeros(4, dtype=torch.int64)
    first, last = Condition({"class": zero}), Condition({"class": zero + 2})
    with blended_classes(G, 3, zero + 2, torch.tensor([0.0, 0.3, 0.7, 1.0])):
        made = G(z, first)
    assert torch.allclose(made[0], G(z, first)[0], atol=1e-5) and torch.allclose(made[3], G(z, last)[3], atol=1e-5)
    assert not torch.allclose(made[1], G(z, first)[1], atol=1e-3)
    with pytest.raises(UserError, match="no embedding"), blended_classes(ToyG(SHAPE), 3, zero, zero):
        pass


# directions


def eigenvectors(a: torch.Tensor) -> torch.Tensor:
    return torch.linalg.svd(a.double()).Vh.float()


def same_lines(some: torch.Tensor, others: torch.Tensor) -> bool:
    return torch.allclose((some * others).sum(1).abs(), torch.ones(len(some)), atol=1e-3)


def test_sefa_is_the_eigenvectors_of_the_first_layer() -> None:
    G = lively(ShuffleGenerator(SAMPLE, by_class(3), width=8, z=6))
    at = LatentBatch(torch.randn(4, 1, 6), torch.tensor([0, 1, 2, 0]))
    grams = first_layer_gram(G, lambda latents, cond: G(latents[:, 0], cond), at)
    weights = G.dense.weight[:, :6]
    assert torch.allclose(grams[0].float(), weights.T @ weights, rtol=1e-3, atol=1e-4)
    assert same_lines(sefa_directions(grams[0], 6), eigenvectors(weights)[:6])


def test_sefa_of_styles_has_every_layer_separately() -> None:
    G = lively(StyleGAN2Generator(SAMPLE, NOTHING, base=64, most=8, z=6, styles=5, layers=2))
    space = StyleSpace(G, (), "cpu")
    latents = space.per_layer(space.latents(torch.randn(3, 6), NO_COND))
    grams = first_layer_gram(G, space.images, LatentBatch(latents, None))
    parts = G.synthesis
    affine = [[parts.first.conv.style], [parts.to_image[0].conv.style, parts.layers[0].conv.style]]
    for index, layers in enumerate(affine):
        a = torch.cat([layer.weight * layer.scale for layer in layers])
        assert torch.allclose(grams[index].float(), a.T @ a, rtol=1e-3, atol=1e-5)
    every = [m.style for m in G.synthesis.modules() if hasattr(m, "style")]
    a = torch.cat([layer.weight * layer.scale for layer in every])
    assert torch.allclose(grams.sum(0).float(), a.T @ a, rtol=1e-3, atol=1e-4)


def test_pca_finds_along_what_samples_vary() -> None:
    scales = torch.tensor([5.0, 1.0, 3.0, 0.1])
    samples = LatentBatch(torch.randn(500, 4, generator=torch.Generator().manual_seed(0)) * scales, None)
    found = pca_directions(samples.latents, samples, 2)
    assert same_lines(found, torch.eye(4)[[0, 2]])
    shifted = LatentBatch(samples.latents + 100 * (torch.arange(500) % 2)[:, None], torch.arange(500) % 2)
    assert same_lines(pca_directions(shifted.latents, shifted, 2), torch.eye(4)[[0, 2]]), "but not by class"


def test_pca_of_activations_leads_back_to_noise() -> None:
    G = ToyG((1, 4, 4))
    with torch.no_grad():
        G.net.weight.zero_()
        G.net.weight[:, 1] = 3.0
        G.net.weight[:8, 3] = 1.0
    samples = LatentBatch(torch.randn(300, 4, generator=torch.Generator().manual_seed(0)), None)
    features = activations(G.eval().requires_grad_(False), G, samples)
    assert features.shape == (300, 16)
    assert pca_directions(features, samples, 1)[0, 1].abs() > 0.95


def test_labels_lead_to_a_direction() -> None:
    x = torch.randn(800, 6, generator=torch.Generator().manual_seed(0))
    vectors, accuracy = class_directions(x, (x[:, 2] > 0).long(), 2)
    assert accuracy > 0.95 and vectors[1, 2] > 0.95 and torch.allclose(vectors[0], -vectors[1], atol=1e-4)
