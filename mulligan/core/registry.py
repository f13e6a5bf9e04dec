"""Parts by name. A part's keyword-only arguments are its options; the signature is the schema."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Generic, TypeVar, get_origin, get_type_hints

from mulligan.core.errors import UserError, unknown

if TYPE_CHECKING:
    from pydantic import TypeAdapter

T = TypeVar("T", bound=Callable[..., Any])


class Registry(Generic[T]):
    """Names to constructors of one kind. What is not keyword-only in a constructor is context, given by the toolkit."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._parts: dict[str, T] = {}

    def register(self, name: str | None = None) -> Callable[[T], T]:
        """Decorator; the name defaults to the function's, with dashes for underscores."""

        def add(part: T) -> T:
            key = name or part.__name__.replace("_", "-")
            assert key not in self._parts, f"{self.kind} {key!r} is registered twice"
            self._parts[key] = part
            return part

        return add

    def __getitem__(self, name: str) -> T:
        try:
            return self._parts[name]
        except KeyError:
            raise unknown(self.kind, name, self._parts) from None

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._parts))

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


# Context (positional) arguments each kind is built with, and what comes out:
# (where an image is shown to them, networks are also given a `Shown`)
generators: Registry = Registry("generator")  # (shape, classes) -> nn.Module: G(z, cond) -> fake, with G.z_shape
discriminators: Registry = Registry("discriminator")  # (shape, classes) -> nn.Module: D(x, cond) -> Judgement
losses: Registry = Registry("loss")  # () -> Loss
terms: Registry = Registry("term")  # () -> Penalty | Constraint | Passage | Search
augmentations: Registry = Registry("augmentation")  # () -> Augmentation
optimizers: Registry = Registry("optimizer")  # (parameters) -> torch.optim.Optimizer
tasks: Registry = Registry("task")  # (data) -> Task
features: Registry = Registry("feature net")  # () -> callable: float images in [-1, 1] -> (N, D)
recipes: Registry = Registry("recipe")  # () -> Recipe
