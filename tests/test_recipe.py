"""Recipes are plain data: JSON both ways, bound against signatures, derived by dotted path."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from mulligan.core import registry
from mulligan.core.errors import UserError
from mulligan.core.recipe import Budget, Part, Recipe, Schedule, Term, parse_setting
from mulligan.runs.parts import load_parts
from mulligan.runs.recipes import differences

load_parts()


def base() -> Recipe:
    return registry.recipes["dcgan"]().resolve()


@pytest.mark.parametrize("name", list(registry.recipes))
def test_every_recipe_survives_json(name: str) -> None:
    recipe = registry.recipes[name]().resolve()
    assert recipe.name == name
    assert Recipe.read(json.loads(json.dumps(recipe.as_json()))).as_json() == recipe.as_json()
    assert recipe.about, "a recipe says what its one idea is"


@pytest.mark.parametrize("kind", [registry.generators, registry.discriminators, registry.losses, registry.terms])
def test_every_part_has_a_docstring_and_bindable_defaults(kind: registry.Registry) -> None:
    for name in kind:
        assert kind[name].__doc__, f"{kind.kind} {name} has no docstring"
        kind.bind(name, {})


@pytest.mark.parametrize(
    ("path", "value", "complaint"),
    [
        ("generatr.width", 3, "did you mean 'generator'"),
        ("generator.widht", 3, "did you mean 'width'"),
        ("generator.width", "wide", "valid integer"),
        ("generator", "dcgam", "did you mean 'dcgan'"),
        ("terms.r11.weight", 3, "did you mean 'r1'"),
        ("terms.r1.wieght", 3, "did you mean 'weight'"),
        ("optimizer.discriminator.lrr", 3, "did you mean 'lr'"),
        ("batch", 0, "at least 1"),
        ("batch", "many", "valid integer"),
        ("batch.size", 3, "single value"),
        ("precision", "fp8", "bf16"),
        ("accumulate", 7, "multiple"),
        ("budget.minutes", -1, "positive"),
        ("optimizer.generator.lr", "cosin(1,2)", "cosine"),
    ],
)
def test_a_wrong_setting_is_refused_in_one_line(path: str, value: object, complaint: str) -> None:
    with pytest.raises(UserError) as refused:
        base().with_set({path: value})
    message = str(refused.value)
    assert complaint in message and "\n" not in message
    assert len(message) < 500


def test_settings_change_any_option() -> None:
    made = base().with_set(
        {
            "generator.width": 8,
            "optimizer.discriminator.lr": "cosine(2e-4, 5e-5)",
            "terms.r1.weight": 5,
            "terms.r1.every": 16,
            "loss": "hinge",
            "optimizer.generator": "sgd",
            "batch": "16",
        }
    )
    assert made.generator.options["width"] == 8
    assert made.optimizer.discriminator.options["lr"] == Schedule("cosine", 2e-4, 5e-5)
    assert (made.terms["r1"].weight, made.terms["r1"].every) == (5.0, 16)
    assert (made.loss.name, made.optimizer.generator.name, made.batch) == ("hinge", "sgd", 16)
    assert "r1" not in made.with_set({"terms.r1": "none"}).terms
    assert base().with_set({"terms.l1": 3}).terms["l1"].weight == 3.0


@pytest.mark.parametrize("kind", [registry.generators, registry.discriminators], ids=lambda kind: kind.kind)
def test_whole_number_options_of_networks_refuse_negative_numbers(kind: registry.Registry) -> None:
    for name in kind:
        for option, default in kind.defaults(name).items():
            if type(default) is int:
                with pytest.raises(UserError, match=f"{option}=-1 is not valid"):
                    kind.bind(name, {option: -1})


@pytest.mark.parametrize(("typed", "wanted"), [("1,2, 4", (1, 2, 4)), ("[1, 2]", (1, 2)), ("3", (3,))])
def test_several_numbers_are_typed_with_commas(typed: str, wanted: tuple[int, ...]) -> None:
    path, value = parse_setting(f"generator.dilations={typed}")
    assert base().with_set({"generator": "translator", path: value}).generator.options["dilations"] == wanted


def test_setting_a_part_keeps_the_rest_of_the_recipe() -> None:
    changed = base().with_set({"loss": "hinge"})
    assert replace(changed, loss=base().loss).as_json() == base().as_json()


def test_schedules() -> None:
    falling = Schedule("cosine", 2.0, 1.0, samples=100)
    assert [falling.at(seen, budget=7) for seen in (0, 50, 100, 1000)] == [2.0, pytest.approx(1.5), 1.0, 1.0]
    assert Schedule("linear", 0.0, 1.0).at(25, budget=100) == 0.25  # over the whole budget
    late = base().with_set({"optimizer.generator.lr": "late-linear(0.5, 0)"}).optimizer.generator.options["lr"]
    assert [late.at(seen, budget=100) for seen in (0, 50, 75, 100)] == [0.5, 0.5, 0.25, 0.0]


def test_a_schedule_is_described_as_it_is_typed() -> None:
    typed = "cosine(0.5, 0, 1e+06)"
    changed = base().with_set({"optimizer.generator.lr": typed})
    assert differences(base(), changed) == [("optimizer.generator.lr", "0.0001", typed)]


def test_lazy_terms_keep_their_strength_over_json() -> None:
    term = Term(0.5, every=8)
    assert Term.read(term.as_json()) == term
    with pytest.raises(ValueError, match="at least 1"):
        Term(1.0, every=0)


def test_parts_are_values() -> None:
    assert Part("dcgan", width=3).with_options(z=7) == Part("dcgan", width=3, z=7)
    assert Part.read({"name": "dcgan", "width": 3}) == Part("dcgan", width=3)
    with pytest.raises(ValueError, match="a part is a name"):
        Part.read(3)


@pytest.mark.parametrize("text", ["width", "=3", ""])
def test_a_setting_needs_a_path_and_a_value(text: str) -> None:
    with pytest.raises(UserError, match=r"write name=value, for example --set generator\.width=128"):
        parse_setting(text)


def test_budgets_are_positive() -> None:
    for bad in (0, -1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="positive"):
            Budget(minutes=bad)
