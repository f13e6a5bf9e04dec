"""The guard: detectors on constructed histories, remedies on every recipe, whole runs that are ruined on purpose."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import mulligan as mg
from mulligan.core import registry
from mulligan.core.run import RunFolder
from mulligan.data import open_data
from mulligan.engine import budget, checkpoint, loop
from mulligan.engine.detectors import DETECTORS, History, diagnose, history_of
from mulligan.engine.guard import MOST, Rewind, advice, point_to_restore
from mulligan.engine.remedies import REMEDIES, scaled, start_of
from mulligan.report.progress import ProgressLine
from mulligan.runs.build import recipe_named
from mulligan.runs.observer import RunObserver
from mulligan.runs.order import Order
from mulligan.runs.parts import load_parts
from mulligan.runs.plan import prepare

load_parts()
BUDGET, STEPS, ROWS, EVALUATIONS = 64_000, 1000, 400, 20
HEALTHY = {
    "d/adversarial": 1.1, "g/adversarial": 1.2, "d/real": 0.8, "d/fake": -0.7, "d/wins": 0.85, "spread/real": 0.6,
    "spread/fake": 0.55, "d/gradient": 0.4, "g/gradient": 0.3, "g/lr": 1e-3, "d/lr": 2e-3, "d_turns": 1,
}  # fmt: skip
GOOD = {"fid": 20.0, "kid_se": 0.002, "precision": 0.9, "density": 0.8, "d/memory": 0.52}


def history(
    averages: dict[str, Any] | None = None, evaluations: dict[str, Any] | None = None, *, share: float = 1.0
) -> History:
    """A run whose metric falls from 2 to 0.05, with noise; the arguments replace its numbers in the last third.

    A value may be a function of how much of that third is over.
    """
    rng = np.random.default_rng(0)

    def changed(changes: dict[str, Any], t: float) -> dict[str, float]:
        late = (t / share - 2 / 3) * 3
        return {k: v(late) if callable(v) else v for k, v in changes.items()} if late >= 0 else {}

    rows: list[dict[str, Any]] = []
    for t in np.arange(1, int(ROWS * share) + 1) / ROWS:
        numbers = {name: value * (1 + 0.1 * rng.standard_normal()) for name, value in HEALTHY.items()}
        where = {"kind": "progress", "attempt": 0, "step": int(t * STEPS), "samples": int(t * BUDGET)}
        rows.append(where | numbers | changed(averages or {}, t))
    for t in np.arange(1, int(EVALUATIONS * share) + 1) / EVALUATIONS:
        kid = 0.05 + 1.95 * math.exp(-8 * t) + 0.004 * rng.standard_normal()
        shares = {"coverage": 0.8 - 0.7 * math.exp(-4 * t), "recall": 0.7 - 0.7 * math.exp(-4 * t), "kid": kid}
        where = {"kind": "metric", "attempt": 0, "step": int(t * STEPS), "samples": int(t * BUDGET)}
        rows.append(where | GOOD | shares | changed(evaluations or {}, t))
    return history_of(sorted(rows, key=lambda row: row["samples"]), BUDGET, noun="images")


BAD = {"kid": 1.0}
RUINS = {
    "non-finite numbers": ({"g/adversarial": "nan"}, {}),
    "overflow in half precision": ({"g/skipped": 1.0, "d/skipped": 0.01}, {}),
    "broken data": ({"spread/real": 0.0}, {}),
    "mode collapse": ({"spread/fake": 0.02}, {}),
    "an overpowering discriminator": ({"d/wins": 0.999}, BAD),
    "a discriminator too weak": ({"d/wins": 0.51}, BAD),
    "a discriminator that memorises": ({}, BAD | {"d/memory": 0.95}),
    "divergence": ({"d/gradient": lambda late: 0.4 * math.exp(6 * late)}, {"kid": lambda late: 0.05 + late}),
    "mode dropping": ({}, BAD | {"recall": 0.1, "coverage": 0.3}),
    "no progress": ({}, BAD),
}


@pytest.mark.parametrize("name", RUINS)
def test_each_ruin_is_called_by_its_name(name: str) -> None:
    found = diagnose(history(*RUINS[name]))
    assert found is not None and found[0].name == name
    assert any(character.isdigit() for character in found[1]) or "nan" in found[1] or "not a number" in found[1]
    assert "\n" not in found[1] and len(found[1]) < 300


def test_every_grave_detector_has_a_ruin_here() -> None:
    assert {name for name, each in DETECTORS.items() if each.grave} == set(RUINS)


@pytest.mark.parametrize("share", [0.02, 0.1, 0.3, 0.6, 1.0])
def test_a_healthy_run_is_let_alone(share: float) -> None:
    found = diagnose(history(share=share))
    assert found is None or not found[0].grave


def test_good_samples_acquit_the_players() -> None:
    """A sure D, exploding gradients or a lucky guess are no illness while samples get better."""
    for averages in ({"d/wins": 0.9999}, {"d/wins": 0.5}, {"d/gradient": 1e4}, {"d/real": 900.0}):
        found = diagnose(history(averages))
        assert found is None or not found[0].grave


def test_a_loss_scale_that_settles_is_no_illness() -> None:
    """It is halved about twenty times at first, and once in some thousand steps later."""
    settling = history({}, share=0.3)
    rows = [row | {"d/skipped": 1.0 if row["step"] < 40 else 0.001} for row in settling.rows]
    for count in (4, 16, 20, len(rows)):
        assert diagnose(dataclasses.replace(settling, rows=rows[:count])) is None
    still = [row | {"d/skipped": 1.0} for row in settling.rows if row["step"] <= 60]
    found = diagnose(dataclasses.replace(settling, rows=still))
    assert found is not None and found[0].name == "overflow in half precision"


def test_another_metric_than_kid_may_be_tracked() -> None:
    """Of pairs, for which nobody measures coverage: what needs it is silent, the rest speaks of what is tracked."""

    def of_pairs(whole: History) -> History:
        kept = {"kind", "attempt", "step", "samples", "d/memory"}
        rows = [
            {name: value for name, value in row.items() if name in kept}
            | {"perceptual": row["kid"], "perceptual_se": row["kid_se"]}
            for row in whole.evaluations
        ]
        return dataclasses.replace(whole, evaluations=rows, tracked="perceptual", noun="clips")

    healthy = diagnose(of_pairs(history()))
    assert healthy is None or not healthy[0].grave
    for name in ("an overpowering discriminator", "a discriminator that memorises", "no progress"):
        found = diagnose(of_pairs(history(*RUINS[name])))
        assert found is not None and found[0].name == name
        assert "perceptual 1 after 64,000 clips" in found[1] and "generated clips have become worse" in found[1]
    found = diagnose(of_pairs(history(*RUINS["mode dropping"])))
    assert found is not None and found[0].name == "no progress", "recall is not known"
    flat = of_pairs(history(share=0.4))
    flat = dataclasses.replace(flat, evaluations=[row | {"perceptual": 2.0} for row in flat.evaluations])
    assert diagnose(flat) is None


def test_rows_read_from_a_file_say_nan_in_words() -> None:
    """JSON has no such numbers; every detector has to go past them, not only those that look for them."""
    whole = history({}, BAD)
    for at in (3, -1):
        rows = list(whole.evaluations)
        rows[at] = rows[at] | {"kid": "nan", "kid_se": "nan"}
        for detector in DETECTORS.values():
            detector.says(dataclasses.replace(whole, evaluations=rows))


def test_one_bad_evaluation_is_no_illness() -> None:
    one = history()
    assert diagnose(dataclasses.replace(one, evaluations=[*one.evaluations[:-1], one.evaluations[-1] | BAD])) is None


def test_a_terrible_evaluation_does_not_excuse_the_next() -> None:
    """Seen in a run of digits: KID 0.0025, then 61,679 with an error of thousands, then 107."""
    one = history()
    terrible = one.evaluations[-2] | {"kid": 6e4, "kid_se": 5e3, "coverage": 0.0}
    last = one.evaluations[-1] | {"kid": 107.0}
    found = diagnose(dataclasses.replace(one, evaluations=[*one.evaluations[:-2], terrible, last]))
    assert found is not None and found[0].grave


def test_a_mixture_is_a_collapse_when_little_is_covered() -> None:
    found = diagnose(history({}, BAD | {"coverage": 0.02, "recall": 0.0, "precision": 0.9}))
    assert found is not None and found[0].name == "mode collapse"


def test_what_never_became_better_is_found_early() -> None:
    flat = [row | {"kid": 2.0, "coverage": 0.01} for row in history(share=0.4).evaluations]
    found = diagnose(dataclasses.replace(history(share=0.4), evaluations=flat))
    assert found is not None and found[0].name == "no progress" and "nothing is being learnt" in found[1]


def test_what_is_hopeless_by_half_of_the_budget_is_found_though_it_becomes_better() -> None:
    def at(share: float) -> History:
        whole = history(share=share)
        return dataclasses.replace(
            whole,
            evaluations=[row | {"kid": 1e4 / 2**i, "coverage": 0.02} for i, row in enumerate(whole.evaluations)],
        )

    assert diagnose(at(0.4)) is None
    found = diagnose(at(0.6))
    assert found is not None and found[0].name == "no progress"


def test_a_sure_d_is_blamed_for_samples_that_are_merely_poor() -> None:
    def at(sure: float, coverage: float) -> History:
        whole = history({"d/wins": sure})
        poor = [row | {"kid": 1e4 / 2**i, "coverage": coverage} for i, row in enumerate(whole.evaluations)]
        return dataclasses.replace(whole, evaluations=poor)

    found = diagnose(at(0.999, 0.06))
    assert found is not None and found[0].name == "an overpowering discriminator"
    assert diagnose(at(0.9, 0.06)) is None and diagnose(at(0.999, 0.2)) is None


def test_an_attempt_is_given_time_to_settle() -> None:
    first = history(share=0.01)
    assert not first.settled
    assert diagnose(dataclasses.replace(first, rows=[row | {"spread/fake": 0.0} for row in first.rows])) is None


def test_a_run_is_not_ill_before_its_rates_can_have_brought_it_anywhere() -> None:
    """The zoo's recipes of 2014 to 2019, at rates of 5e-5 to 2e-4, draw nothing in their first 10,000 images."""

    def at(rate: float, turns: int = 1) -> History:
        whole = history()
        rows = [
            row | {"spread/fake": 0.01, "d/wins": 0.999, "g/lr": rate, "d/lr": rate, "d_turns": turns}
            for row in whole.rows
        ]
        poor = [row | {"kid": 400.0, "coverage": 0.0, "g/noise": 0.01} for row in whole.evaluations]
        return dataclasses.replace(whole, rows=rows, evaluations=poor)

    young = at(0.04 / STEPS)
    found = diagnose(young)
    assert found is not None and found[0].name == "a short run" and not found[0].grave
    assert "64,000 images" in found[1] and "0.0%" in found[1] and "0.04" in found[1]
    assert diagnose(dataclasses.replace(young, budget=BUDGET + 1)) is None, "only at its end"
    assert diagnose(at(0.04 / STEPS, turns=5)) == found, "a critic of Wasserstein's"
    for old in (diagnose(at(0.06 / STEPS)), diagnose(at(0.04 / STEPS, turns=8))):
        assert old is not None and old[0].name == "mode collapse"
    once = [young.evaluations[0] | {"coverage": 0.2}, *young.evaluations[1:]]
    fallen = diagnose(dataclasses.replace(young, evaluations=once))
    assert fallen is not None and fallen[0].grave, "it had been somewhere"
    before = [{key: value for key, value in row.items() if not key.endswith("/lr")} for row in young.rows]
    forgotten = diagnose(dataclasses.replace(young, rows=before))
    assert forgotten is not None and forgotten[0].grave, "runs of before rates were written down"
    ruined = diagnose(dataclasses.replace(young, rows=[*young.rows, young.rows[-1] | {"g/adversarial": "nan"}]))
    assert ruined is not None and ruined[0].fatal


