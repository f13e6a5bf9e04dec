"""What parts say of themselves: read from the source, printed by `mulligan parts`, written down in docs/parts.md."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from annotated_types import Ge, Le
from click.testing import CliRunner
from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt

from mulligan.cli import cli
from mulligan.core import catalogue, registry
from mulligan.core.errors import UserError
from mulligan.core.option_docs import (
    REQUIRED,
    Option,
    first_line,
    first_paragraph,
    options_with_words,
    readable_type,
    typed_value,
)
from mulligan.core.recipe import Number, Schedule
from mulligan.core.registry import EVERY, Registry
from mulligan.core.sample import Sample
from mulligan.runs.parts import load_parts

PAGE = Path(__file__).parent.parent / "docs" / "parts.md"


@pytest.fixture(scope="module", autouse=True)
def loaded() -> None:
    load_parts()


def own(parts: Registry) -> list[str]:
    return [name for name in parts if catalogue.is_ours(parts, name)]


def part(
    context: int = 0,  # no option
    *,
    width: PositiveInt = 64,  # channels of the last layer
    rate: Number = 2e-4,  # per step; as of adam  # noqa: RUF100
    # above, in two
    # lines
    above: bool = True,
    # not these, as there are some behind
    policy: tuple[str, ...] = ("color", "cutout"),  # which, in order
    long: tuple[
        int,
        int,
    ] = (
        1,
        2,
    ),  # behind the last line
    first: tuple[int, ...] = (  # behind the first line
        1,
    ),
    ä: str = "é#",  # of letters that take two bytes
    given: float,  # must be
    silent: int = 0,  # noqa: RUF100
    mute: int = 0,
) -> None:
    """One line of it.

    And another paragraph.
    """


def crowded(*, a: int = 0, b: int = 1) -> None:  # of two at once
    """Of them
    nothing is said."""


class OfClass:
    """A class."""

    def __init__(self, context: int, *, width: int = 1) -> None:  # about the line
        pass


class WithWords(OfClass):
    def __init__(
        self,
        *,
        width: int = 1,  # of it
    ) -> None:
        pass


class Inherits(WithWords):
    """Has its parent's options."""


@dataclass(frozen=True, kw_only=True)
class Fields(Sample):
    """A kind of sample."""

    rate: int = 16_000  # samples a second
    plain: str = ""


def words(thing: Any) -> dict[str, str]:
    return {option.name: option.words for option in options_with_words(thing)}


def test_words_stand_behind_an_option_or_above_it() -> None:
    assert words(part) == {
        "width": "channels of the last layer",
        "rate": "per step; as of adam",
        "above": "above, in two lines",
        "policy": "which, in order",
        "long": "behind the last line",
        "first": "behind the first line",
        "ä": "of letters that take two bytes",
        "given": "must be",
        "silent": "",
        "mute": "",
    }
    assert options_with_words(part)[0] == Option("width", "int >= 1", 64, "channels of the last layer")
    assert options_with_words(part)[7] == Option("given", "float", REQUIRED, "must be")
    assert first_line(part) == first_paragraph(part) == "One line of it."


def test_words_of_several_options_at_once_are_of_none() -> None:
    assert words(crowded) == {"a": "", "b": ""}
    assert words(OfClass) == {"width": ""}
    assert first_line(crowded) == "Of them" and first_paragraph(crowded) == "Of them nothing is said."


def test_words_of_classes_are_those_of_their_constructor_and_of_dataclasses_those_of_their_fields() -> None:
    assert words(WithWords) == words(Inherits) == {"width": "of it"}
    of_fields = words(Fields)
    assert of_fields["rate"] == "samples a second" and of_fields["plain"] == ""
    assert of_fields["shape"], "of the base"


def test_without_source_there_are_no_words() -> None:
    scope: dict[str, Any] = {}
    exec("def made(*, a: int = 1,  # words\n):\n    pass", scope)
    assert options_with_words(scope["made"]) == [Option("a", "int", 1, "")]


