"""`cut` and `fastcut` as published, and `restyle-cut`: the same game, small enough for two CPU cores."""

from __future__ import annotations

from mulligan.core.recipe import Budget, Part, Recipe, Term, derived
from mulligan.core.registry import recipes
from mulligan.zoo.cyclegan import cyclegan, restyle


@recipes.register()
def cut() -> Recipe:
    """Section 3 and appendix C of the paper: one direction only. It differs where `cyclegan` does."""
    parent = cyclegan()
    return derived(
        parent,
        name="cut",
        about="one generator: each patch of its output must match the input patch at that position, not other patches",
        paper="Park, Efros, Zhang, Zhu 2020, Contrastive Learning for Unpaired Image-to-Image Translation, "
        "arXiv 2007.15651",
        generator=parent.generator.with_options(heads=256),
        terms={"patch-nce": Term(1.0), "identity-nce": Term(1.0)},
        task=Part("style", directions=1),
        batch=1,
    )


@recipes.register()
def fastcut() -> Recipe:
    """Section 4 and appendix C of the paper: at random, G is trained to be equivariant to mirroring."""
    return derived(
        cut(),
        name="fastcut",
        about="CUT without the identity term, and ten times the weight on patches: half the time",
        terms={"patch-nce": Term(10.0, mirror=0.5)},
        budget=Budget(epochs=200),
    )


@recipes.register("restyle-cut")
def restyle_cut() -> Recipe:
    """`restyle` in one direction. Shared heads would also tie the styles: inverted digits came out mangled."""
    parent = restyle()
    terms = {name: term for name, term in parent.terms.items() if name != "cycle"}
    return derived(
        parent,
        name="restyle-cut",
        about="one direction by a small U-net, contrastive patches, a D of small patches: minutes on a CPU",
        paper="Mulligan; parts from arXiv 2007.15651, 2104.07689, 1611.07004, 1807.00734, 2501.05441",
        generator=parent.generator.with_options(heads=64, own_heads=True),
        terms={"patch-nce": Term(0.2, patches=64), **terms},
        task=Part("style", directions=1),
    )
