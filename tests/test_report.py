"""The report of a run, from artificial run folders: nothing here trains."""

from __future__ import annotations

import base64
import io
import json
import math
import os
import re
import shutil
import time
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from mulligan.core.formats import FORMAT
from mulligan.core.run import RunFolder, write_json
from mulligan.kinds.pictures import grid
from mulligan.report.page import Axis, number, points, round_steps, short, write_report

PROTOCOL = {
    "features": "digits", "features_stamp": "e7431e94e4d6", "resize": "grey, 28x28 antialias", "num_real": 500,
    "num_fake": 500, "split": "heldout", "data": "digits", "data_fingerprint": "5ef71a5c", "seed": 0,
    "checkpoint": "", "noun": "images", "records": "uint8", "k": 5,
}  # fmt: skip
RECIPE = {
    "name": "digits", "about": "small pixel-shuffle networks and a lazy R1: quality per minute of a CPU",
    "paper": "parts from arXiv 1609.05158, 1801.04406",
    "generator": {"name": "shuffle", "width": 32, "blocks": 2, "z": 64},
    "discriminator": {"name": "shuffle", "width": 16, "blocks": 2, "features": 128},
    "loss": {"name": "nonsaturating"},
    "optimizer": {
        "generator": {"name": "adam", "lr": {"shape": "cosine", "start": 2e-3, "end": 0.0, "samples": None}},
        "discriminator": {"name": "adam", "lr": 2e-3, "beta1": 0.0},
    },
    "terms": {"r1": {"weight": 0.1, "every": 8}}, "task": {"name": "by-class-if-labelled"}, "ema": 20000.0,
    "batch": 64, "accumulate": 1, "d_turns": 1, "share_fakes": True, "precision": "auto",
    "budget": {"epochs": None, "samples": None, "minutes": 5.0, "converge": False},
}  # fmt: skip
RUN = {
    "format": FORMAT, "mulligan": "0.1.0", "command": "mulligan train digits --minutes 5", "seed": 0, "device": "cpu",
    "budget_samples": 120_000, "precision": "fp32", "tracked": "kid", "parts": [],
    "asked": {"data": {"spec": "digits", "reader": "digits", "options": {}}},
    "condition": {"fields": [{"name": "class", "shape": [], "classes": 10, "along": ""}], "paired": True},
    "data": {
        "spec": "digits", "name": "digits", "noun": "images",
        "sample": {"name": "image", "shape": [1, 28, 28]}, "classes": [str(i) for i in range(10)],
        "class_counts": [500] * 10, "fingerprint": "5ef71a5c13427657ec5144ed01de6e29", "train": 4500, "heldout": 500,
        "plan": ["use 4,500 images, grey, 28 x 28", "hold 500 others out for evaluation"],
    },
    "environment": {
        "python": "3.11.7", "torch": "2.13.0+cpu", "platform": "Linux-6.1-x86_64", "threads": 2, "device": "",
        "started": "2026-11-23T11:58:20+00:00",
    },
}  # fmt: skip


def strokes(t: float, shape: tuple[int, int, int] = (1, 28, 28), count: int = 64) -> torch.Tensor:
    """Artificial samples, uint8 (count, C, H, W): arcs that emerge from noise as `t` goes from 0 to 1."""
    rng = np.random.default_rng(0)
    channels, height, width = shape
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    images = []
    for _ in range(count):
        cy, cx, r, start = *rng.uniform(-0.25, 0.25, 2), rng.uniform(0.3, 0.6), rng.uniform(-3, 3)
        ring = np.exp(-(((np.hypot(y - cy, x - cx) - r) / 0.13) ** 2))
        arc = ring * (np.cos(np.arctan2(y - cy, x - cx) - start) > -0.6)
        tint = rng.uniform(0.4, 1.0, (channels, 1, 1)) if channels > 1 else 1.0
        images.append((t * arc + (1 - t) * rng.uniform(0, 1, (height, width))) * tint * np.ones(shape))
    return torch.from_numpy((np.stack(images) * 255).clip(0, 255).astype(np.uint8))