@pytest.mark.parametrize(
    ("hint", "readable"),
    [
        (float, "float"),
        (bool, "bool"),
        (PositiveInt, "int >= 1"),
        (NonNegativeInt, "int >= 0"),
        (PositiveFloat, "float > 0"),
        (Annotated[float, Ge(0), Le(1)], "float >= 0, <= 1"),
        (Annotated[float, Field(ge=0, lt=0.5)], "float >= 0, < 0.5"),
        (Literal["a", "b"], '"a" | "b"'),
        (Literal["a"] | Literal[2, 4], '"a" | 2 | 4'),
        (tuple[str, ...], "tuple of str"),
        (tuple[PositiveInt, ...], "tuple of int >= 1"),
        (tuple[int, int] | None, "(int, int) or null"),
        (Path | None, "path or null"),
        (Number, "number or schedule"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",  # a type is written with an address in memory
)
def test_types_are_readable(hint: Any, readable: str) -> None:
    assert readable_type(hint) == readable


@pytest.mark.parametrize(
    ("value", "typed"),
    [
        (64, "64"),
        (1e-8, "1e-8"),
        (True, "true"),
        (None, "null"),
        ("batch", "batch"),
        ("", '""'),
        ((1200, 1200), "1200,1200"),
        ((), "[]"),
        (Schedule("cosine", 2e-4, 0), "cosine(0.0002, 0)"),
        (Schedule("linear", 1, 0, 2e6), "linear(1, 0, 2e+06)"),
        (math.pi, "3.141592653589793"),
        (REQUIRED, ""),
    ],
    ids=str,
)
def test_values_are_written_as_they_are_typed(value: Any, typed: str) -> None:
    assert typed_value(value) == typed


def test_every_default_can_be_typed() -> None:
    from mulligan.core.recipe import parse_setting

    for parts in EVERY:
        for name in own(parts):
            for option in options_with_words(parts[name]):
                if option.default is not REQUIRED and parts is not registry.kinds:
                    others = {each.name: each.default for each in options_with_words(parts[name])}
                    needed = {key: None for key, value in others.items() if value is REQUIRED}
                    assert not needed, f"{parts.kind} {name} has options without a default"
                    _, value = parse_setting(f"{option.name}={typed_value(option.default)}")
                    assert parts.bind(name, {option.name: value}) == parts.bind(name, {}), (name, option)


@pytest.mark.parametrize("parts", EVERY, ids=lambda parts: parts.kind)
def test_every_part_says_what_it_is_and_every_option_what_it_does(parts: Registry) -> None:
    assert catalogue.usage_of(parts).about
    silent = [name for name in own(parts) if not catalogue.about(parts, name)]
    assert not silent, f"no docstring: {silent}"
    wordless = [
        f"{parts[name].__module__}: {name} {option.name}"
        for name in own(parts)
        for option in options_with_words(parts[name])
        if not option.words
    ]
    assert not wordless, "no words behind:\n" + "\n".join(wordless)


def test_the_page_is_what_is_generated() -> None:
    assert PAGE.read_text() == catalogue.page(), "write it anew: mulligan parts --markdown > docs/parts.md"


def test_the_page_names_every_part() -> None:
    text = PAGE.read_text()
    for parts in EVERY:
        for name in own(parts):
            assert f"`{name}`" in text, f"{parts.kind} {name}"
            for option in options_with_words(parts[name]):
                assert f"\n| `{option.name}` |" in text
    headings = [line.lstrip("# ").lower().replace(" ", "-") for line in text.splitlines() if line.startswith("##")]
    for line in text.splitlines():
        for link in line.split("](#")[1:]:
            assert link.partition(")")[0] in headings


def printed(*words: str) -> str:
    done = CliRunner().invoke(cli, ["parts", *words], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_the_command_lists_kinds_parts_and_options() -> None:
    kinds = printed()
    for parts in EVERY:
        assert catalogue.kind_name(parts) in kinds and str(len(list(parts))) in kinds
    losses = printed("losses")
    assert "hinge" in losses and "Lim, Ye 2017" in losses and "samples" not in losses.splitlines()[0]
    assert "condition" in printed("generator").splitlines()[0]
    dcgan = printed("generator", "dcgan")
    assert "--set generator=dcgan" in dcgan and "--set generator.width=64" in dcgan and "int >= 1" in dcgan
    assert "--set terms.r1.sigma=0.0" in printed("term", "r1")
    assert printed("--markdown") == catalogue.page()


def test_the_command_speaks_json() -> None:
    assert {each["kind"]: each["parts"] for each in json.loads(printed("--json"))}["loss"] == len(list(registry.losses))
    assert [each["name"] for each in json.loads(printed("loss", "--json"))] == list(registry.losses)
    width = json.loads(printed("generator", "dcgan", "--json"))["options"][0]
    assert width == {
        "name": "width", "type": "int >= 1", "default": 64, "required": False, "words": width["words"],
        "typed": "--set generator.width=64",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("loss", "loss"), ("losses", "loss"), ("Terms", "term"), ("optimizers", "optimizer"),
        ("feature-net", "feature net"), ("feature_nets", "feature net"), ("features", "feature net"),
        ("kind", "kind of sample"), ("kinds-of-sample", "kind of sample"), ("measures", "group of measures"),
    ],
)  # fmt: skip
def test_kinds_are_also_known_in_the_plural(name: str, kind: str) -> None:
    assert catalogue.registry_named(name).kind == kind


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["generatr"], "did you mean 'generator'"),
        (["loss", "hinj"], "did you mean 'hinge'"),
        (["generator", "dcgam"], "did you mean 'dcgan'"),
    ],
)
def test_unknown_names_come_with_the_nearest(words: list[str], complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        printed(*words)
