"""What happens around the loop while it runs: numbers written down, pictures drawn, the best kept."""

from __future__ import annotations

import dataclasses
import time
from typing import Any

from mulligan.runs.plan import Plan
from mulligan.core.interrupt import Interrupts
from mulligan.core.run import RunFolder, write_json, write_whole
from mulligan.engine import checkpoint
from mulligan.engine.budget import best_of, converged
from mulligan.engine.detectors import Detector, History, diagnose, history_of
from mulligan.engine.guard import Rewind, advice, point
from mulligan.engine.journal import Averages, Journal, exact
from mulligan.engine.loop import Game, State, Stop, Verdict, restore, tensors_of
from mulligan.engine.memory import peak_memory
from mulligan.engine.probes import memorised, noise_heard
from mulligan.engine.turn import Report
from mulligan.report.tensorboard import TensorBoard
from mulligan.kinds.pictures import picture, png
from mulligan.report.progress import ProgressLine
from mulligan.report.page import write_report

GOODS = 2  # points to go back to that are kept
ROWS = 400  # progress rows a run's budget is divided into
REPORT_EVERY = 60.0  # seconds between two writings of report.html while training


class Host:
    """Sits at the table of `loop.play`: writes down, looks from time to time, keeps what is worth keeping."""

    def __init__(self, run: RunFolder, plan: Plan, game: Game, state: State, line: ProgressLine) -> None:
        self.run, self.plan, self.game, self.line = run, plan, game, line
        self.interrupts = Interrupts()
        self.journal = Journal(run)
        self._row_every = max(1, plan.budget_images // ROWS)
        self._reported = time.monotonic()
        self.rows = list(history_of(run.rows(), plan.budget_images).rows)
        self.noticed = {row["finding"] for row in run.rows("event") if row["what"] == "noticed"}
        self._go_on(state)

    def _go_on(self, state: State) -> None:
        """Write from here on."""
        self.board = TensorBoard(self.run.tensorboard, purge_step=state.images)
        self.averages = Averages(state.averages)
        self._row_from(state)
        self.line.total = self.budget(state) + state.lost

    def _row_from(self, state: State) -> None:
        self._next_row = (state.images // self._row_every + 1) * self._row_every
        self._last = (state.images, state.playing)

    def begin(self, state: State, what: str, why: str) -> None:
        self.journal.write("event", state, {"what": what, "why": why})
        self.summarise(state, Stop("running", ""))

    def interrupted(self) -> bool:
        return self.interrupts.asked

    def budget(self, state: State) -> int:
        return self.plan.budget(state)

    def report(self, state: State, report: Report) -> Verdict:
        self.averages.add(report)
        if state.images < min(self._next_row, self.budget(state)):
            self.line.update(state.images + state.lost)
            return None
        row = self.averages.take()
        images, playing = self._last
        row["images_per_second"] = (state.images - images) / max(1e-9, state.playing - playing)
        row["d_turns"] = self.game.d_turns
        self._row_from(state)
        self.rows.append(self.journal.write("progress", state, row))
        self.board.scalars(row, state.images)
        self.line.update(state.images + state.lost, row)
        return self.judge(state)

    def milestone(self, state: State) -> Verdict:
        look = picture(self.plan.look(self.game))
        write_whole(self.run.sample_grid(state.images + state.lost), png(look, optimize=True))
        self.board.image("samples", look, state.images)

        judge, measured = self.plan.judge, self.plan.measured(self.game)
        watched = {"d/memory": exact(memorised(self.game)), "g/noise": exact(noise_heard(self.game))}
        row = {"attempt": state.attempt, "images": state.images, **measured, **watched}
        state.metrics.append(row)
        self.journal.write("metric", state, {**measured, **watched, "protocol": judge.protocol.as_dict()})
        self.board.scalars({f"metric/{name}": value for name, value in measured.items()}, state.images)
        self.line.metric(f"{judge.tracked} {row[judge.tracked]:.4f}")
        if best_of(state.metrics, judge.tracked) is row:
            self.keep_best(state, row)
        self.summarise(state, Stop("running", ""))
        if time.monotonic() - self._reported > REPORT_EVERY:
            write_report(self.run)
            self._reported = time.monotonic()
        if verdict := self.judge(state):
            return verdict
        why = converged(state.metrics, judge.tracked) if self.plan.recipe.budget.converge else None
        return Stop("converged", why) if why else None

    def keep_best(self, state: State, row: dict[str, Any]) -> None:
        """Keep the best of this game as a point to go back to, and as what samples are made with.

        What was best in a game that was given up stays so until it is beaten.
        """
        tracked = self.plan.judge.tracked
        beaten = state.best is None or state.best in state.metrics or row[tracked] <= state.best[tracked]
        state.best = row if beaten else state.best
        state.goods = [*state.goods, {key: row[key] for key in ("attempt", "images", "coverage")}][-GOODS:]
        tensors, kept = tensors_of(self.game), self._kept(state)
        checkpoint.write_good(self.run.checkpoints, state.goods, tensors, kept)
        if beaten:
            checkpoint.write(self.run.checkpoints, checkpoint.BEST, tensors, kept)
            self.journal.write("event", state, {"what": "best", "why": f"{tracked} {row[tracked]:.4g}"})

    def judge(self, state: State) -> Verdict:
        """What the guard makes of all that was written down so far."""
        found = diagnose(History(self.rows, state.metrics, self.budget(state)))
        if not found:
            return None
        problem, why = found
        acts = self.plan.guard == "on" and problem.grave
        if problem.fatal and not acts:
            return Stop("diverged", f"{why}: the game has diverged; a lower learning rate may help")
        if not acts:
            if self.plan.guard != "off" and problem.name not in self.noticed:
                self.noticed.add(problem.name)
                self._tell(state, "noticed", f"{problem.name}: {why}", finding=problem.name)
            return None
        was_well = bool(state.goods) and state.goods[-1]["coverage"] > 0.1
        again = advice(problem, why, self.plan.recipe, state.tried, was_well)
        return again or Stop("given up", _parting(problem, why, state))

    def rewind(self, state: State, rewind: Rewind) -> tuple[Game, State]:
        """Deal the game anew, with what is to change: from where it was well, or from the beginning."""
        good = None if rewind.fresh else point(state.goods, state.tried[state.since :])
        back = good and checkpoint.read(self.run.checkpoints / f"{checkpoint.good_name(good)}.safetensors")
        to = back.state["images"] if back else 0
        self._tell(state, "rewound", str(rewind), to=to, **rewind._asdict())
        attempt = state.attempt + 1
        fresh = {"attempt": attempt, "tried": [*state.tried, {"images": state.images, "to": to, **rewind._asdict()}]}
        fresh |= {"lost": state.lost + state.images - to, "seconds": state.seconds, "playing": state.playing}
        self.game = self.plan.new_game(State(**fresh))
        if back:
            state = dataclasses.replace(
                restore(self.game, back),
                **fresh,
                best=state.best,
                goods=state.goods[: state.goods.index(good) + 1],
                averages={},
            )
        else:
            state = State(**fresh, since=attempt, best=state.best)
        self.rows = []
        self.board.close()
        self._go_on(state)
        self.save(state)
        return self.game, state

    def _tell(self, state: State, what: str, why: str, **more: Any) -> None:
        """An event that people are told of at once."""
        self.journal.write("event", state, {"what": what, "why": why, **more})
        self.line.say(f"{what} after {state.images:,} images: {why}")

    def save(self, state: State) -> None:
        tensors = tensors_of(self.game)
        if not all(tensor.isfinite().all() for tensor in tensors.values()):
            self.journal.write("event", state, {"what": "not saved", "why": "weights are infinite or not a number"})
            return
        checkpoint.write_step(self.run.checkpoints, tensors, self._kept(state))

    def _kept(self, state: State) -> dict[str, Any]:
        return dataclasses.asdict(state) | {"averages": self.averages.keep()}

    def end(self, state: State, stop: Stop) -> None:
        self.journal.write("event", state, {"what": "stopped", "why": stop.why})
        self.summarise(state, stop)
        self.board.close()
        write_report(self.run)

    def summarise(self, state: State, stop: Stop) -> None:
        best, shown = state.best or {}, state.images + state.lost
        write_json(
            self.run.summary,
            {
                "status": stop.status,
                "why": stop.why,
                "images_seen": state.images,
                "budget_images": self.budget(state),
                "steps": state.step,
                "rewinds": [entry["finding"] for entry in state.tried],
                "images_lost": state.lost,
                "seconds": round(state.seconds, 3),
                "images_per_second": round(shown / state.playing, 3) if state.playing else None,
                "best_images": best.get("images"),
                "metrics": {name: value for name, value in best.items() if name in self.plan.judge.names},
                "protocol": {**self.plan.judge.protocol.as_dict(), "checkpoint": checkpoint.BEST},
                "parameters": self.plan.parameters,
                "peak_memory_bytes": peak_memory(self.plan.device),
            },
        )


def _parting(problem: Detector, why: str, state: State) -> str:
    """Why nothing more is tried, what is left, and what people can do."""
    tried = ", ".join(f"{entry['remedy']} ({entry['finding']})" for entry in state.tried)
    said = [f"{problem.name}: {why}", f"tried in vain: {tried}" if tried else "", problem.hint]
    if state.best:
        said.append(f"the best checkpoint, after {state.best['images']:,} images, is kept")
    return "; ".join(filter(None, said))
