"""The benchmark of all recipes: its trials on points, and the page that is written from its results."""

from __future__ import annotations

import dataclasses
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import mulligan as mg

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


@pytest.fixture(scope="module")
def zoo() -> Any:
    sys.path.insert(0, str(BENCHMARKS))
    try:
        import measured  # noqa: F401  the tests below import it by name
        import zoo

        return zoo
    finally:
        sys.path.remove(str(BENCHMARKS))


def test_published_networks_have_their_published_sizes(zoo: Any) -> None:
    """To the last published digit, after the explained difference is added."""
    from zoo_sizes import DERIVED, SIZES, counted

    for name, size in SIZES.items():
        for ours, theirs, more in zip(counted(name), size.published, size.more, strict=True):
            assert bool(any(size.more)) == bool(size.why)
            if theirs:
                unit = 10.0 ** -len(theirs.partition(".")[2])
                known_to = unit if size.where == DERIVED else unit / 2
                assert (ours + more) / 1e6 == pytest.approx(float(theirs), rel=0, abs=known_to), name
    sized = {recipe.name for recipe in mg.recipes() if zoo.PUBLISHED in recipe.about}
    assert sized <= set(SIZES)


def results(**trials: dict[str, Any]) -> dict[str, Any]:
    protocol = {
        "num_fake": 77, "features": "digits", "features_stamp": "f00", "num_real": 55, "split": "heldout",
        "data_fingerprint": "0123456789abcdef",
    }  # fmt: skip
    data = {"coverage": 0.987, "recall": 0.9, "kid": 0.0001}
    of_digits = {"images": 12_345, "protocol": protocol, "data": data, "trials": trials}
    of_speed = {
        "seconds": 6.0,
        "trials": {"dcgan": {"recipe": "x", "seeds": {"0": {"images_per_second": 400.4, "load": 1.26}}}},
    }
    return {"machine": "a machine", "digits": of_digits, "speed": of_speed}


def row(coverage: float, **more: Any) -> dict[str, Any]:
    return {
        "coverage": coverage, "recall": 0.5, "kid": 0.02, "status": "finished",
        "parameters": {"generator": 1234, "discriminator": 567}, **more,
    }  # fmt: skip


def test_the_page_has_every_recipe_and_the_means_of_its_seeds(zoo: Any) -> None:
    found = results(
        dcgan={"recipe": "x", "seeds": {"0": row(0.25), "1": row(0.75)}},
        cgan={"recipe": "x", "seeds": {"0": {"refused": "no such labels"}}},
        gan={"recipe": "x", "seeds": {"0": row(0.1, status="diverged")}},
    )
    recipes = mg.recipes()
    text = zoo.page(recipes, found, Path("zoo"))
    (line,) = re.findall(r"^\| \[dcgan\].*$", text, re.MULTILINE)
    assert line == "| [dcgan](#dcgan) | 2015 | 1,234, 567 | 0.500 | 0.500 | 0.0200 | 400 |"
    assert "| [cgan](#cgan) | 2014 |  | - | - | - |  |" in text and "- `cgan`: no such labels" in text
    assert "- `gan`: ended as diverged" in text and "at a load of 1.3" in text
    assert "12,345 images seen; seeds 0, 1; 77 samples" in text and "| *training data* |  |  | 0.987 |" in text
    assert "![samples of dcgan](zoo/digits/dcgan.png)" in text and "cgan.png" not in text.replace("dcgan.png", "")
    for recipe in recipes:
        headings = re.findall(rf"^###? {re.escape(recipe.name)}$", text, re.MULTILINE)
        published = zoo.PUBLISHED in recipe.about
        assert len(headings) == (not published) and recipe.about[1:] in text
        assert not recipe.paper or published or recipe.paper in text
    assert "grid" not in text.split("\n## ")[1], "data without results are not mentioned"


def test_a_child_says_what_it_changes_below_its_parent(zoo: Any) -> None:
    text = zoo.page(mg.recipes(), {}, Path("zoo"))
    assert "Nothing was measured yet." in text
    section = text.split("\n### lsgan\n")[1].split("\n##")[0]
    assert "| `loss` | nonsaturating | least-squares" in section
    assert text.index("\n## dcgan\n") < text.index("\n### lsgan\n")


