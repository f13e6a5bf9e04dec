"""One run from its command to its report: what is asked, what it will cost, the loop, and what is left behind."""

from __future__ import annotations

import dataclasses
import json
import platform
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import torch
from filelock import FileLock, Timeout

from mulligan.core.version import __version__
from mulligan.runs.autoencoder import OWN, Coded, coded, in_pictures, keep
from mulligan.runs.build import build_networks, pick_device, recipe_named
from mulligan.runs.choose import SIDE, Choice, begin_with, choose
from mulligan.runs.observer import Host
from mulligan.runs.plan import Plan, prepare
from mulligan.runs.run import Run
from mulligan.core import registry
from mulligan.core.errors import UserError
from mulligan.core.recipe import Budget, Recipe
from mulligan.core.run import RunFolder, read_json, write_json
from mulligan.data import BUILT_IN, Data, open_data
from mulligan.data.checkup import listed
from mulligan.data.pairs import PairData, in_two_folders
from mulligan.engine import checkpoint
from mulligan.engine.loop import State, play, restore
from mulligan.engine.memory import kept_memory, memory_told
from mulligan.report.progress import ProgressLine

FORMAT = 1
ENDED = ("finished", "converged", "given up", "diverged")  # statuses that nothing follows


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataOptions:
    """How a data set is read; the same names as `data.open_data`'s. And what the game is played behind.

    `autoencoder`: "self", a small one that is taught on the training images first, or a folder with one of diffusers'.
    It is frozen; G and D play on its latents, and whoever looks at samples sees pictures.
    """

    size: tuple[int, int] | int | None = None
    labels: bool = False
    channels: int | None = None
    max_bad: float = 0.10
    fit: int | None = None
    pairs: bool = False
    unpaired: bool = False
    other: str | None = None
    autoencoder: str | None = None

    def reading(self) -> dict[str, Any]:
        """As `data.open_data` takes them."""
        return {name: value for name, value in dataclasses.asdict(self).items() if name != "autoencoder"}

    def as_asked(self) -> dict[str, Any]:
        """As run.json has it; what is newer only where it says something, so that runs from before it go on."""
        newer = ("pairs", "unpaired", "other", "autoencoder")
        return {name: value for name, value in dataclasses.asdict(self).items() if name not in newer or value}


@kept_memory()
@memory_told()
def train(
    data: str | Path,
    other: str | Path | None = None,
    *,
    out: str | Path | None = None,
    recipe: str | Path | Recipe | None = None,
    minutes: float | None = None,
    images: int | None = None,
    epochs: float | None = None,
    converge: bool = False,
    seed: int = 0,
    settings: Mapping[str, Any] | None = None,
    options: DataOptions = DataOptions(),
    features: str = "auto",
    device: str = "auto",
    guard: Literal["off", "warn", "on"] = "on",
    quiet: bool = False,
    command: Sequence[str] = (),
) -> Run:
    """Train a GAN on `data` into the run folder `out`, or go on with the run that is there; returns the run.

    Args:
        data: "digits", "stacked", "ring", "grid", a folder or zip of images, an .npz, or an IDX file.
        other: the same; for the task `style`, which goes from `data` to it.
        out: the run folder; by default one under runs/ that is new, or holds this very run unfinished.
        recipe: a name (`mulligan zoo`), a .json file or a Recipe; by default one is chosen (`choose`), and said why.
        minutes, images, epochs, converge: when to stop; whichever comes first. None of them: as the recipe says.
        settings: changes to the recipe by dotted path, {"generator.width": 128}.
        features: feature net for the tracked metric.
        guard: "on" notices when a run goes wrong, rewinds and changes something; "warn" only says so.

    Raises:
        UserError: for anything not usable as given, including an `out` that holds something else.
        OSError: full disk or read-only folder; the run so far is kept.
    """
    started = time.monotonic()
    wanted = with_budget(
        recipe_named(recipe or begin_with(data, settings), settings), minutes, images, epochs, converge
    )
    options = _fitting(options, other, device, wanted, chosen=recipe is None)
    spec = _from_anywhere(data)
    asked = json.loads(
        json.dumps(
            {
                "data": {"spec": spec, **options.as_asked()},
                "recipe": wanted.as_json(),
                "choose": recipe is None,
                "seed": seed,
                "features": features,
                "guard": guard,
            }
        )
    )  # as run.json will hold it, so that the two compare
    names = "-to-".join(Path(str(each)).stem for each in (data, other) if each)
    run = RunFolder(out) if out is not None else _free_folder(names, recipe and wanted.name, asked)
    known = _known(run, asked)
    if known and _ended(run):
        _tell(quiet, f"{run.path} is finished already; train longer or otherwise into another --out")
        return Run(run.path)
    images_of = _open(spec, options, quiet)
    if known and known["data"]["fingerprint"] != images_of.fingerprint:
        raise UserError(f"{data}: its images have changed since {run.path} began; train into another --out")
    behind = _behind(options, images_of, wanted, device, quiet, kept=run.autoencoder if known else None)
    if known and behind and known["autoencoder"]["stamp"] != behind.stamp:
        raise UserError(
            f"{options.autoencoder}: its weights have changed since {run.path} began; train into another --out"
        )
    chosen: list[Choice] = []
    if known:
        wanted = Recipe.read(read_json(run.recipe), where=str(run.recipe))
    elif recipe is None:
        wanted, chosen = _fitted(wanted, images_of, behind, device=device, seed=seed, settings=settings)
    plan = prepare(
        images_of, wanted, seed=seed, device=device, features=features, guard=guard, started=started, timed=False,
        budget_images=known and known["budget_images"], coded=behind,
    )  # fmt: skip
    run.path.mkdir(parents=True, exist_ok=True)  # only now: a command that cannot run leaves nothing behind
    try:
        lock = FileLock(run.path / ".lock").acquire(timeout=0)
    except Timeout:
        raise UserError(f"{run.path}: another process is training here; choose another --out") from None
    with lock:
        if not known:
            write_json(run.recipe, wanted.as_json())
            write_json(run.run, _description(plan, asked, chosen, command))
            said = (_skipped(images_of), _halves(images_of), behind and str(behind), *map(str, chosen), plan.foreseen())
            for line in filter(None, said):
                _tell(quiet, line)
        if behind and not run.autoencoder.exists():
            keep(run.autoencoder, str(options.autoencoder), behind)
        _play(run, plan, started, quiet)
    return Run(run.path)