def test_a_point_gone_back_to_in_vain_is_left_for_the_one_before() -> None:
    points = [{"attempt": 0, "samples": 700}, {"attempt": 0, "samples": 800}]
    assert point_to_restore(points, []) == points[1]
    assert point_to_restore(points, [{"to": 800}]) == points[0]
    assert point_to_restore(points[:1], [{"to": 800}, {"to": 700}]) == points[0]
    later = {"attempt": 2, "samples": 900}
    assert point_to_restore([points[0], later], [{"to": 800}, {"to": 700}]) == later


def test_what_was_given_up_is_forgotten() -> None:
    whole = history({"spread/fake": 0.0})
    rows = [*whole.rows, *whole.evaluations]
    rewound = {"kind": "event", "what": "rewound", "to": 32_000}
    after = history_of([*rows, rewound, whole.rows[0] | {"attempt": 1}], BUDGET)
    assert len(after.rows) == 1 and max(row["samples"] for row in after.evaluations) <= 32_000
    assert history_of([*rows, rewound | {"to": 0}], BUDGET).evaluations == []


def test_cures_exist_and_every_recipe_takes_them() -> None:
    assert {name for each in DETECTORS.values() for name in each.cures} == set(REMEDIES), "no cure without a use"
    for name, cure in itertools.product(registry.recipes, REMEDIES.values()):
        recipe = registry.recipes[name]().resolve()
        settings = cure.change(recipe)
        if settings is not None:
            assert json.loads(json.dumps(settings)) == settings
            changed = recipe.with_set(settings)
            assert changed != recipe or cure.anew or not settings


