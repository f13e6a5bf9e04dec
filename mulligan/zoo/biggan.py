"""`biggan`: residual networks for large batches and many channels."""

from __future__ import annotations

from mulligan.core.recipe import Budget, OptimizerPair, Part, Recipe, Term, derived
from mulligan.core.registry import recipes
from mulligan.zoo.sagan import sagan


@recipes.register()
def biggan() -> Recipe:
    """A width for a laptop; `biggan-imagenet128` has the published one."""
    return derived(
        sagan(),
        name="biggan",
        about="all norms use one class embedding and each a share of the noise; orthogonal weights, regularised in G",
        paper="Brock, Donahue, Simonyan 2019, Large Scale GAN Training for High Fidelity Natural Image Synthesis, "
        "arXiv 1809.11096",
        generator=Part("resnet", norm="vector", split=True, z=120, attention=1, spectral=True, init="orthogonal"),
        discriminator=Part("resnet", attention=1, init="orthogonal"),
        terms={"orthogonal": Term(1e-4)},
        optimizer=OptimizerPair(
            generator=Part("adam", lr=5e-5, beta1=0.0, beta2=0.999, eps=1e-6),
            discriminator=Part("adam", lr=2e-4, beta1=0.0, beta2=0.999, eps=1e-6),
        ),
        ema=10_000,
        d_turns=2,
    )


@recipes.register("biggan-imagenet128")
def biggan_imagenet128() -> Recipe:
    small = biggan()
    return derived(
        small,
        name="biggan-imagenet128",
        about="BigGAN as published for ImageNet at 128x128",
        generator=small.generator.with_options(width=96),
        discriminator=small.discriminator.with_options(width=96),
        ema=14_000_000,  # 0.9999 per step
        batch=2048,
        budget=Budget(samples=600_000_000),
    )