def fake_run(
    folder: Path,
    *,
    rows: int = 400,
    budget: int = 120_000,
    share: float = 1.0,
    shape: tuple[int, int, int] = (1, 28, 28),
) -> RunFolder:
    """A run with `rows` progress rows and an evaluation every 16th of its budget, up to `share` of it."""
    run, rng = RunFolder(folder), np.random.default_rng(1)
    write_json(run.recipe, RECIPE)
    write_json(run.run, {**RUN, "budget_samples": budget})
    lines: list[dict[str, Any]] = [{"kind": "event", "what": "started", "why": "", **at(0)}]
    due = sorted({budget // 2**k for k in range(5, 10)} | {budget * k // 16 for k in range(1, 17)})
    best: dict[str, Any] = {}
    for i in range(1, int(rows * share) + 1):
        t, samples = i / rows, budget * i // rows
        logit = 1.5 * t + 0.5 * rng.normal() * (1 - t)
        row = {
            "samples_per_second": 380 + 25 * rng.normal(), "d/adversarial": 1.38 - 0.5 * t + 0.08 * rng.normal(),
            "g/adversarial": 0.7 + t + 0.15 * rng.normal(), "d/real": logit + 0.2, "d/fake": -logit,
        }  # fmt: skip
        if i % 8 == 0:
            row["d/r1"] = 0.05 + 0.04 * abs(rng.normal())
        lines.append({"kind": "progress", **at(samples), **row})
        while due and due[0] <= samples:
            now = due.pop(0)
            t = now / budget
            kid = 400 * math.exp(-6 * t) + 6 + 2 * rng.normal() * t
            metrics = {
                "fid": 2 * kid + 3, "kid": kid, "kid_se": 0.3 + kid / 40, "precision": 0.85 * t**0.3,
                "recall": 0.8 * t**0.5, "density": 0.9 * t**0.4, "coverage": 0.78 * t**0.6,
            }  # fmt: skip
            run.samples.mkdir(exist_ok=True)
            grid(strokes(t**0.25, shape)).save(run.sheet(now))
            lines.append({"kind": "metric", **at(now), **metrics, "protocol": PROTOCOL})
            if kid < best.get("kid", math.inf):
                best = {**metrics, "samples": now}
                lines.append({"kind": "event", "what": "best", "why": f"kid {kid:.4g}, the lowest so far", **at(now)})
    run.stats.write_text("".join(json.dumps(line) + "\n" for line in lines))
    write_json(
        run.summary,
        {
            "status": "finished" if share == 1 else "running", "why": "the budget is spent" if share == 1 else "",
            "samples_seen": samples, "budget_samples": budget, "steps": samples // 64, "seconds": samples / 370,
            "samples_per_second": 371.4, "best_samples": best.pop("samples"), "metrics": best,
            "protocol": {**PROTOCOL, "checkpoint": "best"}, "peak_memory_bytes": 517345280,
            "parameters": {"generator": 251876, "discriminator": 251185},
        },
    )  # fmt: skip
    return run


def at(samples: int) -> dict[str, Any]:
    return {"step": samples // 64, "samples": samples, "seconds": samples / 370}


def add(run: RunFolder, **row: Any) -> None:
    run.append({"kind": "event", **at(row.get("samples", 0)), **row})


def page_of(run: RunFolder) -> str:
    return write_report(run).read_text()


class Strict(HTMLParser):
    """Parses a page, in which all tags have to be closed. Collects tags with their attributes, and the visible text."""

    VOID = ("meta", "img", "input", "br", "path", "rect")

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self.feed(page)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("script", "style"):
            self.words += data

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def text_of(page: Strict) -> str:
    return re.sub(r"\s+", " ", page.words)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return fake_run(tmp_path_factory.mktemp("runs") / "whole")


def test_a_finished_run_on_one_page(whole: RunFolder) -> None:
    page = Strict(page_of(whole))
    words = text_of(page)
    assert "Finished, the budget is spent: trained on 120,000 images in 5.4 minutes; best after" in words
    for text in ("Kernel distance", "Losses", "Discriminator logits", "Terms", "Speed", "cosine 0.002 to 0", "batch 64",
                 "share_fakes True", "ema 20,000", "minutes 5", "use 4,500 images", "kind image", "shape 1, 28, 28",
                 "condition class", "images per second", "kernel distance to real images", "2.13.0+cpu",
                 "mulligan train digits --minutes 5", "generator 251,876"):  # fmt: skip
        assert text in words, text
    protocol = (
        "500 generated, 500 real images (heldout) of digits, features digits e7431e94e4d6, resize grey, 28x28 antialias"
    )
    assert words.count(protocol) == 6, "each of the six metrics has it"
    assert len(page.of("img")) == 1 + len(list(whole.samples.iterdir()))


def test_a_page_loads_nothing(whole: RunFolder) -> None:
    text = page_of(whole)
    page = Strict(text)
    for _, attributes in page.tags:
        for name in ("src", "href", "action", "data", "poster", "srcset"):
            assert (attributes.get(name) or "data:").startswith("data:"), attributes
    assert not page.of("link") and "@import" not in text and not re.search(r"url\((?!#)", text)
    assert "default-src 'none'" in text


def test_a_page_uses_the_noun_of_its_data(tmp_path: Path) -> None:
    run = fake_run(tmp_path / "table", rows=40)
    described = json.loads(run.run.read_text())
    described["data"] |= {"noun": "rows", "sample": {"name": "table", "shape": [7]}, "plan": ["use 4,500 rows"]}
    described["condition"]["fields"] = []
    write_json(run.run, described)
    run.stats.write_text(run.stats.read_text().replace('"noun": "images"', '"noun": "rows"'))
    summary = json.loads(run.summary.read_text())
    write_json(run.summary, {**summary, "protocol": {**PROTOCOL, "noun": "rows", "resize": "none"}})
    page = page_of(run)
    words = text_of(Strict(page))
    for text in ("trained on 120,000 rows", "rows per second", "500 real rows", "kind table", "over rows of training"):
        assert text in words, text
    assert "condition" not in words and "images" not in page


def test_a_folder_of_format_1_is_read(whole: RunFolder, tmp_path: Path) -> None:
    """As version 0.1 wrote it: counts of images, and the shape without its kind."""
    old = RunFolder(tmp_path / "whole")
    shutil.copytree(whole.path, old.path)
    described = json.loads(old.run.read_text()) | {"format": 1, "by_class": True, "shown": None}
    described |= {"asked": {"data": {"spec": "digits"}}}
    del described["condition"], described["data"]["noun"], described["data"]["sample"]
    described["data"]["shape"] = [1, 28, 28]
    write_json(old.run, described)
    for path in (old.run, old.summary, old.stats, old.recipe):
        text = re.sub(r'"samples(_seen|_per_second)?":', r'"images\1":', path.read_text())
        path.write_text(re.sub(r'"(best|budget)_samples":', r'"\1_images":', text))
    assert '"images_per_second"' in old.stats.read_text() and "samples_" not in old.summary.read_text()
    assert page_of(old) == page_of(whole)


def test_every_coordinate_is_a_number(whole: RunFolder) -> None:
    for path in Strict(page_of(whole)).of("path"):
        assert re.fullmatch(r"(M[-\d.]+ [-\d.]+|L[-\d.]+ [-\d.]+|h0|Z|[HV][-\d.]+)*", path["d"] or ""), path


def test_a_page_of_an_incomplete_run(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "new")
    assert "Not started" in text_of(Strict(page_of(run)))
    write_json(run.recipe, RECIPE)
    write_json(run.run, RUN)
    add(run, what="started", why="")
    assert "Running: trained on 0 images in" in text_of(Strict(page_of(run)))
    run.append({"kind": "progress", **at(640), "d/real": 0.25})
    run.append({"kind": "metric", **at(640), "kid": 3.5})
    words = text_of(Strict(page_of(run)))
    assert "Running: trained on 640 images" in words and "3.500" in words and "Fréchet" not in words
    with run.stats.open("a") as file:
        file.write('{"kind": "progr')  # cut off by a kill
    assert text_of(Strict(page_of(run))) == words


def test_numbers_that_are_not_finite_are_shown_and_reported(whole: RunFolder, tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "diverged")
    shutil.copytree(whole.path, run.path)
    write_json(run.summary, {"status": "diverged", "why": "D is not finite", "samples_seen": 120_128, "seconds": 330})
    run.append(
        {"kind": "progress", **at(120_064), "d/adversarial": "nan", "d/real": "inf", "samples_per_second": 370.0}
    )
    run.append({"kind": "metric", **at(120_128), "kid": "nan", "kid_se": "nan", "fid": 14.0})
    page = Strict(page_of(run))
    words = text_of(page)
    assert "Diverged, D is not finite" in words and "not a number" in words
    assert words.count("Not finite at 1 point, first after 120,064 images") == 2
    assert words.count("Not finite at 1 point, first after 120,128 images") == 1
    assert [path.get("class") for path in page.of("path")].count("bad") == 3


def test_text_of_users_stays_text(whole: RunFolder, tmp_path: Path) -> None:
    evil = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>{{ 7 * 7 }}"
    run = RunFolder(tmp_path / "a&b")
    shutil.copytree(whole.path, run.path)
    described = json.loads(run.run.read_text())
    described["data"] |= {"spec": evil, "name": evil, "classes": [evil], "class_counts": [3], "plan": [evil]}
    described["data"] |= {"noun": evil, "sample": {"name": evil, "shape": [2], evil: evil}}
    described["condition"]["fields"][0]["name"] = evil
    described |= {"command": evil}
    write_json(run.run, described)
    write_json(run.recipe, {**RECIPE, "about": evil, "terms": {evil: {"weight": evil}}})
    add(run, what="rewound", why=evil, samples=60_000)
    run.append({"kind": "progress", **at(60_032), f"d/{evil}": 1.0})
    page = Strict(page_of(run))
    assert len(page.of("script")) == 1 and all(img["src"].startswith("data:image/") for img in page.of("img"))
    assert text_of(page).count("<script>alert(1)</script>\"'><img src=x onerror=alert(2)>{{ 7 * 7 }}") >= 8


def test_events_are_marked_at_their_positions(whole: RunFolder, tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "eventful")
    shutil.copytree(whole.path, run.path)
    add(run, what="rewound", why="D won", samples=60_000)
    add(run, what="resumed", why="", samples=60_100)
    add(run, what="stopped", why="the budget is spent", samples=120_000)
    page = Strict(page_of(run))
    signs = [(span["style"], span["title"]) for span in page.of("span") if span.get("class") == "sign"]
    charts = len(page.of("svg"))
    assert (
        sum(title == "rewound after 60,000 images: D won\nresumed after 60,100 images: " for _, title in signs)
        == charts
    )
    assert signs.count(("left:50.0%", signs[1][1])) == charts
    assert sum("stopped after 120,000" in title for _, title in signs) == charts
    assert sum("best after" in title for _, title in signs) == charts, "only the last best one is marked"


def test_sheets_are_thinned_and_reduced(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "large")
    noise = np.random.default_rng(0).integers(0, 256, (1600, 1600, 3), dtype=np.uint8)
    run.samples.mkdir(parents=True)
    Image.fromarray(noise).save(run.sheet(0))
    for samples in range(1, 100):
        os.link(run.sheet(0), run.sheet(samples))
    (run.samples / "notes.png").write_text("not ours")
    page = Strict(page_of(run))
    large, *strip = page.of("img")
    assert len(strip) == 20 and strip[-1]["alt"] == "Samples after 99 samples", "at most 24, the latest among them"
    for image, side in ((large, 1280), (strip[0], 720)):
        assert Image.open(io.BytesIO(base64.b64decode(image["src"].partition(",")[2]))).size == (side, side)


def test_curves_are_thinned_by_means() -> None:
    rows = [{"samples": i, "x": float(i % 2), "d/y": "nan" if i == 5000 else 1.0} for i in range(100_000)]
    thin = points(rows, "x")
    assert 100 <= len(thin) <= 120 and all(abs(p.value - 0.5) < 0.01 and (p.low, p.high) == (0, 1) for p in thin)
    assert sum(math.isnan(p.value) for p in points(rows, "d/y")) == 1, "one bad row is one bad point"
    assert points([{"samples": 7, "kid": 3.0, "kid_se": 0.5}], "kid") == [(7, 3.0, 2.0, 4.0)]
    assert points([], "x") == []


@pytest.mark.parametrize(
    ("values", "log", "low", "high"),
    [
        ([0.0, 2.0], False, 0.0, 2.12),
        ([-2.0, -1.0], False, -2.12, 0.0),
        ([0.0, 0.0], False, 0.0, 1.0),
        ([1.0] * 99 + [1000.0], False, 0.0, 2.12),  # the single peak is cut off
        ([1.0, 1000.0], True, 1 / 1.3, 1300.0),
        ([-0.1, 1000.0], True, -60.106, 1060.006),  # an unbiased distance may be below 0
    ],
)
def test_an_axis_includes_the_values(values: list[float], log: bool, low: float, high: float) -> None:
    axis = Axis.over(values, values, log)
    assert (axis.low, axis.high) == pytest.approx((low, high))
    assert axis.at(axis.high) == 0 and axis.at(axis.low) == 1000
    marks = axis.ticks()
    assert 2 <= len(marks) <= 9 and all(0 <= where <= 1000 for where, _ in marks)


def test_round_numbers_on_an_axis() -> None:
    assert round_steps(0, 120_000) == [0, 20_000, 40_000, 60_000, 80_000, 100_000, 120_000]
    assert round_steps(-1.1, 1.3) == pytest.approx([-1, -0.5, 0, 0.5, 1])
    assert [short(x) for x in (0.0, 0.05, 999, 12_000, 1.5e6)] == ["0", "0.05", "999", "12k", "1.5M"]


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.8, "0.8000"), (13.678, "13.68"), (12345.6, "12,346"), (3, "3"), (0.0, "0"), (1e-9, "1e-09"),
     ("nan", "not a number"), (-math.inf, "-infinite"), (True, "True"), (-0.5, "-0.5000")],
)  # fmt: skip
def test_numbers_as_text(value: Any, text: str) -> None:
    assert number(value) == text


def test_a_long_run_is_written_in_time(tmp_path: Path) -> None:
    run = fake_run(tmp_path / "long", rows=20_000, budget=10_000_000)
    started = time.perf_counter()
    size = write_report(run).stat().st_size
    assert time.perf_counter() - started < 10, "0.3 s when measured alone; loose, for a busy machine"
    assert size < 3_000_000
