"""Progress: one line on a terminal that is updated in place; plain lines at intervals in a log."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.live import Live
    from rich.table import Table

LIVE_EVERY, PLAIN_EVERY = 0.2, 10.0  # seconds between two updates, on a terminal and in a log
BAR, LEAST_BAR, SPACE = 24, 6, "  "  # characters of the bar; the fewest that it is drawn with; between parts
NUMBERS = (  # of a progress row, most important first
    ("D {:.2f} G {:.2f}", "d/adversarial", "g/adversarial"),
    ("real {:+.1f} fake {:+.1f}", "d/real", "d/fake"),
)


class ProgressLine:
    """Counts `done` up to `total`, usually samples; 0: not known yet. Silent if `quiet`. Use it as a context manager.

    On a terminal the line is redrawn in place and removed at the end. Otherwise (a log, a pipe) plain lines are
    written every `PLAIN_EVERY` seconds, and none for shorter work. If the stream cannot be written any more, the line
    is silent: that never ends a training.
    """

    def __init__(self, total: int, *, done: int = 0, quiet: bool = False, stream: TextIO | None = None) -> None:
        self.total, self.done = total, done
        self.stream = stream or sys.stderr
        self.quiet = quiet or self.stream is None  # None: the program has no console
        self._on_terminal = not self.quiet and self.stream.isatty() and os.environ.get("TERM") != "dumb"
        self._every = LIVE_EVERY if self._on_terminal else PLAIN_EVERY
        self._row: Mapping[str, float] = {}
        self._metric = ""
        self._live: Live | None = None
        self._initial, self._started = done, time.monotonic()
        self._due = self._started + self._every
        self._written = -1  # `done` when last written; -1: never

    def __enter__(self) -> ProgressLine:
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()
            self._live = None
        elif not self._on_terminal and self._written not in (-1, self.done):
            self.say(SPACE.join(self._parts()))

    def update(self, samples: int, row: Mapping[str, float] | None = None) -> None:
        """So many samples are done; `row` holds the latest averages. Cheap enough to call at every step."""
        self.done = samples
        if row is not None:
            self._row = row
        self._write_if_due()

    def metric(self, text: str) -> None:
        """The latest evaluation, in a few words."""
        self._metric = text
        self._write_if_due()

    def count(self, done: int, total: int) -> None:
        """For work whose size is not known at the start."""
        self.done, self.total = done, total
        self._write_if_due()

    def say(self, text: str) -> None:
        """Print a line that stays."""
        if self.quiet:
            return
        try:
            if self._live:
                self._live.console.print(text, markup=False, highlight=False, soft_wrap=True)
            else:
                print(text, file=self.stream, flush=True)
        except OSError:  # the terminal is closed, or the reader of the pipe has ended
            self.quiet = True

    def _write_if_due(self) -> None:
        now = time.monotonic()
        if now < self._due or self.quiet:
            return
        self._due = now + self._every
        self._written = self.done
        if not self._on_terminal:
            self.say(SPACE.join(self._parts()))
            return
        try:
            if self._live is None:
                self._live = self._start()
            self._live.update(self._line(self._live.console.width), refresh=True)
        except OSError:
            self.quiet = True

    def _start(self) -> Live:
        from rich.console import Console
        from rich.live import Live

        # No refresh by a thread of rich, which would compete with training. What others write to the terminal, such as
        # a warning, appears above the line; what they write to a pipe is not touched.
        live = Live(
            console=Console(file=self.stream), auto_refresh=False, transient=True,
            redirect_stdout=sys.stdout.isatty(), redirect_stderr=sys.stderr.isatty(),
        )  # fmt: skip
        live.start()
        live.console.show_cursor(True)  # rich hides it, and it would stay hidden after kill -9
        return live

    def _line(self, width: int) -> Table:
        """Bar and text in one line of `width` characters; the least important parts are left out if they do not fit."""
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        parts = self._parts()
        while len(parts) > 1 and len(SPACE.join(parts)) > width:
            parts.pop()
        text = Text(SPACE.join(parts), no_wrap=True)
        bar = min(BAR, width - len(text) - 1)
        line = Table.grid(padding=(0, 1))
        if bar < LEAST_BAR:
            line.add_row(text)
        else:
            line.add_row(ProgressBar(self.total or None, self.done, bar, complete_style="cyan"), text)
        return line

    def _parts(self) -> list[str]:
        """The parts of the text, most important first."""
        now = time.monotonic()
        completed, left = self.done - self._initial, self.total - self.done
        parts = [f"{short(self.done)}/{short(self.total)}" if self.total else short(self.done)]
        if "samples_per_second" in self._row:
            parts.append(f"{self._row['samples_per_second']:,.0f}/s")
        if completed > 0 and left > 0:  # at the average speed so far, evaluations included
            parts.append(f"{clock((now - self._started) * left / completed)} left")
        if self._metric:
            parts.append(self._metric)
        for form, *names in NUMBERS:
            if all(name in self._row for name in names):
                parts.append(form.format(*(self._row[name] for name in names)))
        return parts


def short(count: int) -> str:
    """A count in few characters: 9,999 · 12.3k · 4.56M · 7.89G."""
    if count < 10_000:
        return f"{count:,}"
    for size, letter in ((1e9, "G"), (1e6, "M")):
        if count >= 0.9995 * size:
            return f"{count / size:.3g}{letter}"
    return f"{count / 1e3:.3g}k"


def clock(seconds: float) -> str:
    """A duration: 0:07 · 12:34 · 1:23:45."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"