def test_remedies_do_what_they_say() -> None:
    recipe = registry.recipes["digits"]().with_set({"optimizer.discriminator.lr": "cosine(0.06, 0.01)"})
    equal = recipe.with_set(REMEDIES["equal rates"].change(recipe) or {})
    assert start_of(equal.optimizer.discriminator.options["lr"]) == pytest.approx(2e-3)
    assert REMEDIES["equal rates"].change(equal) is None
    slow = recipe.with_set(REMEDIES["slower"].change(recipe) or {})
    assert start_of(slow.optimizer.discriminator.options["lr"]) == pytest.approx(6e-3)
    assert start_of(slow.optimizer.generator.options["lr"]) == pytest.approx(2e-4)
    stronger = recipe.with_set(REMEDIES["stronger penalty"].change(recipe) or {})
    assert stronger.terms["r1"].weight == 4 * recipe.terms["r1"].weight
    without = recipe.with_set({"terms.r1": "none", "terms.r2": "none"})
    assert "r1" in without.with_set(REMEDIES["stronger penalty"].change(without) or {}).terms
    book = registry.recipes["wgan"]()
    book = book.with_set(REMEDIES["proven rules"].change(book) or {})
    assert set(book.terms) == {"r1"} and book.d_turns == 1 and book.loss.name == "nonsaturating"
    assert scaled(recipe.optimizer.discriminator.options["lr"], 0.5) == "cosine(0.03, 0.005)"


