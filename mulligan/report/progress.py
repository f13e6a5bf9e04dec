"""One live line of progress on a terminal; now and then a plain line where there is none."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.live import Live
    from rich.table import Table

LIVE_EVERY, PLAIN_EVERY = 0.2, 10.0  # seconds between two looks at the line, on a terminal and in a log
BAR, LEAST_BAR, SPACE = 24, 6, "  "
NUMBERS = (  # of a progress row, most needed first
    ("D {:.2f} G {:.2f}", "d/adversarial", "g/adversarial"),
    ("real {:+.1f} fake {:+.1f}", "d/real", "d/fake"),
)


class ProgressLine:
    """Counts `done` up to `total`, images as a rule; 0: not known yet. Silent if `quiet`. Use as a context manager.

    On a terminal the line is redrawn in place and gone at the end. Anywhere else (a log, a pipe) plain lines are
    written, `PLAIN_EVERY` seconds apart, and nothing for work shorter than that. A stream that can no longer be
    written to silences the line: it never ends a training.
    """

    def __init__(self, total: int, *, done: int = 0, quiet: bool = False, stream: TextIO | None = None) -> None:
        self.total, self.done = total, done
        self.stream = stream or sys.stderr
        self.quiet = quiet or self.stream is None  # None: a program without a console
        self._on_terminal = not self.quiet and self.stream.isatty() and os.environ.get("TERM") != "dumb"
        self._every = LIVE_EVERY if self._on_terminal else PLAIN_EVERY
        self._row: Mapping[str, float] = {}
        self._metric = ""
        self._live: Live | None = None
        self._begun_at, self._started = done, time.monotonic()
        self._due = self._started + self._every
        self._shown = -1  # `done` when last shown; -1: never

    def __enter__(self) -> ProgressLine:
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()
            self._live = None
        elif not self._on_terminal and self._shown not in (-1, self.done):
            self.say(SPACE.join(self._words()))

    def update(self, images: int, row: Mapping[str, float] | None = None) -> None:
        """So many images are done; `row` holds the latest averages. Meant to be called at every step."""
        self.done = images
        if row is not None:
            self._row = row
        self._show_if_due()

    def metric(self, text: str) -> None:
        """The latest measurement, in few words."""
        self._metric = text
        self._show_if_due()

    def count(self, done: int, total: int) -> None:
        """For work whose size is found out on the way."""
        self.done, self.total = done, total
        self._show_if_due()

    def say(self, text: str) -> None:
        """A line that stays."""
        if self.quiet:
            return
        try:
            if self._live:
                self._live.console.print(text, markup=False, highlight=False, soft_wrap=True)
            else:
                print(text, file=self.stream, flush=True)
        except OSError:  # the terminal is closed, the pipe's reader gone
            self.quiet = True

    def _show_if_due(self) -> None:
        now = time.monotonic()
        if now < self._due or self.quiet:
            return
        self._due = now + self._every
        self._shown = self.done
        if not self._on_terminal:
            self.say(SPACE.join(self._words()))
            return
        try:
            if self._live is None:
                self._live = self._begin()
            self._live.update(self._line(self._live.console.width), refresh=True)
        except OSError:
            self.quiet = True

    def _begin(self) -> Live:
        from rich.console import Console
        from rich.live import Live

        # redrawn by us alone: a thread of rich's would take turns with training. What others write to the terminal
        # (a warning) goes above the line, what they write to a pipe stays there
        live = Live(
            console=Console(file=self.stream), auto_refresh=False, transient=True,
            redirect_stdout=sys.stdout.isatty(), redirect_stderr=sys.stderr.isatty(),
        )  # fmt: skip
        live.start()
        live.console.show_cursor(True)  # rich hides it, and a kill -9 would leave it so
        return live

    def _line(self, width: int) -> Table:
        """Bar and words in one line of `width` characters; the least needed words are left out if they do not fit."""
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        words = self._words()
        while len(words) > 1 and len(SPACE.join(words)) > width:
            words.pop()
        text = Text(SPACE.join(words), no_wrap=True)
        bar = min(BAR, width - len(text) - 1)
        line = Table.grid(padding=(0, 1))
        if bar < LEAST_BAR:
            line.add_row(text)
        else:
            line.add_row(ProgressBar(self.total or None, self.done, bar, complete_style="cyan"), text)
        return line

    def _words(self) -> list[str]:
        """What there is to say, most needed first."""
        now = time.monotonic()
        made, left = self.done - self._begun_at, self.total - self.done
        words = [f"{short(self.done)}/{short(self.total)}" if self.total else short(self.done)]
        if "images_per_second" in self._row:
            words.append(f"{self._row['images_per_second']:,.0f}/s")
        if made > 0 and left > 0:  # at the pace so far, pauses for measuring included
            words.append(f"{clock((now - self._started) * left / made)} left")
        if self._metric:
            words.append(self._metric)
        for form, *names in NUMBERS:
            if all(name in self._row for name in names):
                words.append(form.format(*(self._row[name] for name in names)))
        return words


def short(count: int) -> str:
    """9,999 · 12.3k · 4.56M · 7.89G: as they are read in passing."""
    if count < 10_000:
        return f"{count:,}"
    for size, letter in ((1e9, "G"), (1e6, "M")):
        if count >= 0.9995 * size:
            return f"{count / size:.3g}{letter}"
    return f"{count / 1e3:.3g}k"


def clock(seconds: float) -> str:
    """0:07 · 12:34 · 1:23:45."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"
