"""`contragan`, `reacgan`: D learns relations between samples of a batch, not only between a sample and its class."""

from __future__ import annotations

from mulligan.core.recipe import Budget, OptimizerPair, Part, Recipe, Term, derived
from mulligan.core.registry import recipes
from mulligan.zoo.biggan import biggan


@recipes.register()
def contragan() -> Recipe:
    """BigGAN's networks, with a width for a laptop; `contragan-cifar10` has the published one."""
    base = biggan()
    return derived(
        base,
        name="contragan",
        about="D embeds samples and classes: those of one class are pulled together, all others pushed apart",
        paper="Kang, Park 2020, ContraGAN: Contrastive Learning for Conditional Image Generation, arXiv 2006.12681",
        discriminator=base.discriminator.with_options(class_by="contrastive"),
        terms={"contrastive": Term(1.0)},
        task=Part("by-class"),
    )


@recipes.register("contragan-cifar10")
def contragan_cifar10() -> Recipe:
    small = contragan()
    adam = Part("adam", lr=2e-4, beta1=0.5, beta2=0.999)
    return derived(
        small,
        name="contragan-cifar10",
        about="ContraGAN as published for CIFAR-10",
        generator=small.generator.with_options(widths=(384,) * 4, z=80),
        discriminator=small.discriminator.with_options(widths=(192,) * 4, embedding=512),
        optimizer=OptimizerPair(generator=adam, discriminator=adam),
        ema=2_200_000,  # 0.9999 per step
        d_turns=5,
        budget=Budget(samples=32_000_000),  # 100,000 steps of G, with five batches for D each
    )


@recipes.register()
def reacgan() -> Recipe:
    """The networks of `contragan`."""
    return derived(
        contragan(),
        name="reacgan",
        about="an auxiliary classifier whose features and weights have length 1, and which ignores easy samples",
        paper="Kang, Shim, Cho, Park 2021, Rebooting ACGAN: Auxiliary Classifier GANs with Stable Training, "
        "arXiv 2111.01118",
        terms={"data-to-data": Term(0.5)},
    )
