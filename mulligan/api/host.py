"""What happens around the loop while it runs: numbers written down, pictures drawn, the best kept."""

from __future__ import annotations

import dataclasses
import io
import time

from mulligan.api.plan import Plan, draw_grid
from mulligan.core.interrupt import Interrupts
from mulligan.core.run import RunFolder, write_json, write_whole
from mulligan.engine import checkpoint
from mulligan.engine.budget import best_of, converged
from mulligan.engine.journal import Averages, Journal, non_finite
from mulligan.engine.loop import Game, State, Stop, tensors_of
from mulligan.engine.memory import peak_memory
from mulligan.engine.turn import Report
from mulligan.use.events import TensorBoard
from mulligan.use.pictures import grid
from mulligan.use.progress import ProgressLine
from mulligan.use.report import write_report

ROWS = 400  # progress rows a run's budget is divided into
REPORT_EVERY = 60.0  # seconds between two writings of report.html while training
TRACKED = "kid"  # the metric that decides which checkpoint is best, and when to stop by convergence


class Host:
    """Sits at the table of `loop.play`: writes down, looks from time to time, keeps what is worth keeping."""

    def __init__(self, run: RunFolder, plan: Plan, game: Game, line: ProgressLine) -> None:
        self.run, self.plan, self.game, self.line = run, plan, game, line
        self.interrupts = Interrupts()
        self.journal, self.averages = Journal(run), Averages()
        self._row_every = max(1, plan.budget_images // ROWS)
        self._reported = time.monotonic()

    def begin(self, state: State, what: str, why: str) -> None:
        self.board = TensorBoard(self.run.tensorboard, purge_step=state.images)
        self._row_from(state)
        self.journal.write("event", state, {"what": what, "why": why})
        self.summarise(state, Stop("running", ""))

    def _row_from(self, state: State) -> None:
        self._next_row = (state.images // self._row_every + 1) * self._row_every
        self._last = (state.images, state.playing)

    def interrupted(self) -> bool:
        return self.interrupts.asked

    def report(self, state: State, report: Report) -> Stop | None:
        self.averages.add(report)
        if state.images < min(self._next_row, self.plan.budget_images):
            self.line.update(state.images)
            return None
        row = self.averages.take()
        images, playing = self._last
        row["images_per_second"] = (state.images - images) / max(1e-9, state.playing - playing)
        self._row_from(state)
        self.journal.write("progress", state, row)
        self.board.scalars(row, state.images)
        self.line.update(state.images, row)
        bad = non_finite(row)
        return Stop("diverged", bad) if bad else None

    def milestone(self, state: State) -> Stop | None:
        picture = grid(draw_grid(self.game, self.plan.seed))
        png = io.BytesIO()
        picture.save(png, "PNG", optimize=True)
        write_whole(self.run.sample_grid(state.images), png.getvalue())
        self.board.image("samples", picture, state.images)

        judge = self.plan.judge
        measured = judge.measure(self.game.ema.net, class_counts=self.game.class_counts)
        row = {"images": state.images, **measured}
        state.metrics.append(row)
        self.journal.write("metric", state, {**measured, "protocol": judge.protocol.as_dict()})
        self.board.scalars({f"metric/{name}": value for name, value in measured.items()}, state.images)
        self.line.metric(f"{TRACKED} {row[TRACKED]:.4f}")
        if best_of(state.metrics, TRACKED) is row:
            checkpoint.write(self.run.checkpoints, checkpoint.BEST, tensors_of(self.game), dataclasses.asdict(state))
            self.journal.write("event", state, {"what": "best", "why": f"{TRACKED} {row[TRACKED]:.4g}"})
        self.summarise(state, Stop("running", ""))
        if time.monotonic() - self._reported > REPORT_EVERY:
            write_report(self.run)
            self._reported = time.monotonic()
        why = converged(state.metrics, TRACKED) if self.plan.recipe.budget.converge else None
        return Stop("converged", why) if why else None

    def save(self, state: State) -> None:
        tensors = tensors_of(self.game)
        if not all(tensor.isfinite().all() for tensor in tensors.values()):
            self.journal.write("event", state, {"what": "not saved", "why": "weights are infinite or not a number"})
            return
        checkpoint.write_step(self.run.checkpoints, state.step, tensors, dataclasses.asdict(state))

    def end(self, state: State, stop: Stop) -> None:
        self.journal.write("event", state, {"what": "stopped", "why": stop.why})
        self.summarise(state, stop)
        self.board.close()
        write_report(self.run)

    def summarise(self, state: State, stop: Stop) -> None:
        best = best_of(state.metrics, TRACKED) or {}
        write_json(
            self.run.summary,
            {
                "status": stop.status,
                "why": stop.why,
                "images_seen": state.images,
                "budget_images": self.plan.budget_images,
                "steps": state.step,
                "seconds": round(state.seconds, 3),
                "images_per_second": round(state.images / state.playing, 3) if state.playing else None,
                "best_images": best.get("images"),
                "metrics": {name: value for name, value in best.items() if name != "images"},
                "protocol": {**self.plan.judge.protocol.as_dict(), "checkpoint": checkpoint.BEST},
                "parameters": self.plan.parameters,
                "peak_memory_bytes": peak_memory(self.plan.device),
            },
        )
