"""The observer of a run's training loop: it records numbers, draws and evaluates samples, and saves checkpoints."""

from __future__ import annotations

import dataclasses
import time
from typing import Any

from mulligan.core.interrupt import Interrupts
from mulligan.core.run import RunFolder, write_json, write_whole
from mulligan.engine import checkpoint
from mulligan.engine.budget import best_of, converged
from mulligan.engine.detectors import Detector, History, diagnose, history_of
from mulligan.engine.guard import Rewind, advice, point_to_restore
from mulligan.engine.journal import Averages, Journal, exact
from mulligan.engine.loop import Game, State, Stop, Verdict, restore, saved_state, tensors_of
from mulligan.engine.memory import peak_memory
from mulligan.engine.probes import memorised, noise_response
from mulligan.engine.turn import Report
from mulligan.kinds.pictures import png
from mulligan.report.page import write_report
from mulligan.report.progress import ProgressLine
from mulligan.report.tensorboard import TensorBoard
from mulligan.runs.plan import Plan

RESTORE_POINTS = 2  # number of saved points to rewind to
SAVE_EVERY = 30.0  # seconds between two checkpoints
ROWS = 400  # number of progress rows in the budget of a run
REPORT_EVERY = 60.0  # seconds between two updates of report.html during training


class RunObserver:
    """The `loop.Observer` of a run folder."""

    def __init__(self, run: RunFolder, plan: Plan, game: Game, state: State, line: ProgressLine) -> None:
        self.run, self.plan, self.game, self.line = run, plan, game, line
        self.interrupts = Interrupts()
        self.journal = Journal(run)
        self._row_every = max(1, plan.budget_samples // ROWS)
        self._reported = self._saved = time.monotonic()
        self.rows = list(history_of(run.rows(), plan.budget_samples).rows)
        self.noticed = {row["finding"] for row in run.rows("event") if row["what"] == "noticed"}
        self._continue(state)

    def _continue(self, state: State) -> None:
        """Start to record from this state on."""
        self.board = TensorBoard(self.run.tensorboard, purge_step=state.samples)
        self.averages = Averages(state.averages)
        self._row_from(state)
        self.line.total = self.budget(state) + state.lost

    def _row_from(self, state: State) -> None:
        self._next_row = (state.samples // self._row_every + 1) * self._row_every
        self._last = (state.samples, state.playing)

    def begin(self, state: State, what: str, why: str) -> None:
        self.journal.write("event", state, {"what": what, "why": why})
        self.summarise(state, Stop("running", ""))

    def pause(self, state: State) -> Stop | None:
        """Save a checkpoint every `SAVE_EVERY` seconds; stop at an interrupt."""
        if self.interrupts.asked:
            return Stop("interrupted", "asked to stop")
        if time.monotonic() - self._saved > SAVE_EVERY:
            self.save(state)
        return None

    def budget(self, state: State) -> int:
        return self.plan.budget(state)

    def report(self, state: State, report: Report) -> Verdict:
        self.averages.add(report)
        if state.samples < min(self._next_row, self.budget(state)):
            self.line.update(state.samples + state.lost)
            return None
        row = self.averages.take()
        samples, playing = self._last
        row["samples_per_second"] = (state.samples - samples) / max(1e-9, state.playing - playing)
        row["d_turns"] = self.game.d_turns
        self._row_from(state)
        self.rows.append(self.journal.write("progress", state, row))
        self.board.scalars(row, state.samples)
        self.line.update(state.samples + state.lost, row)
        return self.guard_verdict(state)

    def evaluate(self, state: State) -> Verdict:
        sheet = self.plan.data.sample.sheet(self.plan.fixed_samples(self.game))
        write_whole(self.run.sheet(state.samples + state.lost), png(sheet, optimize=True))
        self.board.image("samples", sheet, state.samples)

        judge, measured = self.plan.judge, self.plan.evaluated(self.game)
        probed = {"d/memory": exact(memorised(self.game)), "g/noise": exact(noise_response(self.game))}
        row = {"attempt": state.attempt, "samples": state.samples, **measured, **probed}
        state.metrics.append(row)
        self.journal.write("metric", state, {**measured, **probed, "protocol": judge.protocol.as_dict()})
        self.board.scalars({f"metric/{name}": value for name, value in measured.items()}, state.samples)
        self.line.metric(f"{judge.tracked} {row[judge.tracked]:.4f}")
        if best_of(state.metrics, judge.tracked) is row:
            self.keep_best(state, row)
        self.summarise(state, Stop("running", ""))
        if time.monotonic() - self._reported > REPORT_EVERY:
            write_report(self.run)
            self._reported = time.monotonic()
        if verdict := self.guard_verdict(state):
            return verdict
        why = converged(state.metrics, judge.tracked) if self.plan.recipe.budget.converge else None
        return Stop("converged", why) if why else None

    def keep_best(self, state: State, row: dict[str, Any]) -> None:
        """Save the best of this attempt as a point to rewind to, and as the checkpoint that samples are made with.

        The best of an earlier attempt remains the best checkpoint until it is beaten.
        """
        tracked = self.plan.judge.tracked
        beaten = state.best is None or state.best in state.metrics or row[tracked] <= state.best[tracked]
        state.best = row if beaten else state.best
        point = {key: row[key] for key in ("attempt", "samples", "coverage") if key in row}
        state.restore_points = [*state.restore_points, point][-RESTORE_POINTS:]
        tensors, saved = tensors_of(self.game), self._saved_state(state)
        checkpoint.write_restore_point(self.run.checkpoints, state.restore_points, tensors, saved)
        if beaten:
            checkpoint.write(self.run.checkpoints, checkpoint.BEST, tensors, saved)
            self.journal.write("event", state, {"what": "best", "why": f"{tracked} {row[tracked]:.4g}"})

    def guard_verdict(self, state: State) -> Verdict:
        """The guard's decision on everything that was recorded so far."""
        history = History(
            self.rows,
            state.metrics,
            self.budget(state),
            tracked=self.plan.judge.tracked,
            noun=self.plan.data.sample.noun,
        )
        found = diagnose(history)
        if not found:
            return None
        problem, why = found
        acts = self.plan.order.guard == "on" and problem.grave
        if problem.fatal and not acts:
            return Stop("diverged", f"{why}: the game has diverged; a lower learning rate may help")
        if not acts:
            if self.plan.order.guard != "off" and problem.name not in self.noticed:
                self.noticed.add(problem.name)
                self._announce(state, "noticed", f"{problem.name}: {why}", finding=problem.name)
            return None
        was_healthy = bool(state.restore_points) and state.restore_points[-1].get("coverage", 1.0) > 0.1
        again = advice(problem, why, self.plan.recipe, state.tried, was_healthy)
        return again or Stop("given up", _parting(problem, why, state))

    def rewind(self, state: State, rewind: Rewind) -> tuple[Game, State]:
        """A new game with the changes of `rewind`: from the last healthy point, or from the beginning."""
        point = None if rewind.fresh else point_to_restore(state.restore_points, state.tried[state.fresh_since :])
        back = point and checkpoint.read(self.run.checkpoints / f"{checkpoint.restore_point_name(point)}.safetensors")
        to = back.state["samples"] if back else 0
        self._announce(state, "rewound", str(rewind), to=to, **rewind._asdict())
        attempt = state.attempt + 1
        fresh = {"attempt": attempt, "tried": [*state.tried, {"samples": state.samples, "to": to, **rewind._asdict()}]}
        fresh |= {"lost": state.lost + state.samples - to, "seconds": state.seconds, "playing": state.playing}
        self.game = self.plan.new_game(State(**fresh))
        if back:
            state = dataclasses.replace(
                restore(self.game, back),
                **fresh,
                best=state.best,
                restore_points=state.restore_points[: state.restore_points.index(point) + 1],
                averages={},
            )
        else:
            state = State(**fresh, fresh_since=attempt, best=state.best)
        self.rows = []
        self.board.close()
        self._continue(state)
        self.save(state)
        return self.game, state

    def _announce(self, state: State, what: str, why: str, **more: Any) -> None:
        """Record an event, and print it at once."""
        self.journal.write("event", state, {"what": what, "why": why, **more})
        self.line.say(f"{what} after {state.samples:,} {self.plan.data.sample.noun}: {why}")

    def save(self, state: State) -> None:
        self._saved = time.monotonic()
        tensors = tensors_of(self.game)
        if not all(tensor.isfinite().all() for tensor in tensors.values()):
            self.journal.write("event", state, {"what": "not saved", "why": "weights are infinite or not a number"})
            return
        checkpoint.write_step(self.run.checkpoints, tensors, self._saved_state(state))

    def _saved_state(self, state: State) -> dict[str, Any]:
        return saved_state(self.game, state) | {"averages": self.averages.saved()}

    def end(self, state: State, stop: Stop) -> None:
        self.journal.write("event", state, {"what": "stopped", "why": stop.why})
        self.summarise(state, stop)
        self.board.close()
        write_report(self.run)

    def summarise(self, state: State, stop: Stop) -> None:
        best, seen = state.best or {}, state.samples + state.lost
        write_json(
            self.run.summary,
            {
                "status": stop.status,
                "why": stop.why,
                "samples_seen": state.samples,
                "budget_samples": self.budget(state),
                "steps": state.step,
                "rewinds": [entry["finding"] for entry in state.tried],
                "samples_lost": state.lost,
                "seconds": round(state.seconds, 3),
                "samples_per_second": round(seen / state.playing, 3) if state.playing else None,
                "best_samples": best.get("samples"),
                "metrics": {name: value for name, value in best.items() if name in self.plan.judge.names},
                "protocol": {**self.plan.judge.protocol.as_dict(), "checkpoint": checkpoint.BEST},
                "parameters": self.plan.parameters,
                "peak_memory_bytes": peak_memory(self.plan.device),
            },
        )


def _parting(problem: Detector, why: str, state: State) -> str:
    """Why the run was given up, what was tried, and what the user can do."""
    tried = ", ".join(f"{entry['remedy']} ({entry['finding']})" for entry in state.tried)
    sentences = [f"{problem.name}: {why}", f"tried without success: {tried}" if tried else "", problem.hint]
    if state.best:
        sentences.append(f"the best checkpoint, after {state.best['samples']:,} samples, is saved")
    return "; ".join(filter(None, sentences))