def test_advice_is_bounded_and_never_repeats_itself_beyond_its_list() -> None:
    recipe, found, tried = registry.recipes["digits"]().resolve(), DETECTORS["divergence"], []
    while one := advice(found, "evidence", recipe, tried, was_healthy=True):
        tried.append(one._asdict())
    names = [entry["remedy"] for entry in tried]
    assert names == [name for name in found.cures if name != "equal rates"] and len(names) <= MOST
    assert advice(DETECTORS["broken data"], "evidence", recipe, [], was_healthy=True) is None
    never = advice(found, "evidence", recipe, [], was_healthy=False)
    assert never and never.fresh and never.remedy != "another seed", "no restore point, and no accident"


SMALL = {"generator.width": 8, "discriminator.width": 8, "batch": 8}


def harm(monkeypatch: pytest.MonkeyPatch, when) -> None:
    """NaN in a weight of G before each step for which `when(state)`."""
    step = loop.play_step

    def harmed(game, state, budget):
        if when(state):
            next(game.g.net.parameters()).data.view(-1)[0] = math.nan
        return step(game, state, budget)

    monkeypatch.setattr(loop, "play_step", harmed)


def train(out: Path, **more: Any) -> mg.Run:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(budget, "EVALUATIONS", 3)
        return mg.train("digits", out=out, samples=640, settings=SMALL, quiet=True, **more)


def test_an_accident_is_rewound_and_played_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    harm(monkeypatch, lambda state: state.attempt == 0 and state.step == 50)
    run = train(tmp_path / "on")
    assert run.summary["status"] == "finished" and run.summary["rewinds"] == ["non-finite numbers"]
    (event,) = [row for row in run.folder.rows("event") if row["what"] == "rewound"]
    assert event["remedy"] in DETECTORS[event["finding"]].cures and event["to"] < event["samples"]
    assert run.summary["samples_lost"] == event["samples"] - event["to"]
    assert run.sample(2).shape == (2, 1, 28, 28)
    report = run.folder.report.read_text()
    assert "↺" in report and "not a number" in report
    diagnosis = mg.diagnose(run.path)
    assert (
        not any(finding["grave"] for finding in diagnosis["findings"])
        and diagnosis["rewinds"][0]["finding"] == "non-finite numbers"
    )


