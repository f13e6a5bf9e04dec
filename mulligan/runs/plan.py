"""A run thought through before it starts: its device, its networks, its budget, and what it will cost."""

from __future__ import annotations

import dataclasses
import math
import statistics
import time
from datetime import datetime, timedelta

import torch
from torch import nn

from mulligan.runs.autoencoder import Coded, in_pictures
from mulligan.runs.build import build_game, parameters_of, pick_device, pick_precision
from mulligan.measure.judge import MOST_AT_A_LOOK, Judge
from mulligan.core import registry
from mulligan.core.batch import Shown
from mulligan.core.recipe import Recipe
from mulligan.core.seeding import mix
from mulligan.data import Data
from mulligan.engine.budget import images_in, milestones
from mulligan.engine.guard import remedied
from mulligan.engine.loop import Game, State, play_step
from mulligan.engine.memory import peak_memory, refuse_too_large
from mulligan.models.decoded import Decoded
from mulligan.engine.sampling import draw
from mulligan.runs.translated import translated

CALIBRATE = 3.0  # seconds of steps timed to turn minutes into images
GRID, CLOUD = 64, 2_048  # samples of fixed noise in a grid of pictures, in a plot of points
ROWS = 24  # pictures made from others in a grid, each between what was shown and what was wanted


@dataclasses.dataclass(frozen=True)
class Plan:
    """A run thought through before it starts. `seconds` and `images_per_second` are None where nothing was timed."""

    recipe: Recipe
    data: Data
    judge: Judge
    device: torch.device
    precision: str
    seed: int
    budget_images: int
    guard: str = "on"
    by_class: bool = False
    shown: Shown | None = None  # the image that G is shown, where it is
    coded: Coded | None = None  # the autoencoder that it is played behind, if it is
    parameters: dict[str, int] = dataclasses.field(default_factory=dict)
    images_per_second: float | None = None
    seconds: float | None = None
    memory: int = 0  # bytes, at the peak so far, which is about that of the run once steps and a look were timed

    def foreseen(self) -> str:
        """What is to come, in a line; "" where nothing was timed."""
        if not self.seconds or not self.images_per_second:
            return ""
        end = datetime.now() + timedelta(seconds=self.seconds)
        return (
            f"{self.budget_images:,} images at {self.images_per_second:,.0f} a second take {self.seconds / 60:.1f} "
            f"minutes, until {end:%H:%M}, and {self.memory / 2**20:,.0f} MB of memory"
        )

    def budget(self, state: State) -> int:
        """Images that the game is to last. What was lost took time, which a run that was given minutes has less of."""
        return self.budget_images - (state.lost if self.recipe.budget.minutes is not None else 0)

    def recipe_of(self, state: State) -> Recipe:
        """The recipe with all that the guard has changed in it."""
        return remedied(self.recipe, state.tried)

    def new_game(self, state: State = State()) -> Game:
        """The game at the beginning of a state's attempt."""
        with in_pictures(self.coded.factor if self.coded else 1):
            return build_game(
                self.recipe_of(state),
                self.coded.data if self.coded else self.data,
                seed=self.seed,
                device=self.device,
                precision=self.precision,
                attempt=state.attempt,
            )

    def drawing(self, game: Game) -> nn.Module:
        """The moving average of a game's G, as it makes pictures."""
        return Decoded(game.ema.net, self.coded.autoencoder) if self.coded else game.ema.net

    def look(self, game: Game) -> torch.Tensor:
        """The same noise and classes at every look: uint8 (GRID, C, H, W), or points (CLOUD, 2).

        Where G makes pictures from others: what it was shown, what it made and, of pairs, what was wanted.
        """
        G, seed = self.drawing(game), mix("grid", self.seed)
        if self.shown:
            return translated(G, game.unseen, ROWS, seed=seed, pairs=not self.shown.unpaired, device=game.device)
        count = GRID if len(self.data.shape) == 3 else CLOUD
        blocks = draw(G, count, seed=seed, class_counts=game.class_counts, device=game.device)
        return torch.cat([images for images, _ in blocks])

    def measured(self, game: Game) -> dict[str, float]:
        """What the judge makes of the game's samples."""
        return self.judge.measure(self.drawing(game), class_counts=game.class_counts, unseen=game.unseen)


def prepare(
    data: Data,
    recipe: Recipe,
    *,
    seed: int,
    device: str,
    features: str,
    guard: str,
    started: float,
    timed: bool,
    budget_images: int | None = None,
    coded: Coded | None = None,
) -> Plan:
    """Choose device and precision, build the networks once, and fix the budget in images.

    The budget is `budget_images` where it was fixed before; else it follows from the recipe's. Minutes are turned
    into images by timing some steps and one look at the samples of a game that is then thrown away; so is any run
    if `timed`.
    """
    on = pick_device(device)
    precision = pick_precision(recipe.precision, on)
    shown = recipe.task.build(registry.tasks, data).shown
    plan = Plan(
        recipe,
        data,
        Judge(data, features, on, most=MOST_AT_A_LOOK, seed=seed, shown=shown, task=recipe.task.name),
        on,
        precision,
        seed,
        budget_images or 0,
        guard,
        coded=coded,
    )
    game = plan.new_game()
    refuse_too_large(game)
    plan = dataclasses.replace(
        plan,
        by_class=bool(game.class_counts),
        shown=shown,
        parameters={"generator": parameters_of(game.g.net), "discriminator": parameters_of(game.d.net)},
    )
    if budget_images and not timed:
        return plan
    rate, per_look, fixed = None, 0.0, 0.0
    if timed or recipe.budget.minutes is not None:
        rate = images_per_second(game)
        begun = time.monotonic()
        plan.measured(game)
        plan.look(game)
        per_look = 1.2 * (time.monotonic() - begun)  # and what it takes to write it all down
        fixed = begun - started + per_look + 2.0  # spent already, and the report at the end
    images = budget_images or images_in(recipe.budget, len(data.train), rate, fixed, per_look)
    step = game.batch * game.d_turns
    images = math.ceil(images / step) * step
    seconds = rate and fixed + images / rate + per_look * len(milestones(images))
    return dataclasses.replace(
        plan, budget_images=images, images_per_second=rate, seconds=seconds, memory=peak_memory(on)
    )


def images_per_second(game: Game, seconds: float = CALIBRATE) -> float:
    """Speed of a game that is thrown away: the mean of its steps but the first few, which warm up."""
    state, times = State(), []
    begun = time.monotonic()
    while len(times) < 8 or time.monotonic() - begun < seconds:
        start = time.monotonic()
        report = play_step(game, state, budget=1 << 40)
        report["d/adversarial"].sum().item()  # waits for the device
        times.append(time.monotonic() - start)
        state.step += 1
    return game.batch * game.d_turns / statistics.mean(times[3:])
