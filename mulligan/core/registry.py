"""Parts by name. The keyword-only arguments of a part are its options; their signature is the schema.

A part declares where it is registered which samples it takes and which condition it needs. `refuse` checks this.
"""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Generic, TypeVar, get_origin, get_type_hints

from mulligan.core.errors import UserError, unknown

if TYPE_CHECKING:
    from pydantic import TypeAdapter
    from torch.optim import Optimizer

    from mulligan.core.condition import ConditionSpec
    from mulligan.core.network import Discriminator, Generator
    from mulligan.core.recipe import Recipe
    from mulligan.core.sample import Sample
    from mulligan.core.step import Augmentation, Loss, Rule
    from mulligan.data.dataset import Dataset
    from mulligan.metrics.features.net import FeatureNet
    from mulligan.tasks.generation import Task

T_co = TypeVar("T_co", bound=Callable[..., Any], covariant=True)
Given = TypeVar("Given", bound=Callable[..., Any])


@dataclass(frozen=True)
class Declared:
    """What a part declares where it is registered."""

    kinds: frozenset[str] | None = None  # names of the kinds of samples that it takes; None: any
    takes: frozenset[str] = frozenset()  # fields of a condition that it accepts
    needs: frozenset[str] = frozenset()  # of these, the required ones
    gives: frozenset[str] = frozenset()  # what others may ask of it: "maps" or "head" of a feature net
    recipe: str = ""  # of a task: the recipe that automatic choices start from, if not that of the samples
    reader: str = ""  # of a task: the reader that opens its data, if they are not a plain data set
    names: tuple[str, ...] = ()  # of a reader: built-in data sets that it opens by name
    claims: Callable[[Path], bool] | None = None  # of a reader: whether it reads a path; the last one is asked first


class Registry(Generic[T_co]):
    """Constructors of one kind of part, by name. Their positional arguments are context, which the toolkit passes.

    A `Registry[Callable[..., Loss]]` gives constructors of a `Loss`. The decorator leaves a part's own type as it is.
    """

    def __init__(self, kind: str, plural: str = "") -> None:
        self.kind, self.plural = kind, plural or f"{kind}s"
        self._parts: dict[str, Any] = {}  # T_co
        self._declared: dict[str, Declared] = {}

    def register(
        self,
        name: str | None = None,
        *,
        kinds: Collection[str] | None = None,
        takes: Collection[str] = (),
        needs: Collection[str] = (),
        gives: Collection[str] = (),
        recipe: str = "",
        reader: str = "",
        names: Iterable[str] = (),
        claims: Callable[[Path], bool] | None = None,
    ) -> Callable[[Given], Given]:
        """Decorator; the name defaults to the function's, with dashes for underscores. For the rest see `Declared`.

        Raises UserError for a name that is registered already.
        """
        declared = Declared(
            None if kinds is None else frozenset(kinds), frozenset(takes) | frozenset(needs), frozenset(needs),
            frozenset(gives), recipe, reader, tuple(names), claims,
        )  # fmt: skip

        def add(part: Given) -> Given:
            key = name or part.__name__.replace("_", "-")
            if key in self._parts:
                raise UserError(
                    f"{self.kind} {key!r} is registered twice: in {self._parts[key].__module__} and in "
                    f"{part.__module__}; give the second another name"
                )
            self._parts[key], self._declared[key] = part, declared
            return part

        return add

    def declared(self, name: str) -> Declared:
        """The declarations of a part. Raises UserError for an unknown name, with the nearest ones."""
        self[name]
        return self._declared[name]

    def __getitem__(self, name: str) -> T_co:
        try:
            return self._parts[name]
        except KeyError:
            raise unknown(self.kind, name, self._parts) from None

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._parts))

    def forget(self, module: str) -> None:
        """Remove the parts that a module registered, before it is imported again."""
        for name in [name for name, part in self._parts.items() if part.__module__ == module]:
            del self._parts[name], self._declared[name]

    def in_order(self) -> list[str]:
        """Names in the order of their registration."""
        return list(self._parts)

    def __contains__(self, name: str) -> bool:
        return name in self._parts

    def defaults(self, name: str) -> dict[str, Any]:
        """Every option of a part with its default; `inspect.Parameter.empty` for a required option."""
        return {p.name: p.default for p in options_of(self[name])}

    def bind(self, name: str, options: Mapping[str, Any], beside: Iterable[str] = ()) -> dict[str, Any]:
        """All options of a part. Given values are checked, and converted according to their annotations.

        `beside` names other keys that may be given next to the options, which the error message suggests too.
        Raises UserError naming the option, the value and the nearest valid names.
        """
        from pydantic import ValidationError

        part = self[name]
        declared, types = {p.name: p for p in options_of(part)}, _types_of(part)
        for key in options:
            if key not in declared:
                raise unknown(f"option of {self.kind} {name!r}", key, [*beside, *declared])
        bound: dict[str, Any] = {}
        for key, parameter in declared.items():
            value = options.get(key, parameter.default)
            if value is parameter.empty:
                raise UserError(f"{self.kind} {name!r} needs the option {key!r}")
            if key not in types:
                raise UserError(f"{self.kind} {name!r}: the option {key!r} has no type; write `{key}: float = ...`")
            try:
                bound[key] = types[key].validate_python(value)
            except ValidationError as error:
                why = error.errors()[0]["msg"].removeprefix("Value error, ")
                raise UserError(f"{self.kind} {name!r}: {key}={value!r} is not valid: {why}") from None
            if isinstance(bound[key], float) and not math.isfinite(bound[key]):
                raise UserError(f"{self.kind} {name!r}: {key}={value!r} is not valid: it must be finite")
        return bound


