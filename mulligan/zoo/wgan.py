"""`wgan`, `wgan-gp`, `wgan-div`: the Wasserstein distance, and three ways to bound the gradient of the critic."""

from __future__ import annotations

from mulligan.core.recipe import OptimizerPair, Part, Recipe, Term, derived
from mulligan.core.registry import recipes

CRITIC = Part("dcgan", dropout=0.0)  # no batch norm: the penalty is on single samples


@recipes.register()
def wgan() -> Recipe:
    """The critic's weights are clipped to a box."""
    rmsprop = Part("rmsprop", lr=5e-5)
    return Recipe(
        name="wgan",
        about="a critic that estimates the Wasserstein distance, kept Lipschitz by clipping its weights",
        paper="Arjovsky, Chintala, Bottou 2017, Wasserstein GAN, arXiv 1701.07875",
        generator=Part("dcgan"),
        discriminator=CRITIC,
        loss=Part("wasserstein"),
        terms={"clip": Term(0.01)},
        optimizer=OptimizerPair(generator=rmsprop, discriminator=rmsprop),
        ema=0,
        batch=64,
        d_turns=5,
    )


@recipes.register("wgan-gp")
def wgan_gp() -> Recipe:
    """The critic's gradient is pulled to norm 1 between real and fake."""
    adam = Part("adam", lr=1e-4, beta1=0.0, beta2=0.9)
    return derived(
        wgan(),
        name="wgan-gp",
        about="WGAN with a gradient penalty instead of clipping",
        paper="Gulrajani, Ahmed, Arjovsky, Dumoulin, Courville 2017, Improved Training of Wasserstein GANs, "
        "arXiv 1704.00028",
        terms={"wgan-gp": Term(10.0)},
        optimizer=OptimizerPair(generator=adam, discriminator=adam),
    )


@recipes.register("wgan-div")
def wgan_div() -> Recipe:
    """No gradient norm is prescribed; a high power of it is penalised."""
    adam = Part("adam", lr=2e-4, beta1=0.5, beta2=0.999)
    return derived(
        wgan_gp(),
        name="wgan-div",
        about="a divergence related to the Wasserstein distance, which needs no Lipschitz critic",
        paper="Wu, Huang, Thoma, Acharya, Van Gool 2018, Wasserstein Divergence for GANs, arXiv 1712.01026",
        terms={"wgan-div": Term(2.0)},
        optimizer=OptimizerPair(generator=adam, discriminator=adam),
    )