def _fitted(
    recipe: Recipe, data: Data, behind: Coded | None, *, device: str, seed: int, settings: Mapping[str, Any] | None
) -> tuple[Recipe, list[Choice]]:
    """The recipe made to fit what is dealt, and what was changed in it."""
    with in_pictures(behind.factor if behind else 1):
        dealt = behind.data if behind else data
        return choose(recipe, dealt, device=pick_device(device), seed=seed, own=settings or ())


def _play(run: RunFolder, plan: Plan, started: float, quiet: bool) -> None:
    """Play from the last whole checkpoint, or from the beginning, until it is over; then write the report."""
    checkpoint.sweep(run.checkpoints)
    state = State(seconds=time.monotonic() - started)
    last, passed_over = checkpoint.read_last(run.checkpoints)
    for why in passed_over:
        _tell(quiet, f"passed over: {why}")
    game = plan.new_game(State(**last.state) if last else state)
    if last:
        state = restore(game, last)
    run.forget_after(state.attempt, state.step)
    with ProgressLine(plan.budget_images, done=state.images + state.lost, quiet=quiet) as line:
        host = Host(run, plan, game, state, line)
        with host.interrupts:
            host.begin(state, "resumed" if last else "started", "; ".join(passed_over))
            state, stop = play(game, state, host)
            host.end(state, stop)


@kept_memory()
@memory_told()
def dry_run(
    data: str | Path,
    other: str | Path | None = None,
    *,
    recipe: str | Path | Recipe | None = None,
    minutes: float | None = None,
    images: int | None = None,
    epochs: float | None = None,
    converge: bool = False,
    seed: int = 0,
    settings: Mapping[str, Any] | None = None,
    options: DataOptions = DataOptions(),
    features: str = "auto",
    device: str = "auto",
    quiet: bool = False,
) -> dict[str, Any]:
    """What `train` with the same arguments would do, as JSON: recipe, sizes, time and memory. Writes no run."""
    started = time.monotonic()
    wanted = with_budget(
        recipe_named(recipe or begin_with(data, settings), settings), minutes, images, epochs, converge
    )
    chosen: list[Choice] = []
    options = _fitting(options, other, device, wanted, chosen=recipe is None)
    images_of = _open(str(data), options, quiet)
    behind = _behind(options, images_of, wanted, device, quiet)
    if recipe is None:
        wanted, chosen = _fitted(wanted, images_of, behind, device=device, seed=seed, settings=settings)
    plan = prepare(
        images_of, wanted, seed=seed, device=device, features=features, guard="off", started=started, timed=True,
        coded=behind,
    )  # fmt: skip
    assert plan.images_per_second and plan.seconds
    return {
        "recipe": wanted.as_json(),
        "chosen": [choice._asdict() for choice in chosen],
        "data": {"train": len(images_of.train), "heldout": len(images_of.heldout), "shape": list(images_of.shape)},
        **({"autoencoder": behind.as_json()} if behind else {}),
        "device": str(plan.device),
        "precision": plan.precision,
        "parameters": plan.parameters,
        "budget_images": plan.budget_images,
        "images_per_second": round(plan.images_per_second, 1),
        "predicted_minutes": round(plan.seconds / 60, 2),
        "predicted_memory_mb": round(plan.memory / 2**20),
    }


def _from_anywhere(data: str | Path) -> str:
    """What names the data set, also from another folder later."""
    path = Path(data)
    return str(path.absolute()) if path.exists() and data not in BUILT_IN else str(data)


