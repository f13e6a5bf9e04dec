"""What can be changed in a game that goes wrong: a table of functions from a recipe to settings, as `--set` takes them.

A remedy returns None where there is nothing for it to change. Another one is another function here, named in a
detector's cures.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mulligan.core.recipe import Recipe, Schedule

Settings = dict[str, Any]
USUAL_RATE = 5e-4  # a learning rate in the middle of what GANs are trained with (1e-4 to 2e-3)
PENALTIES = ("r1", "r2", "wgan-gp", "dragan")  # terms that bound D's gradient


@dataclass(frozen=True)
class Remedy:
    name: str
    words: str  # what it does, for people
    change: Callable[[Recipe], Settings | None]
    anew: bool = False  # from the beginning and the original recipe, not from a restore point and what was tried


REMEDIES: dict[str, Remedy] = {}


def remedy(name: str, words: str, **options: Any) -> Callable[[Callable], Callable]:
    def add(change: Callable[[Recipe], Settings | None]) -> Callable[[Recipe], Settings | None]:
        REMEDIES[name] = Remedy(name, words, change, **options)
        return change

    return add


def start_of(number: float | Schedule) -> float:
    return number.start if isinstance(number, Schedule) else number


def scaled(number: float | Schedule, factor: float) -> float | str:
    """A number or a schedule times `factor`, as `--set` takes it."""
    if not isinstance(number, Schedule):
        return float(f"{number * factor:.4g}")
    ends = [f"{number.start * factor:.4g}", f"{number.end * factor:.4g}"]
    return f"{number.shape}({', '.join(ends + ([f'{number.samples:g}'] if number.samples else []))})"


def _rates(recipe: Recipe) -> dict[str, float | Schedule]:
    return {side: getattr(recipe.optimizer, side).options["lr"] for side in ("generator", "discriminator")}


def _rate_settings(recipe: Recipe, factors: dict[str, float]) -> Settings:
    rates = _rates(recipe)
    return {f"optimizer.{side}.lr": scaled(rates[side], factor) for side, factor in factors.items() if factor != 1.0}


@remedy("another seed", "the same again with other random numbers")
def another_seed(recipe: Recipe) -> Settings:
    """For an accident; the guard leaves it out where a run was never healthy."""
    return {}


@remedy("equal rates", "both players learn at the one of their rates that is nearer to the usual")
def equal_rates(recipe: Recipe) -> Settings | None:
    rates = {side: start_of(rate) for side, rate in _rates(recipe).items()}
    if min(rates.values()) <= 0 or max(rates.values()) < 3 * min(rates.values()):
        return None
    wanted = min(rates.values(), key=lambda rate: abs(math.log(rate / USUAL_RATE)))
    return _rate_settings(recipe, {side: wanted / rate for side, rate in rates.items()})


@remedy("slower", "both players learn ten times more slowly")
def slower(recipe: Recipe) -> Settings:
    return _rate_settings(recipe, {"generator": 0.1, "discriminator": 0.1})


@remedy("slower D", "D learns three times more slowly")
def slower_d(recipe: Recipe) -> Settings:
    return _rate_settings(recipe, {"discriminator": 1 / 3})


@remedy("stronger penalty", "D's gradient is penalised four times more strongly, or by R1 where it was not at all")
def stronger_penalty(recipe: Recipe) -> Settings:
    present = {name: term for name, term in recipe.terms.items() if name in PENALTIES}
    if not present:
        return {"terms.r1.weight": 0.5, "terms.r1.every": 4}
    return {f"terms.{name}.weight": scaled(term.weight, 4.0) for name, term in present.items()}


@remedy("weaker penalty", "D's gradient is penalised a hundred times less")
def weaker_penalty(recipe: Recipe) -> Settings | None:
    present = {name: term for name, term in recipe.terms.items() if name in PENALTIES}
    return {f"terms.{name}.weight": scaled(term.weight, 0.01) for name, term in present.items()} or None


@remedy("augmentation", "D sees images, real and generated, shifted, recoloured and partly covered")
def augmentation(recipe: Recipe) -> Settings | None:
    if recipe.augment.name != "none" or recipe.from_images:  # they have to lie as the image that G was given does
        return None
    return {"augment": "diffaugment"}


@remedy("no momentum", "Adam without momentum")
def no_momentum(recipe: Recipe) -> Settings | None:
    sides = {side: getattr(recipe.optimizer, side).options for side in ("generator", "discriminator")}
    return {
        f"optimizer.{side}.beta1": 0.0 for side, options in sides.items() if start_of(options.get("beta1", 0.0)) > 0
    } or None


@remedy("nonsaturating", "a loss with a strong gradient where G is bad")
def nonsaturating(recipe: Recipe) -> Settings | None:
    return None if recipe.loss.name == "nonsaturating" else {"loss": "nonsaturating"}


@remedy("fewer D turns", "D plays once for each turn of G")
def fewer_d_turns(recipe: Recipe) -> Settings | None:
    return {"d_turns": 1} if recipe.d_turns > 1 else None


@remedy("more D turns", "D plays twice as often")
def more_d_turns(recipe: Recipe) -> Settings:
    return {"d_turns": 2 * recipe.d_turns}


@remedy(
    "proven rules", "from the beginning, by rules known to be stable: non-saturating loss, R1, no momentum", anew=True
)
def proven_rules(recipe: Recipe) -> Settings:
    """Mescheder 2018 (arXiv 1801.04406) proves local convergence of this game, and StyleGAN2 trains by it."""
    rates = [min(max(start_of(rate), 1e-4), 2e-3) for rate in _rates(recipe).values()]
    rate = math.sqrt(rates[0] * rates[1])
    adam = {"name": "adam", "lr": f"cosine({rate:.4g}, 0)", "beta1": 0.0, "beta2": 0.99}
    removed = [] if recipe.from_images else [name for name in recipe.terms if name != "r1"]  # likeness has to stay
    terms = {f"terms.{name}": "none" for name in removed}
    return {
        **terms, "loss": "nonsaturating", "d_turns": 1, "terms.r1.weight": 0.5, "terms.r1.every": 8,
        "optimizer.generator": adam, "optimizer.discriminator": adam,
    }  # fmt: skip
