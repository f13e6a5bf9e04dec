"""Output during training: the progress line, and TensorBoard's event files."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from tensorboardX.proto.event_pb2 import Event

from mulligan.kinds.pictures import grid
from mulligan.report import progress
from mulligan.report.progress import ProgressLine, clock, short
from mulligan.report.tensorboard import TensorBoard

ROW = {
    "samples_per_second": 331.4, "d/adversarial": 1.234, "g/adversarial": 0.87, "d/real": 0.84, "d/fake": -1.23,
    "d/r1": 9.0,
}  # fmt: skip


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock whose time is now[0]."""
    seconds = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: seconds[0])
    return seconds


def test_a_log_gets_a_line_at_intervals(now: list[float]) -> None:
    log = io.StringIO()
    with ProgressLine(120_000, done=20_000, stream=log) as line:
        for _ in range(25):
            now[0] += 1.0
            line.update(line.done + 400, ROW)
        line.metric("kid 0.0123")
    lines = log.getvalue().splitlines()
    assert lines == [
        "24k/120k  331/s  4:00 left  D 1.23 G 0.87  real +0.8 fake -1.2",
        "28k/120k  331/s  3:50 left  D 1.23 G 0.87  real +0.8 fake -1.2",
        "30k/120k  331/s  3:45 left  kid 0.0123  D 1.23 G 0.87  real +0.8 fake -1.2",
    ], "every 10 seconds, and the end"


def test_messages_appear_at_once_and_short_work_is_silent(now: list[float]) -> None:
    log = io.StringIO()
    with ProgressLine(0, stream=log) as line:
        now[0] += 5
        line.count(10, 1000)
        line.say("resumed [red] after 400 samples")
        line.count(1000, 1000)
    assert log.getvalue() == "resumed [red] after 400 samples\n"


def test_quiet_is_quiet(now: list[float], capfd: pytest.CaptureFixture) -> None:
    with ProgressLine(10, quiet=True) as line:
        now[0] += 60
        line.update(5, ROW)
        line.say("x")
    assert capfd.readouterr() == ("", "")


def test_unknown_numbers_are_left_out(now: list[float]) -> None:
    log = io.StringIO()
    with ProgressLine(0, stream=log) as line:
        now[0] += 11
        line.update(1234)
        now[0] += 11
        line.update(2345, {"d/real": float("nan"), "d/fake": float("inf")})
    assert log.getvalue().splitlines() == ["1,234", "2,345  real +nan fake +inf"]


class Closed(io.StringIO):
    def write(self, text: str) -> int:
        raise BrokenPipeError


def test_a_closed_stream_does_not_end_the_training(now: list[float]) -> None:
    with ProgressLine(10, stream=Closed()) as line:
        now[0] += 11
        line.update(5)
        line.say("x")


def test_an_update_is_cheap() -> None:
    line, steps = ProgressLine(10**9, stream=io.StringIO()), 20_000
    fastest = min(timed(line, steps) for _ in range(3)) / steps
    assert fastest < 20e-6, "measured 0.3 us; loose, for a busy machine"


def timed(line: ProgressLine, steps: int) -> float:
    started = time.perf_counter()
    for i in range(steps):
        line.update(i)
    return time.perf_counter() - started


@pytest.mark.parametrize("count", [(0, "0"), (9999, "9,999"), (12_345, "12.3k"), (999_600, "1M"), (4.56e9, "4.56G")])
def test_short_counts(count: tuple[int, str]) -> None:
    assert short(int(count[0])) == count[1]


@pytest.mark.parametrize("seconds", [(7.4, "0:07"), (754, "12:34"), (5025, "1:23:45"), (59.7, "1:00")])
def test_durations(seconds: tuple[float, str]) -> None:
    assert clock(seconds[0]) == seconds[1]


TERMINAL = """
import threading, time
from mulligan.report.progress import ProgressLine
row = {"samples_per_second": 331.4, "d/adversarial": 1.23, "g/adversarial": 0.87, "d/real": 0.8, "d/fake": -1.2}
with ProgressLine(120_000) as line:
    for i in range(1, 5):
        time.sleep(0.21)
        line.update(10_000 * i, row)
        if i == 2:
            line.metric("kid [bold] 0.01")
            line.say("best [bold] so far")
    assert threading.active_count() == 1, "no thread redraws the line"
"""


@pytest.mark.skipif(os.name == "nt", reason="POSIX terminals")
@pytest.mark.parametrize("width", [120, 80, 30])
def test_on_a_terminal_one_line_is_redrawn(width: int) -> None:
    sent = on_terminal(TERMINAL, width)
    assert "best [bold] so far\r\n" in sent
    screens = sent.split("\x1b[2K")
    last = screens[-2].rstrip("\r\n")
    assert "40k/120k  331/s" in last and "…" not in sent, "parts are complete or left out"
    assert ("kid [bold] 0.01" in last) == (width >= 80)
    assert ("fake -1.2" in last) == (width >= 80) and ("━" in last) == (width == 120)
    assert sent.count("\n") == 2, "the line that stays, and leaving the live line: no redraw goes down a line"
    assert sent.rstrip().endswith("\x1b[2K"), "removed at the end"
    assert "\x1b[?25h" in screens[0] and "\x1b[?25l" not in "".join(screens[1:]), "the cursor is shown again at once"


def on_terminal(program: str, width: int) -> str:
    """The output of a program to a terminal of so many columns."""
    import fcntl
    import pty
    import termios

    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
    environment = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES", "NO_COLOR")}
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdin=slave, stdout=slave, stderr=slave,
        env={**environment, "TERM": "xterm-256color", "PYTHONIOENCODING": "utf-8"},
    )  # fmt: skip
    os.close(slave)
    sent = b""
    try:
        while block := os.read(master, 65536):
            sent += block
    except OSError:  # how Linux reports that the other end is closed
        pass
    os.close(master)
    assert process.wait(timeout=20) == 0, sent.decode()
    return sent.decode()


def test_rich_and_tensorboard_are_imported_when_used() -> None:
    modules = "mulligan.report.progress, mulligan.report.tensorboard"
    program = f"import sys, {modules}; print({{'rich', 'tensorboardX'}} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", program], text=True).strip() == "set()"


def test_event_files_hold_what_was_written_and_hide_what_will_be_written_again(tmp_path: Path) -> None:
    board = TensorBoard(tmp_path, purge_step=4000)
    board.scalars({"d/real": 0.5, "d/fake": float("nan")}, 4100)
    board.image("samples", grid(torch.zeros(4, 1, 8, 8, dtype=torch.uint8)), 4200)
    board.close()
    (path,) = tmp_path.iterdir()
    events = read_events(path)
    start = next(event for event in events if event.HasField("session_log"))
    assert start.step == 4001, "TensorBoard hides start.step and later: what is at 4000 stays"
    written = {value.tag: (event.step, value) for event in events for value in event.summary.value}
    assert written.keys() == {"d/real", "samples"}
    assert written["d/real"][0] == 4100 and written["d/real"][1].simple_value == 0.5
    assert written["samples"][0] == 4200 and written["samples"][1].image.width > 16


def read_events(path: Path) -> list[Event]:
    """TFRecords: length (8), its checksum (4), the message, its checksum (4)."""
    data, events = path.read_bytes(), []
    while data:
        (length,) = struct.unpack("<Q", data[:8])
        events.append(Event.FromString(data[12 : 12 + length]))
        data = data[16 + length :]
    return events
