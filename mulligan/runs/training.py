"""A training run from its order to its report: the plan, the training loop, and the run folder."""

from __future__ import annotations

import dataclasses
import json
import platform
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout

from mulligan.core import registry
from mulligan.core.errors import UserError
from mulligan.core.formats import FORMAT
from mulligan.core.recipe import Recipe
from mulligan.core.run import RunFolder, read_json, write_json
from mulligan.core.version import __version__
from mulligan.data import Dataset, built_in, open_data, reader_of
from mulligan.data.checkup import listed
from mulligan.data.pairs import in_two_folders
from mulligan.engine import checkpoint
from mulligan.engine.device import device_setting
from mulligan.engine.loop import State, play, restore
from mulligan.engine.memory import explain_full_memory, keep_freed_memory
from mulligan.report.progress import ProgressLine
from mulligan.runs.autoencoder import OWN, Latents, in_pictures, latents_of, save_with_run
from mulligan.runs.build import build_networks, recipe_named
from mulligan.runs.choose import Choice, begin_with, choose, fitting, task_set
from mulligan.runs.observer import RunObserver
from mulligan.runs.order import Order, order_of, takes_order
from mulligan.runs.parts import load_parts, outside, remember
from mulligan.runs.plan import Plan, prepare
from mulligan.runs.recipes import ABOUT
from mulligan.runs.run import Run

ENDED = ("finished", "converged", "given up", "diverged")  # statuses of runs that cannot be resumed


@dataclasses.dataclass(frozen=True)
class Asked:
    """A parsed order: the recipe that it begins with, and how its data are opened."""

    order: Order
    recipe: Recipe
    spec: str
    reader: str
    options: dict[str, Any]  # of the reader: given ones, and those that follow from the machine
    autoencoder: str | None

    def as_json(self) -> dict[str, Any]:
        """In the form of run.json, so that the two can be compared."""
        asked = {
            "data": {
                "spec": self.spec,
                "reader": self.reader,
                "autoencoder": self.autoencoder,
                "options": self.options,
            },
            "recipe": self.recipe.as_json(),
            "choose": self.order.recipe is None,
            "seed": self.order.seed,
            "features": self.order.features,
            "guard": self.order.guard,
        }
        return json.loads(json.dumps(asked))


def read_order(order: Order) -> Asked:
    """Parse an order. Raises UserError for unknown names and options, before any data are opened."""
    load_parts()
    if order.features != "auto":
        registry.features[order.features]  # raises UserError for an unknown name
    task = task_set(order.settings)
    reader = registry.tasks.declared(task).reader if task else ""
    if not reader and order.recipe is not None:
        reader = registry.tasks.declared(recipe_named(order.recipe, order.settings).task.name).reader
    reader = reader or reader_of(order.data)
    recipe = order.budgeted(recipe_named(order.recipe or begin_with(reader, order.settings), order.settings))
    options = dict(order.read)
    if order.other is not None:
        if "other" not in registry.readers.defaults(reader):
            raise UserError(
                f"{order.data} and {order.other}: two data sets are for --task style; give one, or add --task style"
            )
        options["other"] = _from_anywhere(order.other)
    if order.recipe is None:
        options = fitting(options, reader, order.device)
    autoencoder = order.autoencoder
    if autoencoder is not None and recipe.from_images:
        raise UserError(
            f"--autoencoder is for images made from noise, and task={recipe.task.name} makes them from images; "
            "leave it out"
        )
    if autoencoder not in (None, OWN):
        autoencoder = str(Path(autoencoder).expanduser().absolute())
    given = {name: value for name, value in options.items() if value != registry.readers.defaults(reader).get(name)}
    return Asked(order, recipe, _from_anywhere(order.data), reader, given, autoencoder)


