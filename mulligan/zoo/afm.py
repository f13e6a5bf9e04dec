"""`afm` for images, its published sizes, and `afm-points` for points in a plane."""

from __future__ import annotations

from mulligan.core.recipe import Budget, OptimizerPair, Part, Recipe, Schedule, Term, derived
from mulligan.core.registry import recipes
from mulligan.zoo.points import points

PAPER = "Lin, Yang, Lin, Chen, Fan 2025, Adversarial Flow Models, arXiv 2511.22475"


@recipes.register()
def afm() -> Recipe:
    """A size for a laptop; the transport term decreases over the budget. `afm-b` to `afm-xl` are as published."""
    adam = Part("adamw", lr=1e-3, beta1=0.0, beta2=0.9, weight_decay=0.01)
    penalty = Term(0.5, sigma=0.01, share=0.25)
    return Recipe(
        name="afm",
        about="noise has the shape of a sample, and G moves it as little as possible: plain DiTs learn one map",
        paper=PAPER,
        generator=Part("dit"),
        discriminator=Part("dit"),
        loss=Part("relativistic"),
        terms={
            "transport": Term(Schedule("cosine", 0.2, 0.005)),
            "gradient-normalisation": Term(1.0),
            "r1": penalty,
            "r2": penalty,
            "centring": Term(0.01),
        },
        optimizer=OptimizerPair(generator=adam, discriminator=adam),
        task=Part("by-class-if-labelled"),
        ema=10_000,
        batch=32,
        budget=Budget(samples=2_000_000),
    )


@recipes.register("afm-points")
def afm_points() -> Recipe:
    """Dense networks, for samples of any kind and shape."""
    parent, flow = points(), afm()
    return derived(
        parent,
        name="afm-points",
        about="noise in the plane is moved to the modes, as little as possible",
        paper=PAPER,
        generator=parent.generator.with_options(z=0),
        terms={
            **parent.terms,
            **{name: flow.terms[name] for name in ("transport", "gradient-normalisation", "centring")},
        },
    )


def _published(size: str, width: int, depth: int, head: int) -> Recipe:
    """G's size is from the paper's tables; D is the same network with one more token.

    For latents give `--autoencoder FOLDER`, as for `gat`.
    """
    net = Part("dit", width=width, depth=depth, head=head, patch=2)
    adam = Part("adamw", lr=1e-4, beta1=0.0, beta2=0.9, weight_decay=0.01)
    parent = afm()
    samples = 128_000_000  # a million turns of 256 samples, half of which are D's
    return derived(
        parent,
        name=f"afm-{size}",
        about=f"AFM-{size.upper()}/2 as published for latents of ImageNet at 256x256 (4x32x32)",
        generator=net,
        discriminator=net,
        terms={**parent.terms, "transport": Term(Schedule("cosine", 0.2, 0.005, samples))},
        optimizer=OptimizerPair(generator=adam, discriminator=adam),
        ema=1_774_000,  # 0.9999 per step
        batch=256,
        budget=Budget(samples=samples),
    )


@recipes.register("afm-b")
def afm_b() -> Recipe:
    return _published("b", 768, 12, 64)


@recipes.register("afm-m")
def afm_m() -> Recipe:
    return _published("m", 1024, 16, 64)


@recipes.register("afm-l")
def afm_l() -> Recipe:
    return _published("l", 1024, 24, 64)


@recipes.register("afm-xl")
def afm_xl() -> Recipe:
    return _published("xl", 1152, 28, 72)
