"""Parts by name. A part's keyword-only arguments are its options; the signature is the schema.

What samples a part takes, and what it has to be told, is declared where it is registered; `refuse` words the refusal.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Generic, TypeVar, get_origin, get_type_hints

from mulligan.core.errors import UserError, unknown

if TYPE_CHECKING:
    from pydantic import TypeAdapter

    from mulligan.core.condition import ConditionSpec
    from mulligan.core.sample import Sample

T = TypeVar("T", bound=Callable[..., Any])


@dataclass(frozen=True)
class Declared:
    """What a part says of itself where it is registered."""

    kinds: frozenset[str] | None = None  # of samples that it takes, by name; None: any
    takes: frozenset[str] = frozenset()  # fields of a condition that it understands
    needs: frozenset[str] = frozenset()  # of these, what it cannot do without
    gives: frozenset[str] = frozenset()  # what others may ask of it: "maps" or "head" of a feature net
    recipe: str = ""  # of a task: the recipe that choices start from, where it is not that of the samples
    reader: str = ""  # of a task: the reader that opens its data, where they are no plain data set
    names: tuple[str, ...] = ()  # of a reader: built-in data sets that it opens by name
    claims: Callable[[Path], bool] | None = None  # of a reader: whether it reads what lies there, asked last one first


class Registry(Generic[T]):
    """Names to constructors of one kind. What is not keyword-only in a constructor is context, given by the toolkit."""

    def __init__(self, kind: str, plural: str = "") -> None:
        self.kind, self.plural = kind, plural or f"{kind}s"
        self._parts: dict[str, T] = {}
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
    ) -> Callable[[T], T]:
        """Decorator; the name defaults to the function's, with dashes for underscores. The rest is `Declared`.

        Raises UserError for a name that is taken: two files may not both register it.
        """
        declared = Declared(
            None if kinds is None else frozenset(kinds), frozenset(takes) | frozenset(needs), frozenset(needs),
            frozenset(gives), recipe, reader, tuple(names), claims,
        )  # fmt: skip

        def add(part: T) -> T:
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
        """What a part says of itself. Raises UserError for an unknown name, with the nearest ones."""
        self[name]
        return self._declared[name]

    def __getitem__(self, name: str) -> T:
        try:
            return self._parts[name]
        except KeyError:
            raise unknown(self.kind, name, self._parts) from None

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._parts))

    def forget(self, module: str) -> None:
        """Drop what a module registered, before it is imported again."""
        for name in [name for name, part in self._parts.items() if part.__module__ == module]:
            del self._parts[name], self._declared[name]

    def in_order(self) -> list[str]:
        """Names in the order of their registration."""
        return list(self._parts)

    def __contains__(self, name: str) -> bool:
        return name in self._parts

    def defaults(self, name: str) -> dict[str, Any]:
        """Every option of a part with its default; `inspect.Parameter.empty` where one must be given."""
        return {p.name: p.default for p in options_of(self[name])}

    def bind(self, name: str, options: Mapping[str, Any], beside: Iterable[str] = ()) -> dict[str, Any]:
        """All options of a part, given ones checked and converted by their annotation.

        `beside` names what may stand beside the options where they are written, for the error to suggest.
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
            try:
                bound[key] = types[key].validate_python(value)
            except ValidationError as error:
                why = error.errors()[0]["msg"].removeprefix("Value error, ")
                raise UserError(f"{self.kind} {name!r}: {key}={value!r} is not valid: {why}") from None
        return bound


def options_of(part: Callable[..., Any]) -> list[inspect.Parameter]:
    """The keyword-only parameters of a constructor or function."""
    return [p for p in inspect.signature(part).parameters.values() if p.kind is p.KEYWORD_ONLY]


@functools.cache  # adapters take longer to make than to use
def _types_of(part: Callable[..., Any]) -> dict[str, TypeAdapter]:
    from pydantic import BeforeValidator, TypeAdapter

    types = get_type_hints(part.__init__ if inspect.isclass(part) else part, include_extras=True)
    several = {n: Annotated[each, BeforeValidator(_listed)] for n, each in types.items() if get_origin(each) is tuple}
    return {p.name: TypeAdapter((types | several)[p.name]) for p in options_of(part)}


def _listed(value: object) -> object:
    """`"color,cutout"`, `"1,2,4"` or 3, as typed on a command line, as the several that they are."""
    if isinstance(value, str):
        return [each.strip() for each in value.split(",")]
    return [value] if isinstance(value, int) else value


def refuse(registry: Registry, name: str, sample: Sample, condition: ConditionSpec | None = None) -> None:
    """Raises UserError where a part does not go with these samples, or with what a generator is told of them.

    `condition` is for networks: they must take every field of it, and find those that they need. The line names the
    part, what is wrong, and the parts of its kind that would do.
    """
    here, fields = registry.declared(name), () if condition is None else condition.names
    fitting = [other for other in registry if _fits(registry.declared(other), sample, condition)]
    if name in fitting:
        return
    if here.kinds is not None and sample.kind not in here.kinds:
        why = f"is for {' and '.join(sorted(here.kinds))} samples, and these are {sample.noun} of {sample}"
    elif lacking := sorted(here.needs - set(fields)):
        why = f"needs the condition {lacking[0]!r}, which this task does not give; a task such as inpaint does (--task)"
    else:
        untaken = next(field for field in fields if field not in here.takes)
        why = f"does not take the condition {untaken!r} that the task gives"
    choice = f"valid {registry.plural}: {', '.join(fitting)}" if fitting else f"no {registry.kind} is"
    raise UserError(f"{registry.kind} {name!r} {why}; {choice}")


def _fits(declared: Declared, sample: Sample, condition: ConditionSpec | None) -> bool:
    if declared.kinds is not None and sample.kind not in declared.kinds:
        return False
    return condition is None or declared.needs <= set(condition.names) <= declared.takes


# Context (positional) arguments each kind is built with, and what comes out:
kinds: Registry = Registry("kind of sample", "kinds of samples")  # () -> Sample
readers: Registry = Registry("reader")  # (spec, Opening) -> Dataset
generators: Registry = Registry("generator")  # (sample, condition) -> Generator
discriminators: Registry = Registry("discriminator")  # (sample, condition) -> Discriminator
losses: Registry = Registry("loss", "losses")  # () -> Loss
terms: Registry = Registry("term")  # () -> Penalty | Constraint | ViewRule | LatentUpdate
augmentations: Registry = Registry("augmentation")  # () -> Augmentation
optimizers: Registry = Registry("optimizer")  # (parameters) -> torch.optim.Optimizer
tasks: Registry = Registry("task")  # (data) -> Task
features: Registry = Registry("feature net")  # () -> FeatureNet: float samples -> (N, D)
measures: Registry = Registry(
    "group of measures", "groups of measures"
)  # (judge, extracted, fakes) -> numbers by section of the result
recipes: Registry = Registry("recipe")  # () -> Recipe

EVERY: tuple[Registry, ...] = (
    recipes, generators, discriminators, losses, terms, augmentations, optimizers, tasks, features, measures, readers,
    kinds,
)  # fmt: skip