def _fitting(
    options: DataOptions, other: str | Path | None, device: str, recipe: Recipe, *, chosen: bool
) -> DataOptions:
    """As the task has it; where neither size nor recipe is given, a size that can be learnt in the time there is."""
    task, autoencoder = recipe.task.name, options.autoencoder
    if autoencoder is not None and recipe.from_images:
        raise UserError(
            f"--autoencoder is for pictures made from noise, and task={task} makes them from images; leave it out"
        )
    if autoencoder not in (None, OWN):
        autoencoder = str(Path(autoencoder).expanduser().absolute())
    options = dataclasses.replace(
        options,
        pairs=task == "pairs",
        unpaired=task == "style",
        other=None if other is None else _from_anywhere(other),
        autoencoder=autoencoder,
    )
    if not chosen:
        return options
    return options if options.size else dataclasses.replace(options, fit=SIDE[pick_device(device).type])


def _open(spec: str, options: DataOptions, quiet: bool) -> Data:
    with ProgressLine(0, quiet=quiet) as line:
        return open_data(spec, **options.reading(), progress=line.count)


def _behind(
    options: DataOptions, data: Data, recipe: Recipe, device: str, quiet: bool, *, kept: Path | None = None
) -> Coded | None:
    """The autoencoder that is asked for, if one is, and the data as it encodes them.

    Raises UserError for latents that the recipe's networks refuse, before the autoencoder learns.
    """
    if options.autoencoder is None:
        return None
    on = pick_device(device)

    def fits(shape: tuple[int, int, int]) -> None:
        build_networks(recipe, shape, recipe.task.build(registry.tasks, data).classes, torch.device("meta"))

    with ProgressLine(0, quiet=quiet) as line:
        return coded(options.autoencoder, data, on, kept=kept, fits=fits, progress=line.count, say=line.say)


def with_budget(
    recipe: Recipe, minutes: float | None, images: int | None, epochs: float | None, converge: bool
) -> Recipe:
    """The recipe with the limits given here, if any, instead of its own."""
    given = {"minutes": minutes, "images": images, "epochs": epochs}
    limits = given if any(value is not None for value in given.values()) else dataclasses.asdict(recipe.budget)
    try:
        return dataclasses.replace(recipe, budget=Budget(**{**limits, "converge": converge or recipe.budget.converge}))
    except ValueError as error:
        raise UserError(str(error)) from None


def _free_folder(data: str, recipe: str | None, asked: Mapping[str, Any]) -> RunFolder:
    """runs/DATA[-RECIPE], or the first -2, -3, … that is free or holds this very run unfinished."""
    base = f"{data}-{recipe}" if recipe else data
    number = 1
    while True:
        run = RunFolder(Path("runs") / (base if number == 1 else f"{base}-{number}"))
        if not run.path.exists() or (run.run.exists() and read_json(run.run)["asked"] == asked and not _ended(run)):
            return run
        number += 1


def _known(run: RunFolder, asked: Mapping[str, Any]) -> dict[str, Any] | None:
    """What run.json says of the run that is there; None for a new folder. Raises UserError if it is another run."""
    if run.path.exists() and not run.path.is_dir():
        raise UserError(f"{run.path}: is a file; --out takes a folder")
    if not run.run.exists():
        others = (
            [p.name for p in run.path.iterdir() if p not in (run.path / ".lock", run.recipe)]
            if run.path.exists()
            else []
        )
        if others:
            raise UserError(f"{run.path}: holds {others[0]!r} and no run of Mulligan's; choose another --out")
        return None
    known = read_json(run.run)
    before = known.get("asked", {}) if isinstance(known, dict) else {}
    for what in asked:
        if before.get(what) != asked[what]:
            raise UserError(
                f"{run.path}: holds a run with another {what}; repeat its command to resume it, or choose another --out"
            )
    return known


def _ended(run: RunFolder) -> bool:
    return run.summary.exists() and read_json(run.summary).get("status") in ENDED


def _description(
    plan: Plan, asked: Mapping[str, Any], chosen: Sequence[Choice], command: Sequence[str]
) -> dict[str, Any]:
    data = plan.data
    return {
        "format": FORMAT,
        "mulligan": __version__,
        "asked": asked,
        "chosen": [choice._asdict() for choice in chosen],
        "command": " ".join(command),
        "seed": plan.seed,
        "budget_images": plan.budget_images,
        "device": str(plan.device),
        "precision": plan.precision,
        "by_class": plan.by_class,
        "shown": plan.shown and plan.shown._asdict(),
        **({"autoencoder": plan.coded.as_json()} if plan.coded else {}),
        "data": {
            "spec": asked["data"]["spec"],
            "name": data.name,
            "shape": list(data.shape),
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
            "device": torch.cuda.get_device_name(plan.device) if plan.device.type == "cuda" else platform.processor(),
            "threads": torch.get_num_threads(),
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
        },
    }


def _skipped(data: Data) -> str:
    bad = data.checkup.unreadable
    return f"skipped, of {data.checkup.files:,} image files: {listed(bad)}" if bad else ""


def _halves(data: Data) -> str:
    if not isinstance(data, PairData) or in_two_folders(Path(data.checkup.path)):
        return ""
    height, width = data.shape[1:]
    return f"pairs side by side: G is shown the left half of each picture, {height}x{width}, and is to make the right"


def _tell(quiet: bool, text: str) -> None:
    if not quiet:
        print(text, file=sys.stderr)