def options_of(part: Callable[..., Any]) -> list[inspect.Parameter]:
    """The keyword-only parameters of a constructor or function."""
    return [p for p in inspect.signature(part).parameters.values() if p.kind is p.KEYWORD_ONLY]


@functools.cache  # adapters are slower to make than to use
def _types_of(part: Callable[..., Any]) -> dict[str, TypeAdapter[Any]]:
    from pydantic import BeforeValidator, TypeAdapter

    types = get_type_hints(part.__init__ if inspect.isclass(part) else part, include_extras=True)
    several = {n: Annotated[each, BeforeValidator(_listed)] for n, each in types.items() if get_origin(each) is tuple}
    return {p.name: TypeAdapter((types | several)[p.name]) for p in options_of(part) if p.name in types}


def _listed(value: object) -> object:
    """`"color,cutout"`, `"1,2,4"` or 3, as typed on a command line, as a list."""
    if isinstance(value, str):
        return [each.strip() for each in value.split(",")]
    return [value] if isinstance(value, int) else value


def other_kind(kinds: Collection[str], sample: Sample) -> str:
    """What is said of a part, a command or an option that is for other kinds of samples."""
    return f"is for {' and '.join(sorted(kinds))} samples, and these are {sample.noun} of {sample}"


def refuse(
    registry: Registry[Callable[..., Any]], name: str, sample: Sample, condition: ConditionSpec | None = None
) -> None:
    """Raises UserError if a part does not take these samples or this condition.

    `condition` is for networks: they must accept every field of it, and it must have every field that they need. The
    message names the part, the problem, and the parts of its kind that fit.
    """
    here, fields = registry.declared(name), () if condition is None else condition.names
    fitting = [other for other in registry if _fits(registry.declared(other), sample, condition)]
    if name in fitting:
        return
    if here.kinds is not None and sample.kind not in here.kinds:
        why = other_kind(here.kinds, sample)
    elif missing := sorted(here.needs - set(fields)):
        why = f"needs the condition {missing[0]!r}, which this task does not give; a task such as inpaint does (--task)"
    else:
        extra = next(field for field in fields if field not in here.takes)
        why = f"does not take the condition {extra!r} that the task gives"
    choice = f"valid {registry.plural}: {', '.join(fitting)}" if fitting else f"no {registry.kind} fits"
    raise UserError(f"{registry.kind} {name!r} {why}; {choice}")


def _fits(declared: Declared, sample: Sample, condition: ConditionSpec | None) -> bool:
    if declared.kinds is not None and sample.kind not in declared.kinds:
        return False
    return condition is None or declared.needs <= set(condition.names) <= declared.takes


# The comment of each kind lists its context: the positional arguments of its constructors.
kinds: Registry[type[Sample]] = Registry("kind of sample", "kinds of samples")  # ()
readers: Registry[Callable[..., Dataset]] = Registry("reader")  # (spec, Opening)
generators: Registry[Callable[..., Generator]] = Registry("generator")  # (sample, condition)
discriminators: Registry[Callable[..., Discriminator]] = Registry("discriminator")  # (sample, condition)
losses: Registry[Callable[..., Loss]] = Registry("loss", "losses")  # ()
terms: Registry[Callable[..., Rule]] = Registry("term")  # ()
augmentations: Registry[Callable[..., Augmentation]] = Registry("augmentation")  # ()
optimizers: Registry[Callable[..., Optimizer]] = Registry("optimizer")  # (parameters)
tasks: Registry[Callable[..., Task]] = Registry("task")  # (data)
features: Registry[Callable[..., FeatureNet]] = Registry("feature net")  # ()
# (judge, extracted, fakes) -> numbers by section of the result
measures: Registry[Callable[..., dict[str, dict[str, Any]]]] = Registry("group of measures", "groups of measures")
recipes: Registry[Callable[..., Recipe]] = Registry("recipe")  # ()

EVERY: tuple[Registry[Callable[..., Any]], ...] = (
    recipes, generators, discriminators, losses, terms, augmentations, optimizers, tasks, features, measures, readers,
    kinds,
)  # fmt: skip
