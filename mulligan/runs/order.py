"""The order of a run: everything that determines what is trained, as one frozen value."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

from mulligan.core.errors import UserError, unknown
from mulligan.core.recipe import Budget, Recipe

F = TypeVar("F", bound=Callable[..., Any])


@dataclasses.dataclass(frozen=True, kw_only=True)
class Order:
    """What to train, on which data, for how long."""

    data: str | Path  # the name of a built-in data set, or a path
    other: str | Path | None = None  # a second data set, for the task `style`, which translates from `data` to it
    read: Mapping[str, Any] = dataclasses.field(default_factory=dict)  # options of the data's reader: {"size": 64}
    recipe: str | Path | Recipe | None = None  # a name (`mulligan zoo`), a .json file or a Recipe; None: automatic
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)  # changes to it: {"generator.width": 128}
    minutes: float | None = None  # time limit; the first limit reached counts; if none is given, those of the recipe
    samples: int | None = None  # limit of real samples that the discriminator sees
    epochs: float | None = None  # limit of passes over the training data
    converge: bool = False  # also stop when the tracked metric no longer improves beyond its noise
    seed: int = 0
    autoencoder: str | None = None  # train on latents: "self", or the folder of a diffusers AutoencoderKL
    features: str = "auto"  # the feature net of the tracked metric; "auto": the default for the data
    device: str = "auto"  # "cpu", "cuda", "mps"; "auto": the fastest that is available
    guard: Literal["on", "warn", "off"] = "on"  # detect problems of a run and repair them; only report them; do nothing

    def __post_init__(self) -> None:
        if self.guard not in ("on", "warn", "off"):
            raise UserError(f"guard={self.guard!r}: valid: on, warn, off")
        if not isinstance(self.seed, int):
            raise UserError(f"seed={self.seed!r} must be a whole number")
        for name in ("minutes", "samples", "epochs"):
            if not isinstance(getattr(self, name), int | float | None):
                raise UserError(f"{name}={getattr(self, name)!r} must be a number")

    def budgeted(self, recipe: Recipe) -> Recipe:
        """The recipe with the limits of this order, if there are any, instead of its own."""
        given = {"minutes": self.minutes, "samples": self.samples, "epochs": self.epochs}
        limits = given if any(value is not None for value in given.values()) else dataclasses.asdict(recipe.budget)
        try:
            budget = Budget(**{**limits, "converge": self.converge or recipe.budget.converge})
        except ValueError as error:
            raise UserError(str(error)) from None
        return dataclasses.replace(recipe, budget=budget)


def order_of(data: str | Path | Order, other: str | Path | None, fields: Mapping[str, Any]) -> Order:
    """An order from the arguments of a function: an Order, or its fields."""
    if isinstance(data, Order):
        assert other is None and not fields, "an Order is complete; change it with dataclasses.replace"
        return data
    known = [field.name for field in dataclasses.fields(Order)]
    if wrong := [name for name in fields if name not in known]:
        raise unknown("keyword", wrong[0], known)
    return Order(data=data, other=other, **fields)


def takes_order(function: F) -> F:
    """Add the fields of `Order` to a function's signature, for help() and completion. They are defined only once."""
    own = list(inspect.signature(function).parameters.values())
    fields = [p for p in inspect.signature(Order).parameters.values() if p.name not in ("data", "other")]
    first = [p for p in own if p.kind is p.POSITIONAL_OR_KEYWORD]
    last = [p for p in own if p.kind is p.KEYWORD_ONLY]
    function.__signature__ = inspect.signature(function).replace(parameters=[*first, *fields, *last])  # type: ignore[attr-defined]
    return function
