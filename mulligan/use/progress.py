"""One live line of progress on a terminal; now and then a plain line where there is none."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import Any, TextIO

PLAIN_EVERY = 10.0  # seconds between two plain lines


class ProgressLine:
    """Counts images (or files, see `count`) towards `total`. Silent if `quiet`. Use as a context manager."""

    def __init__(self, total: int, *, done: int = 0, quiet: bool = False, stream: TextIO | None = None) -> None:
        self.total, self.done, self.quiet = total, done, quiet
        self.stream = stream or sys.stderr
        self._live: Any = None
        self._task: Any = None
        self._numbers, self._metric = "", ""
        self._started = self._printed = time.monotonic()
        self._begun_at = done

    def __enter__(self) -> ProgressLine:
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()

    def update(self, images: int, row: Mapping[str, float] | None = None) -> None:
        """So many images are done; `row` holds the latest averages."""
        self.done = images
        if row:
            self._numbers = _numbers(row)
        self._show()

    def metric(self, text: str) -> None:
        self._metric = text
        self._show()

    def count(self, done: int, total: int) -> None:
        """For work counted in files."""
        self.done, self.total = done, total
        self._show()

    def say(self, text: str) -> None:
        """A line that stays."""
        if self.quiet:
            return
        if self._live:
            self._live.console.print(text, highlight=False, markup=False)
        else:
            print(text, file=self.stream, flush=True)

    def _show(self) -> None:
        now = time.monotonic()
        if self.quiet or now - self._printed < (0.2 if self.stream.isatty() else PLAIN_EVERY):
            return
        self._printed = now
        if not self.stream.isatty():
            self.say(f"{self.done:,}/{self.total:,}  {self._numbers}  {self._metric}  {self._left(now)}".rstrip())
            return
        if not self._live:
            self._start()
        self._live.update(
            self._task, completed=self.done, total=self.total,
            numbers=f"{self._numbers}  {self._metric}", left=self._left(now),
        )  # fmt: skip

    def _left(self, now: float) -> str:
        made = self.done - self._begun_at
        if not made:
            return ""
        seconds = int((self.total - self.done) * (now - self._started) / made)
        return f"{seconds // 60}:{seconds % 60:02d} left"

    def _start(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        self._live = Progress(
            BarColumn(20), TextColumn("{task.completed:,}/{task.total:,}"), TextColumn("{task.fields[numbers]}"),
            TextColumn("{task.fields[left]}", style="dim"),
            console=Console(file=self.stream), transient=True,
        )  # fmt: skip
        self._live.start()
        self._task = self._live.add_task("", total=self.total, numbers="", left="")


def _numbers(row: Mapping[str, float]) -> str:
    words = {"images_per_second": "{:.0f} img/s", "d/adversarial": "D {:.2f}", "g/adversarial": "G {:.2f}",
             "d/real": "real {:+.1f}", "d/fake": "fake {:+.1f}"}  # fmt: skip
    return "  ".join(form.format(row[name]) for name, form in words.items() if name in row)