@takes_order
@keep_freed_memory()
@explain_full_memory()
def train(
    data: str | Path | Order,
    other: str | Path | None = None,
    *,
    out: str | Path | None = None,
    quiet: bool = False,
    command: Sequence[str] = (),
    **fields: Any,
) -> Run:
    """Train a GAN in the run folder `out`, or resume the run that is there; returns the run.

    Args:
        data: an `Order`, or its `data`: a built-in name such as "digits", or a path; its other fields are keywords.
        out: the run folder; by default one under runs/ that is new, or holds the same run unfinished.
        quiet: no progress line.
        command: the command line, for run.json.

    Raises:
        UserError: for invalid input, including an `out` that holds something else.
        OSError: full disk or read-only folder; the run so far is saved.
    """
    started = time.monotonic()
    asked = read_order(order_of(data, other, fields))
    order, wanted = asked.order, asked.recipe
    asked_json = asked.as_json()
    names = "-to-".join(Path(str(each)).resolve().stem for each in (order.data, order.other) if each)
    run = RunFolder(out) if out is not None else _free_folder(names, order.recipe and wanted.name, asked_json)
    known = _known(run, asked_json)
    if known and _ended(run):
        _print(quiet, f"{run.path} is finished already; to train longer or differently, choose another --out")
        return Run(run.path)
    dataset = _open(asked, quiet)
    if known and known["data"]["fingerprint"] != dataset.fingerprint:
        raise UserError(f"{order.data}: its data have changed since {run.path} began; train into another --out")
    latents = _latents(asked, dataset, quiet, saved=run.autoencoder if known else None)
    if known and latents and known["autoencoder"]["stamp"] != latents.stamp:
        raise UserError(
            f"{order.autoencoder}: its weights have changed since {run.path} began; train into another --out"
        )
    chosen: list[Choice] = []
    if known:
        wanted = Recipe.read(run.read(run.recipe), where=str(run.recipe))
    else:
        wanted, chosen = _chosen(asked, dataset, latents)
    plan = prepare(
        dataset, order, wanted, started=started, timed=False, budget_samples=known and known["budget_samples"],
        latents=latents,
    )  # fmt: skip
    run.path.mkdir(parents=True, exist_ok=True)  # only now: a command that fails before leaves no folder
    try:
        lock = FileLock(run.path / ".lock").acquire(timeout=0)
    except Timeout:
        raise UserError(f"{run.path}: another process is training here; choose another --out") from None
    with lock:
        if not known:
            write_json(run.recipe, wanted.as_json())
            described = _description(plan, asked, chosen, command)
            remember(described["parts"])
            write_json(run.run, described)
            lines = (_skipped(dataset), _halves(dataset), latents and str(latents), *map(str, chosen), plan.forecast())
            for line in filter(None, lines):
                _print(quiet, line)
        if latents and not run.autoencoder.exists():
            save_with_run(run.autoencoder, str(asked.autoencoder), latents)
        _play(run, plan, started, quiet)
    return Run(run.path)


def _chosen(asked: Asked, data: Dataset, latents: Latents | None) -> tuple[Recipe, list[Choice]]:
    """The recipe adapted to the data, and the changes to it; unchanged if the user named one."""
    order = asked.order
    if order.recipe is not None:
        return asked.recipe, []
    with in_pictures(latents.factor if latents else 1):
        played = latents.data if latents else data
        return choose(asked.recipe, played, device=order.device, seed=order.seed, own=order.settings)


def _play(run: RunFolder, plan: Plan, started: float, quiet: bool) -> None:
    """Train from the last complete checkpoint, or from the beginning, to the end; then write the report."""
    checkpoint.sweep(run.checkpoints)
    state = State(seconds=time.monotonic() - started)
    last, passed_over = checkpoint.read_last(run.checkpoints)
    for why in passed_over:
        _print(quiet, f"skipped a checkpoint: {why}")
    game = plan.new_game(State(**last.state) if last else state)
    if last:
        state = restore(game, last)
    run.forget_after(state.attempt, state.step)
    with ProgressLine(plan.budget_samples, done=state.samples + state.lost, quiet=quiet) as line:
        observer = RunObserver(run, plan, game, state, line)
        with observer.interrupts:
            observer.begin(state, "resumed" if last else "started", "; ".join(passed_over))
            state, stop = play(game, state, observer)
            observer.end(state, stop)


@takes_order
@keep_freed_memory()
@explain_full_memory()
def dry_run(
    data: str | Path | Order, other: str | Path | None = None, *, quiet: bool = False, **fields: Any
) -> dict[str, Any]:
    """What `train` with the same arguments would do, as JSON: recipe, sizes, time and memory. Writes no run."""
    started = time.monotonic()
    asked = read_order(order_of(data, other, fields))
    dataset = _open(asked, quiet)
    latents = _latents(asked, dataset, quiet)
    wanted, chosen = _chosen(asked, dataset, latents)
    plan = prepare(
        dataset, dataclasses.replace(asked.order, guard="off"), wanted, started=started, timed=True, latents=latents
    )
    assert plan.samples_per_second and plan.seconds
    return {
        "recipe": wanted.as_json(),
        "chosen": [choice._asdict() for choice in chosen],
        "data": {"train": len(dataset.train), "heldout": len(dataset.heldout), "sample": dataset.sample.as_json()},
        **({"autoencoder": latents.as_json()} if latents else {}),
        "device": str(plan.device),
        "precision": plan.setting.precision,
        "parameters": plan.parameters,
        "budget_samples": plan.budget_samples,
        "samples_per_second": round(plan.samples_per_second, 1),
        "predicted_minutes": round(plan.seconds / 60, 2),
        "predicted_memory_mb": round(plan.memory / 2**20),
    }


def _from_anywhere(data: str | Path) -> str:
    """A name of the data set that is also valid in another working directory."""
    path = Path(data)
    return str(path.absolute()) if path.exists() and data not in built_in() else str(data)