def test_the_page_of_other_benchmarks_is_what_its_script_writes(
    zoo: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import measured

    monkeypatch.setattr(measured, "PAGE", tmp_path / "measured.md")
    measured.main()
    assert (BENCHMARKS.parent / "docs" / "measured.md").read_text() == measured.PAGE.read_text()


def test_every_recipe_has_a_game_on_points(zoo: Any) -> None:
    for recipe in zoo.compared():
        game = zoo.on_points(recipe)
        assert game.generator.name == game.discriminator.name == "mlp"
        assert (game.loss, game.terms, game.optimizer) == (recipe.loss, recipe.terms, recipe.optimizer)
    assert zoo.on_points(mg.recipe("stylegan2-ada")).augment.name == "none"
    assert zoo.on_points(mg.recipe("acgan")).discriminator.options["class_by"] == "classifier"


def test_a_stamp_changes_with_what_a_run_depends_on(zoo: Any) -> None:
    recipe = mg.recipe("dcgan")
    assert zoo.stamp(recipe) == zoo.stamp(mg.recipe("dcgan")) != zoo.stamp(mg.recipe("dcgan", {"loss": "hinge"}))


@pytest.mark.parametrize("name", ["dcgan", "digits"])  # without and with a schedule
def test_results_of_earlier_versions_are_not_run_again(zoo: Any, name: str) -> None:
    assert zoo.read_json(zoo.RESULTS)["digits"]["trials"][name]["recipe"] == zoo.stamp(mg.recipe(name))


def test_a_trial_is_kept_and_not_run_again(zoo: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    where = [
        f"--{name}={tmp_path / place}"
        for name, place in (("results", "r.json"), ("page", "zoo.md"), ("pictures", "zoo"))
    ]
    monkeypatch.setitem(zoo.CONTESTS, "grid", dataclasses.replace(zoo.CONTESTS["grid"], samples=300))
    monkeypatch.setitem(zoo.CONTESTS, "speed", zoo.Timing(seconds=0.1))
    monkeypatch.setattr(zoo.torch, "set_num_threads", lambda count: None)
    monkeypatch.setattr(
        sys, "argv", ["zoo", "--on", "grid", "speed", "--only", "wgan", "acgan", "stylegan2", "--images", "64", *where]
    )
    zoo.main()
    before = zoo.read_json(tmp_path / "r.json")
    trials = {name: each["seeds"]["0"] for name, each in before["grid"]["trials"].items()}
    assert trials["wgan"]["modes"] >= 0 and not trials["wgan"]["by_class"]
    assert trials["acgan"]["by_class"] and trials["acgan"]["status"] == "finished"
    assert "styles" in trials["stylegan2"]["refused"]
    assert before["grid"]["data"]["modes"] == 25 and before["grid"]["images"] == 64
    assert before["speed"]["trials"]["wgan"]["seeds"]["0"]["images_per_second"] > 0
    text = (tmp_path / "zoo.md").read_text()
    assert "- `stylegan2`: the path-length term" in text
    plots = re.findall(r"!\[points of [\w-]+\]\(([^)]+)\)<br>`([\w-]+)`([^|]*) \|", text)
    assert plots == [
        ("zoo/grid/data.png", "data", ""),
        ("zoo/grid/acgan.png", "acgan", f" {trials['acgan']['modes']:.0f}, by class"),
        ("zoo/grid/wgan.png", "wgan", f" {trials['wgan']['modes']:.0f}"),
    ]
    for place, _, _ in plots:
        assert Image.open(tmp_path / place).size == (256, 256)
    monkeypatch.setattr(zoo.Training, "row", None)  # would fail if called
    monkeypatch.setattr(zoo.Timing, "row", None)
    zoo.main()
    assert zoo.read_json(tmp_path / "r.json") == before
    monkeypatch.setattr(sys, "argv", ["zoo", "--on", "grid", "--images", "65", *where])
    with pytest.raises(SystemExit, match=r"on grid of {.images.: 64}, not {.images.: 65}"):
        zoo.main()