def test_without_the_guard_it_ends_in_ruins_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    harm(monkeypatch, lambda state: state.step == 50)
    for guard in ("off", "warn"):
        run = train(tmp_path / guard, guard=guard)
        assert run.summary["status"] == "diverged" and run.summary["rewinds"] == []
        (finding, *_) = mg.diagnose(run.path)["findings"]
        assert finding["name"] == "non-finite numbers" and finding["remedies"]


def test_what_nothing_helps_against_is_given_up_at_the_best(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    harm(monkeypatch, lambda state: state.step >= 50)
    run = train(tmp_path / "run")
    assert run.summary["status"] == "given up" and "tried without success" in run.summary["why"]
    assert 1 < len(run.summary["rewinds"]) <= MOST
    assert torch.isfinite(run.sample(2).float()).all(), "the best checkpoint is whole"


def test_rewinds_go_to_the_best_then_to_the_best_before_and_keep_the_best_for_samples(tmp_path: Path) -> None:
    order = Order(data="digits", device="cpu", features="digits")
    recipe = recipe_named("digits", SMALL)
    plan = prepare(open_data("digits"), order, recipe, started=0.0, timed=False, budget_samples=640)
    run, state = RunFolder(tmp_path), loop.State()
    rewind = Rewind("divergence", "its evidence", "another seed", {}, False)
    with ProgressLine(640, quiet=True) as line:
        observer = RunObserver(run, plan, plan.new_game(state), state, line)
        for samples in (100, 200, 300):
            state.samples = samples
            row = GOOD | {"attempt": 0, "samples": samples, "kid": 10 / samples, "coverage": 0.5}
            state.metrics.append(row)
            observer.keep_best(state, row)
        went = []
        for _ in range(3):
            state.samples = 400
            _, state = observer.rewind(state, rewind)
            went.append(state.samples)
        assert went == [300, 200, 200] and state.attempt == 3 and state.best is not None
        assert state.best["samples"] == checkpoint.read(run.checkpoints / "best.safetensors").state["samples"] == 300
        worse = GOOD | {"attempt": 3, "samples": 250, "kid": 0.04, "coverage": 0.5}
        state.metrics.append(worse)
        observer.keep_best(state, worse)
        assert state.best["samples"] == 300 and state.restore_points[-1]["samples"] == 250
        _, state = observer.rewind(state, rewind._replace(fresh=True))
    assert state.samples == 0 and state.restore_points == [] and state.best["samples"] == 300


def accident(state: loop.State) -> bool:
    return state.attempt == 0 and state.step == 57


@pytest.fixture(scope="module")
def recovered(tmp_path_factory: pytest.TempPathFactory) -> mg.Run:
    """In one go."""
    with pytest.MonkeyPatch.context() as patch:
        harm(patch, accident)
        return train(tmp_path_factory.mktemp("recovered") / "whole")


@pytest.mark.parametrize("broken_at", [(0, 55), (1, 45), (1, 52)])
def test_a_recovery_resumes_bit_for_bit(broken_at: tuple[int, int], recovered: mg.Run, tmp_path: Path) -> None:
    """Left before the accident, between the rewind and where it happened, and after it."""

    def weights(run: mg.Run) -> bytes:
        return checkpoint.step_files(run.folder.checkpoints)[-1].read_bytes()

    with pytest.MonkeyPatch.context() as patch:
        harm(patch, accident)
        seen: list[tuple[int, int]] = []
        report = RunObserver.report

        def reported(self, state, numbers):
            seen.append((state.attempt, state.step))
            self.interrupts.asked = seen[-1] == broken_at
            return report(self, state, numbers)

        patch.setattr(RunObserver, "report", reported)
        assert train(tmp_path / "broken").summary["status"] == "interrupted"
    with pytest.MonkeyPatch.context() as patch:
        harm(patch, accident)
        broken = train(tmp_path / "broken")
    assert recovered.summary["rewinds"] == broken.summary["rewinds"] == ["non-finite numbers"]
    assert weights(recovered) == weights(broken)
    ignored = {"seconds", "samples_per_second"}
    for kind in ("progress", "metric"):
        mine, theirs = (
            [{k: v for k, v in row.items() if k not in ignored} for row in run.folder.rows(kind)]
            for run in (recovered, broken)
        )
        assert mine == theirs