def _open(asked: Asked, quiet: bool) -> Dataset:
    with ProgressLine(0, quiet=quiet) as line:
        return open_data(asked.spec, reader=asked.reader, progress=line.count, **asked.options)


def _latents(asked: Asked, data: Dataset, quiet: bool, *, saved: Path | None = None) -> Latents | None:
    """The autoencoder of the order, if there is one, and the data that it has encoded.

    Raises UserError if the recipe's networks do not take such latents, before the autoencoder is trained.
    """
    if asked.autoencoder is None:
        return None
    setting = device_setting(asked.order.device, "fp32")

    def fits(shape: tuple[int, int, int]) -> None:
        task = asked.recipe.task.build(registry.tasks, data)
        on_nothing = dataclasses.replace(setting, device=torch.device("meta"))
        build_networks(asked.recipe, dataclasses.replace(data.sample, shape=shape), task.condition, on_nothing)

    with ProgressLine(0, quiet=quiet) as line:
        return latents_of(
            asked.autoencoder, data, setting.device, saved=saved, fits=fits, progress=line.count, say=line.say
        )


def _free_folder(data: str, recipe: str | None, asked: Mapping[str, Any]) -> RunFolder:
    """runs/DATA[-RECIPE], or the first of -2, -3, … that is free or holds the same run unfinished."""
    base = f"{data}-{recipe}" if recipe else data
    number = 1
    while True:
        run = RunFolder(Path("runs") / (base if number == 1 else f"{base}-{number}"))
        if not run.path.exists() or (
            run.run.exists() and _decisive(run.describe()["asked"]) == _decisive(asked) and not _ended(run)
        ):
            return run
        number += 1


def _known(run: RunFolder, asked: Mapping[str, Any]) -> dict[str, Any] | None:
    """run.json of the run that is there; None for a new folder. Raises UserError if it is another run."""
    if run.path.exists() and not run.path.is_dir():
        raise UserError(f"{run.path}: is a file; --out takes a folder")
    if not run.run.exists():
        others = (
            [p.name for p in run.path.iterdir() if p not in (run.path / ".lock", run.recipe)]
            if run.path.exists()
            else []
        )
        if others:
            raise UserError(f"{run.path}: holds {others[0]!r}, and is not a run folder; choose another --out")
        return None
    known = run.describe()
    before, now = _decisive(known["asked"]), _decisive(asked)
    for what in now:
        if before.get(what) != now[what]:
            raise UserError(
                f"{run.path}: holds a run with another {what}; repeat its command to resume it, or choose another --out"
            )
    return known


def _decisive(asked: Mapping[str, Any]) -> dict[str, Any]:
    """The order without the recipe's description of itself, whose words another version of Mulligan may change."""
    return {**asked, "recipe": {key: value for key, value in asked["recipe"].items() if key not in ABOUT}}


def _ended(run: RunFolder) -> bool:
    return run.summary.exists() and read_json(run.summary).get("status") in ENDED


def _description(plan: Plan, asked: Asked, chosen: Sequence[Choice], command: Sequence[str]) -> dict[str, Any]:
    data, setting = plan.data, plan.setting
    parts = outside(plan.recipe, (plan.judge.protocol.features, asked.reader, data.sample.kind))
    return {
        "format": FORMAT,
        "mulligan": __version__,
        "asked": asked.as_json(),
        "chosen": [choice._asdict() for choice in chosen],
        "command": " ".join(command),
        "seed": asked.order.seed,
        "budget_samples": plan.budget_samples,
        "device": str(setting.device),
        "precision": setting.precision,
        "tracked": plan.judge.tracked,
        "condition": plan.condition.as_json(),
        "parts": parts,
        **({"autoencoder": plan.latents.as_json()} if plan.latents else {}),
        "data": {
            "spec": asked.spec,
            "name": data.name,
            "sample": data.sample.as_json(),
            "noun": data.sample.noun,
            "classes": list(data.classes),
            "class_counts": [int(count) for count in data.class_counts],
            "fingerprint": data.fingerprint,
            "train": len(data.train),
            "heldout": len(data.heldout),
            "plan": data.checkup.plan,
        },
        "environment": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "platform": platform.platform(),
            "device": torch.cuda.get_device_name(setting.device)
            if setting.device.type == "cuda"
            else platform.processor(),
            "threads": torch.get_num_threads(),
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
        },
    }


def _skipped(data: Dataset) -> str:
    bad = data.checkup.unreadable
    return f"skipped {len(bad):,} of {data.checkup.files:,} files: {listed(bad)}" if bad else ""


def _halves(data: Dataset) -> str:
    if data.partners is None or in_two_folders(Path(data.checkup.path)):
        return ""
    return f"pairs side by side: G gets the left half of each picture, {data.sample}, and learns to make the right one"


def _print(quiet: bool, text: str) -> None:
    if not quiet:
        print(text, file=sys.stderr)
