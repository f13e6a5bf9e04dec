"""`Recipe`: the parts of a GAN and their options, as a frozen value that converts to plain JSON and back.

`Recipe.resolve` binds every part against the signature of its constructor. So a wrong name or value is refused before
anything is built, and the resolved recipe states every option, also those left at their defaults.
"""

from __future__ import annotations

import functools
import json
import math
import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BeforeValidator, ConfigDict, PlainSerializer, TypeAdapter, ValidationError

from mulligan.core import registry
from mulligan.core.errors import UserError, unknown

Built = TypeVar("Built")

SHAPES = ("cosine", "linear", "late-linear")


@dataclass(frozen=True)
class Schedule:
    """A number that changes from `start` to `end` over `samples` samples (None: the whole budget), then stays constant.

    `late-linear` stays at `start` for the first half of them.
    """

    shape: Literal["cosine", "linear", "late-linear"]
    start: float
    end: float
    samples: float | None = None

    def at(self, seen: int, budget: int) -> float:
        t = min(1.0, seen / max(1.0, self.samples or budget))
        if self.shape == "cosine":
            t = 0.5 - 0.5 * math.cos(math.pi * t)
        elif self.shape == "late-linear":
            t = max(0.0, 2 * t - 1)
        return self.start + (self.end - self.start) * t


def _schedule(value: Any) -> Any:
    """`"cosine(2e-4, 5e-5)"` or `"linear(1, 0, 2e6)"`, as typed on a command line, in its JSON form."""
    if not isinstance(value, str) or not (m := re.fullmatch(r"\s*([\w-]+)\s*\(([^)]*)\)\s*", value)):
        return value
    if m[1] not in SHAPES:
        raise ValueError(
            f"unknown schedule {m[1]!r}; write {' or '.join(f'{shape}(start, end[, samples])' for shape in SHAPES)}"
        )
    return dict(zip(("shape", "start", "end", "samples"), (m[1], *m[2].split(",")), strict=False))


Number = Annotated[float | Schedule, BeforeValidator(_schedule)]


def value_at(number: float | Schedule, seen: int, budget: int) -> float:
    """The value of a number or schedule after `seen` of `budget` samples."""
    return number.at(seen, budget) if isinstance(number, Schedule) else number


@dataclass(frozen=True, init=False)
class Part:
    """The name of a registered constructor, and its options: `Part("dcgan", width=64)`."""

    name: str
    options: Mapping[str, Any]

    def __init__(self, name: str, /, **options: Any) -> None:
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "options", options)

    def with_options(self, **options: Any) -> Part:
        return Part(self.name, **{**self.options, **options})

    def resolve(self, kind: registry.Registry[Callable[..., Any]]) -> Part:
        return Part(self.name, **kind.bind(self.name, self.options))

    def build(self, kind: registry.Registry[Callable[..., Built]], *context: Any) -> Built:
        """Construct the part; `context` holds the positional arguments of its kind (see `registry`)."""
        return kind[self.name](*context, **kind.bind(self.name, self.options))

    def as_json(self) -> dict[str, Any]:
        return {"name": self.name, **{k: _plain(v) for k, v in self.options.items()}}

    @staticmethod
    def read(value: Any) -> Part:
        match value:
            case Part():
                return value
            case str():
                return Part(value)
            case {"name": str(name)}:
                return Part(name, **{key: option for key, option in value.items() if key != "name"})
        raise ValueError('a part is a name, or {"name": ..., option: value, ...}')


# adapters take longer to make than to use
_adapter: Callable[[Any], TypeAdapter[Any]] = functools.cache(TypeAdapter)


@dataclass(frozen=True, init=False)
class Term:
    """A term of a player's loss or turn: its weight, how often it is applied, and its own options.

    A term that is applied every `every` steps then has `every` times its weight (StyleGAN2, app. B).
    """

    weight: float | Schedule
    every: int
    options: Mapping[str, Any]

    def __init__(self, weight: float | Schedule = 1.0, every: int = 1, **options: Any) -> None:
        object.__setattr__(self, "weight", _adapter(Number).validate_python(weight))
        object.__setattr__(self, "every", _adapter(int).validate_python(every))
        object.__setattr__(self, "options", options)
        if self.every < 1:
            raise ValueError(f"every={every} must be at least 1")
        if isinstance(self.weight, float) and not math.isfinite(self.weight):
            raise ValueError(f"weight={weight} must be finite")

    def as_json(self) -> dict[str, Any]:
        return {"weight": _plain(self.weight), "every": self.every, **{k: _plain(v) for k, v in self.options.items()}}

    @staticmethod
    def read(value: Any) -> Term:
        if isinstance(value, Term):
            return value
        return Term(**value) if isinstance(value, Mapping) else Term(value)


def _plain(value: Any) -> Any:
    return _adapter(type(value)).dump_python(value, mode="json")


PartField = Annotated[Part, BeforeValidator(Part.read), PlainSerializer(Part.as_json)]
TermField = Annotated[Term, BeforeValidator(Term.read), PlainSerializer(Term.as_json)]
STRICT = ConfigDict(extra="forbid", arbitrary_types_allowed=True)


@dataclass(frozen=True, kw_only=True)
class OptimizerPair:
    """One optimizer for each of the two players."""

    generator: PartField
    discriminator: PartField

    __pydantic_config__ = STRICT


