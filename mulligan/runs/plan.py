"""The plan of a run before it starts: its device, its networks, its budget, and its cost."""

from __future__ import annotations

import dataclasses
import math
import statistics
import time
from datetime import datetime, timedelta

import torch

from mulligan.core import registry
from mulligan.core.condition import NOTHING, ConditionSpec
from mulligan.core.network import Generator
from mulligan.core.recipe import Recipe
from mulligan.core.seeding import mix
from mulligan.data import Dataset
from mulligan.engine.budget import evaluation_points, samples_in
from mulligan.engine.device import DeviceSetting, device_setting
from mulligan.engine.guard import remedied
from mulligan.engine.loop import Game, State, play_step
from mulligan.engine.memory import peak_memory, refuse_too_large
from mulligan.engine.sampling import ClassConditions, draw
from mulligan.measure.judge import MOST_IN_TRAINING, Judge
from mulligan.models.decoded import Decoded
from mulligan.runs.autoencoder import Latents, in_pictures
from mulligan.runs.build import build_game, parameters_of
from mulligan.runs.order import Order
from mulligan.runs.translated import translated

CALIBRATE = 3.0  # seconds of steps timed to turn minutes into samples
ROWS = 24  # of a sheet of images made from images: condition, result and, with pairs, the real image


@dataclasses.dataclass(frozen=True)
class Plan:
    """The plan of a run before it starts. `seconds` and `samples_per_second` are None if nothing was timed."""

    order: Order
    recipe: Recipe
    data: Dataset
    judge: Judge
    setting: DeviceSetting
    budget_samples: int
    condition: ConditionSpec = NOTHING
    latents: Latents | None = None  # for a run on latents
    parameters: dict[str, int] = dataclasses.field(default_factory=dict)
    samples_per_second: float | None = None
    seconds: float | None = None
    memory: int = 0  # peak bytes so far; close to that of the run after steps and an evaluation were timed

    @property
    def device(self) -> torch.device:
        return self.setting.device

    def forecast(self) -> str:
        """The predicted time and memory, in a line; "" if nothing was timed."""
        if not self.seconds or not self.samples_per_second:
            return ""
        end = datetime.now() + timedelta(seconds=self.seconds)
        return (
            f"{self.budget_samples:,} {self.data.sample.noun} at {self.samples_per_second:,.0f} per second take "
            f"{self.seconds / 60:.1f} minutes, until {end:%H:%M}, and {self.memory / 2**20:,.0f} MB of memory"
        )

    def budget(self, state: State) -> int:
        """The number of samples that the game lasts. Lost samples took time, which reduces a budget in minutes."""
        return self.budget_samples - (state.lost if self.recipe.budget.minutes is not None else 0)

    def recipe_of(self, state: State) -> Recipe:
        """The recipe with all changes of the guard."""
        return remedied(self.recipe, state.tried)

    def new_game(self, state: State = State()) -> Game:
        """The game at the beginning of a state's attempt."""
        with in_pictures(self.latents.factor if self.latents else 1):
            return build_game(
                self.recipe_of(state),
                self.latents.data if self.latents else self.data,
                seed=self.order.seed,
                setting=self.setting,
                attempt=state.attempt,
            )

    def generator(self, game: Game) -> Generator:
        """The moving average of a game's G, which makes samples of the data's kind."""
        return Decoded(game.ema.net, self.latents.autoencoder) if self.latents else game.ema.net

    def conditions(self, seed: int) -> ClassConditions:
        """The conditions of samples that are drawn with a seed."""
        return ClassConditions(seed, self.data.class_counts if "class" in self.condition else ())

    def fixed_samples(self, game: Game) -> torch.Tensor:
        """Records from the same noise and conditions at every evaluation, for display.

        If G makes images from images: its input, its output and, with pairs, the real image.
        """
        G, seed = self.generator(game), mix("grid", self.order.seed)
        if "image" in self.condition:
            return translated(
                G,
                self.data.sample,
                game.heldout_batch,
                ROWS,
                seed=seed,
                pairs=self.condition.paired,
                device=self.device,
            )
        blocks = draw(
            G, self.data.sample, self.data.sample.on_sheet, seed=seed, conditions=self.conditions(seed),
            device=self.device,
        )  # fmt: skip
        return torch.cat([records for records, _ in blocks])

    def evaluated(self, game: Game) -> dict[str, float]:
        """The metrics of the game's samples."""
        reference = self.judge.reference(game.heldout_batch) if "image" in self.condition else None
        seed = mix("judge", self.judge.protocol.seed)
        return self.judge.measure(self.generator(game), self.conditions(seed), reference)


def prepare(
    data: Dataset,
    order: Order,
    recipe: Recipe,
    *,
    started: float,
    timed: bool,
    budget_samples: int | None = None,
    latents: Latents | None = None,
) -> Plan:
    """Choose device and precision, build the networks once, and determine the budget in samples.

    The budget is `budget_samples` if that is given, otherwise it follows from the recipe. Minutes are converted to
    samples by timing some steps and one evaluation of a game, which is then discarded. `timed`: do this for every run.
    """
    setting = device_setting(order.device, recipe.precision)
    registry.refuse(registry.tasks, recipe.task.name, data.sample)
    condition = recipe.task.build(registry.tasks, data).condition
    judge = Judge(
        data, order.features, setting.device, most=MOST_IN_TRAINING, seed=order.seed, condition=condition,
        task=recipe.task.name,
    )  # fmt: skip
    plan = Plan(order, recipe, data, judge, setting, budget_samples or 0, condition, latents)
    game = plan.new_game()
    refuse_too_large(game)
    parameters = {"generator": parameters_of(game.g.net), "discriminator": parameters_of(game.d.net)}
    plan = dataclasses.replace(plan, parameters=parameters)
    if budget_samples and not timed:
        return plan
    rate, per_evaluation, fixed = None, 0.0, 0.0
    if timed or recipe.budget.minutes is not None:
        rate = samples_per_second(game)
        begun = time.monotonic()
        plan.evaluated(game)
        plan.fixed_samples(game)
        per_evaluation = 1.2 * (time.monotonic() - begun)  # with the time to write the results
        fixed = begun - started + per_evaluation + 2.0  # time spent already, and for the report at the end
    samples = budget_samples or samples_in(recipe.budget, len(data.train), rate, fixed, per_evaluation)
    step = game.batch * game.d_turns
    samples = math.ceil(samples / step) * step
    seconds = rate and fixed + samples / rate + per_evaluation * len(evaluation_points(samples))
    return dataclasses.replace(
        plan, budget_samples=samples, samples_per_second=rate, seconds=seconds, memory=peak_memory(setting.device)
    )


def samples_per_second(game: Game, seconds: float = CALIBRATE) -> float:
    """Training speed of a game, which must be discarded afterwards. The first steps are a warm-up and do not count."""
    state, times = State(), []
    begun = time.monotonic()
    while len(times) < 8 or time.monotonic() - begun < seconds:
        start = time.monotonic()
        report = play_step(game, state, budget=1 << 40)
        report["d/adversarial"].sum().item()  # waits for the device
        times.append(time.monotonic() - start)
        state.step += 1
    return game.batch * game.d_turns / statistics.mean(times[3:])
