"""`r3gan` and its published sizes."""

from __future__ import annotations

from dataclasses import replace

from mulligan.core.recipe import Budget, OptimizerPair, Part, Recipe, Schedule, Term, derived
from mulligan.core.registry import recipes

PAPER = (
    "Huang, Gokaslan, Kuleshov, Tompkin 2024, The GAN is dead; long live the GAN! A Modern GAN Baseline, "
    "arXiv 2501.05441"
)


def _scheduled(recipe: Recipe, gamma: float, ema: float, samples: float | None) -> Recipe:
    """All schedules are cosines: gamma falls to a tenth, lr to a quarter; beta2 and the half-life of the EMA grow."""

    def cosine(start: float, end: float) -> Schedule:
        return Schedule("cosine", start, end, samples)

    adam = Part("adam", lr=cosine(2e-4, 5e-5), beta1=0.0, beta2=cosine(0.9, 0.99))
    penalty = Term(cosine(gamma, gamma / 10))
    return replace(
        recipe,
        terms={"r1": penalty, "r2": penalty},
        optimizer=OptimizerPair(generator=adam, discriminator=adam),
        ema=cosine(0, ema),
    )


@recipes.register()
def r3gan() -> Recipe:
    """A size for a laptop, with schedules over the budget of the run."""
    plain = Recipe(
        name="r3gan",
        about="relativistic pairing and zero-centred penalties on both sides make a plain modern ResNet stable",
        paper=PAPER,
        generator=Part("r3gan"),
        discriminator=Part("r3gan"),
        loss=Part("relativistic"),
        optimizer=OptimizerPair(generator=Part("adam"), discriminator=Part("adam")),
        task=Part("by-class-if-labelled"),
        batch=64,
        share_fakes=False,  # new fakes for each player, as published
        budget=Budget(samples=2_000_000),
    )
    return _scheduled(plain, gamma=1.0, ema=50_000, samples=None)


def _published(
    data: str, widths: tuple[int, ...], group: int, *, gamma: float, ema: float, samples: float, batch: int
) -> Recipe:
    net = Part("r3gan", widths=widths, group=group)
    sized = derived(
        r3gan(),
        name=f"r3gan-{data}",
        about=f"R3GAN as published for {data}",
        generator=net,
        discriminator=net,
        batch=batch,
        budget=Budget(samples=250_000_000),
    )
    return _scheduled(sized, gamma, ema, samples)


@recipes.register("r3gan-cifar10")
def r3gan_cifar10() -> Recipe:
    return _published("cifar10", (768,) * 4, 16, gamma=0.05, ema=5e6, samples=2e7, batch=512)


@recipes.register("r3gan-ffhq64")
def r3gan_ffhq64() -> Recipe:
    return _published("ffhq64", (768, 768, 768, 768, 384), 16, gamma=2.0, ema=5e5, samples=2e7, batch=256)


@recipes.register("r3gan-ffhq256")
def r3gan_ffhq256() -> Recipe:
    widths = (768, 768, 768, 768, 384, 192, 96)
    return _published("ffhq256", widths, 16, gamma=150.0, ema=5e5, samples=2e7, batch=256)


@recipes.register("r3gan-imagenet32")
def r3gan_imagenet32() -> Recipe:
    return _published("imagenet32", (1536,) * 4, 32, gamma=0.5, ema=5e7, samples=2e8, batch=4096)


@recipes.register("r3gan-imagenet64")
def r3gan_imagenet64() -> Recipe:
    return _published("imagenet64", (1536,) * 5, 32, gamma=1.0, ema=5e7, samples=2e8, batch=4096)