@dataclass(frozen=True, kw_only=True)
class Budget:
    """How long to train: until the first of the given limits. `converge`: also until the metric stops improving."""

    epochs: float | None = None
    samples: int | None = None
    minutes: float | None = None
    converge: bool = False

    __pydantic_config__ = STRICT

    def __post_init__(self) -> None:
        for name in ("epochs", "samples", "minutes"):
            value = getattr(self, name)
            if value is not None and not (value > 0 and math.isfinite(value)):
                raise ValueError(f"{name}={value} must be a positive number")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A GAN and its training. Derive one from another with `derived` or `with_set`."""

    name: str
    about: str = ""  # the one idea
    paper: str = ""  # authors, year, title, arXiv id
    parent: str = ""  # the recipe that it was derived from
    generator: PartField
    discriminator: PartField
    loss: PartField
    optimizer: OptimizerPair
    terms: dict[str, TermField] = field(default_factory=dict)
    augment: PartField = Part("none")  # applied to samples before D sees them
    task: PartField = Part("unconditional")
    ema: Number = 10_000  # half-life of G's moving average, in samples; 0: none
    ema_clock: Literal["samples", "learning"] = "samples"  # the unit in which half-lives are counted; see docs
    batch: int = 64
    accumulate: int = 1  # number of micro-batches of a batch: less memory, almost the same result
    d_turns: int = 1  # number of D's turns for each turn of G
    share_fakes: bool = True  # G's turn reuses the last fakes of D's turn, which saves one forward pass of G
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"  # auto: bf16 if the device computes in it natively
    budget: Budget = Budget(epochs=100)

    __pydantic_config__ = STRICT

    def __post_init__(self) -> None:
        for name in ("batch", "accumulate", "d_turns"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)} must be at least 1")
        if self.batch % self.accumulate:
            raise ValueError(f"batch={self.batch} must be a multiple of accumulate={self.accumulate}")

    @property
    def from_images(self) -> bool:
        """Whether G makes images from images."""
        return "image" in registry.tasks.declared(self.task.name).gives

    def resolve(self) -> Recipe:
        """The same recipe with every option stated. Raises UserError for an unknown name or an invalid value."""
        return replace(
            self,
            generator=self.generator.resolve(registry.generators),
            discriminator=self.discriminator.resolve(registry.discriminators),
            loss=self.loss.resolve(registry.losses),
            augment=self.augment.resolve(registry.augmentations),
            task=self.task.resolve(registry.tasks),
            optimizer=OptimizerPair(
                generator=self.optimizer.generator.resolve(registry.optimizers),
                discriminator=self.optimizer.discriminator.resolve(registry.optimizers),
            ),
            terms={
                name: Term(
                    term.weight, term.every, **registry.terms.bind(name, term.options, beside=("weight", "every"))
                )
                for name, term in self.terms.items()
            },
        )

    def as_json(self) -> dict[str, Any]:
        return _adapter(Recipe).dump_python(self, mode="json")

    @staticmethod
    def read(value: Mapping[str, Any], where: str = "recipe") -> Recipe:
        """A recipe from its JSON form, resolved. Raises UserError, which begins with `where`, for invalid JSON."""
        try:
            return _adapter(Recipe).validate_python(value).resolve()
        except ValidationError as error:
            first = error.errors()[0]
            path = ".".join(str(step) for step in first["loc"] if not str(step).startswith("function-"))
            raise UserError(
                f"{where}: {path + ': ' if path else ''}{first['msg'].removeprefix('Value error, ')}"
            ) from None
        except UserError as error:
            raise UserError(f"{where}: {error}") from None

    def with_set(self, settings: Mapping[str, Any]) -> Recipe:
        """Change by dotted path: `{"generator.width": 128, "loss": "hinge", "terms.r1.weight": 5, "terms.l1": "none"}`.

        Raises UserError, with the nearest valid names, for an unknown path.
        """
        recipe = self.resolve()
        for path, value in settings.items():
            tree = recipe.as_json()
            _assign(tree, path.split("."), value, path)
            recipe = Recipe.read(tree, where=f"--set {path}={value}")
        return recipe


def derived(parent: Recipe, *, name: str, **changes: Any) -> Recipe:
    """A recipe that differs from `parent` by `changes`, and names it as its parent."""
    return replace(parent, name=name, parent=parent.name, **changes)


def _assign(tree: dict[str, Any], keys: list[str], value: Any, path: str) -> None:
    """Write `value` at `keys`. The name of a part replaces the whole part; `none` removes a term; others are added."""
    *parents, last = keys
    node, kind = tree, "setting"
    for depth, key in enumerate(parents):
        if key not in node and depth == 1 and keys[0] == "terms":
            registry.terms[key]  # raises UserError for an unknown term
            node[key] = {}
        if key not in node:
            raise unknown(kind, key, node)
        node, kind = node[key], f"option of {'.'.join(keys[: depth + 1])}"
        if not isinstance(node, dict):
            raise UserError(f"--set {path}: {'.'.join(keys[: depth + 1])} is a single value, it has no {last!r}")
    in_terms = parents == ["terms"]
    if in_terms:
        registry.terms[last]
    elif last not in node and parents[:1] != ["terms"]:
        raise unknown(kind, last, node)
    if in_terms and value in ("none", None):
        node.pop(last, None)
    else:
        node[last] = value


def parse_setting(text: str, option: str = "--set", example: str = "generator.width=128") -> tuple[str, Any]:
    """`part.option=value` as typed: the value is read as JSON if it is valid JSON, else as a string."""
    path, sign, raw = text.partition("=")
    if not sign or not path.strip():
        raise UserError(f"{option} {text!r}: write name=value, for example {option} {example}")
    try:
        value = json.loads(raw)
    except json.JSONDecodeError:
        value = raw.strip()
    return path.strip(), value


def typed(settings: Mapping[str, Any]) -> str:
    """Settings as they are typed on a command line: the inverse of `parse_setting`."""
    words = {path: value if isinstance(value, str) else json.dumps(value) for path, value in settings.items()}
    return " ".join(f"--set {shlex.quote(f'{path}={value}')}" for path, value in words.items())
