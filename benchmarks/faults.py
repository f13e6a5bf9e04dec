"""Faults put into a run, each with the guard off and on; and healthy runs, which the guard must not change.

    python benchmarks/faults.py [--images 20000] [--seeds 0 1] [--only NAME ...] [--workers 2]

Each run is a process of its own with one thread. With the guard off, the last weights are evaluated: the outcome of the
fault. With the guard on, the best checkpoint is evaluated, which `mulligan sample` uses; with the guard off it is given
too, since every run stores one. Coverage is that of 500 samples against the 500 held-out digits (feature net `digits`,
k=5). Results are added to benchmarks/results/faults.jsonl; runs that are there are not repeated. The table and the plot
are made from this file.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
FEW = 200  # images of the small data set
Injection = Callable[[Any, Any, int], None]  # (game, state, budget): called before every step


@dataclass(frozen=True)
class Fault:
    about: str
    settings: dict[str, Any] = field(default_factory=dict)
    inject: Injection | None = None
    few: bool = False  # on the small data set, compared with a healthy run on it


def at(share: float, harm: Callable[[Any], None]) -> Injection:
    """Once, in the first attempt, after a share of the budget."""

    def inject(game: Any, state: Any, budget: int) -> None:
        if state.attempt == 0 and state.step == int(share * budget) // game.batch:
            harm(game)

    return inject


def nan_in_g(game: Any) -> None:
    next(game.g.net.parameters()).data.view(-1)[0] = float("nan")


def nan_in_moments(game: Any) -> None:
    moment = next(iter(game.d.scheduled.optimizer.state.values()))["exp_avg_sq"]
    moment[(0,) * moment.ndim] = float("nan")


def weights_times(factor: float) -> Callable[[Any], None]:
    def harm(game: Any) -> None:
        for parameter in game.d.net.parameters():
            parameter.data.mul_(factor)

    return harm


def overflow(game: Any) -> None:
    """Half precision ends at 65,504."""
    for parameter in game.g.net.parameters():
        parameter.data.copy_((parameter.data * 1e6).half().float())


def wild_batch(game: Any) -> None:
    """One batch with pixels far outside [-1, 1]."""
    train_batch = game.train_batch

    def once(position: int, count: int) -> Any:
        game.train_batch = train_batch
        batch = train_batch(position, count)
        return type(batch)(batch.real * 1e4, batch.cond)

    game.train_batch = once


def without_noise(game: Any, state: Any, budget: int) -> None:
    """From a third of the budget on, G gets zeros as noise, until the run restarts from the beginning."""
    if state.attempt == 0 and state.step == int(0.33 * budget) // game.batch:
        game.g.net.register_forward_pre_hook(lambda _, inputs: (inputs[0] * 0, *inputs[1:]))


def one_image(game: Any, state: Any, budget: int) -> None:
    """From half of the budget on the data set is a single image."""
    if state.samples >= budget // 2 and not hasattr(game, "spoilt"):
        train_batch, game.spoilt = game.train_batch, True

        def same(position: int, count: int) -> Any:
            batch = train_batch(position, count)
            return type(batch)(batch.real[:1].expand_as(batch.real), batch.cond)

        game.train_batch = same


def label_noise(game: Any, state: Any, budget: int) -> None:
    import torch

    if not hasattr(game, "spoilt"):
        train_batch, game.spoilt = game.train_batch, True

        def shuffled(position: int, count: int) -> Any:
            batch = train_batch(position, count)
            ids = batch.cond["class"]
            wrong = torch.where(torch.arange(count) < 0.3 * count, ids.roll(1), ids)
            return type(batch)(batch.real, batch.cond.changed(**{"class": wrong}))

        game.train_batch = shuffled


def rate(player: str, factor: float) -> dict[str, str]:
    return {f"optimizer.{player}.lr": f"cosine({2e-3 * factor:g}, 0)"}


G, D = "generator", "discriminator"
FAULTS = {
    "NaN in G's weights": Fault("one weight, once, at 40 %", inject=at(0.4, nan_in_g)),
    "NaN in D's optimizer": Fault("one moment, once, at 40 %", inject=at(0.4, nan_in_moments)),
    "half-precision overflow": Fault("G's weights exceed 65,504 once, at 40 %", inject=at(0.4, overflow)),
    "a wild batch": Fault("pixels times 10,000, once, at 40 %", inject=at(0.4, wild_batch)),
    "D's weights times 8": Fault("once, at 40 %", inject=at(0.4, weights_times(8))),
    "D's learning rate x 30": Fault("", rate(D, 30)),
    "G's learning rate x 30": Fault("", rate(G, 30)),
    "both learning rates x 30": Fault("", rate(D, 30) | rate(G, 30)),
    "G's learning rate / 100": Fault("", rate(G, 0.01)),
    "D's learning rate / 100": Fault("", rate(D, 0.01)),
    "no penalty on 200 images": Fault("", {"terms.r1": "none"}, few=True),
    "no penalty, 8 turns of D": Fault("", {"terms.r1": "none", "d_turns": 8}),
    "penalty x 4,000": Fault("", {"terms.r1.weight": 2000}),
    "saturating loss, strong D": Fault("", {"loss": "minimax", "terms.r1": "none", **rate(D, 4)}),
    "Wasserstein, beta1 0.9, no penalty": Fault(
        "", {"loss": "wasserstein", "terms.r1": "none", f"optimizer.{G}.beta1": 0.9, f"optimizer.{D}.beta1": 0.9}
    ),
    "hinge, no penalty, beta1 0.9": Fault(
        "", {"loss": "hinge", "terms.r1": "none", f"optimizer.{G}.beta1": 0.9, f"optimizer.{D}.beta1": 0.9}
    ),
    "G ignores its noise": Fault("from a third on, until a restart", inject=without_noise),
    "the data becomes one image": Fault("from half of the budget on", inject=one_image),
    "label noise": Fault("three in ten labels are those of another image", inject=label_noise),
}
HEALTHY = {
    "digits": Fault(""),
    "200 images": Fault("", few=True),
    "hinge": Fault("", {"loss": "hinge"}),
    "least squares": Fault("", {"loss": "least-squares"}),
    "unconditional": Fault("", {"task": "unconditional"}),
    "batch 32": Fault("", {"batch": 32}),
    "slow": Fault("", rate(G, 0.5) | rate(D, 0.5)),
    "no average": Fault("", {"ema": 0}),
    "R1 and R2": Fault("", {"terms.r2.weight": 0.5, "terms.r2.every": 8}),
    "two turns of D": Fault("", {"d_turns": 2}),
}


def train(name: str, guard: str, seed: int, images: int, keep: Path | None) -> dict[str, Any]:
    """One run in this process."""
    import numpy as np
    import torch

    import mulligan as mg
    from mulligan.core.errors import UserError
    from mulligan.core.seeding import mix
    from mulligan.engine import loop
    from mulligan.engine.sampling import ClassConditions
    from mulligan.measure.judge import Judge

    torch.set_num_threads(1)
    fault = (FAULTS | HEALTHY)[name]
    with tempfile.TemporaryDirectory() as folder:
        data: str | Path = "digits"
        if fault.few:
            digits = mg.inspect("digits")
            some = digits.train[:FEW]
            data = Path(folder) / "few.npz"
            np.savez(data, images=digits.records(some)[:, 0].numpy(), labels=digits.labels[some])
        if fault.inject:
            step = loop.play_step

            def harmed(game: Any, state: Any, budget: int) -> Any:
                fault.inject(game, state, budget)
                return step(game, state, budget)

            loop.play_step = harmed
        out = (keep or Path(folder)) / f"{name} {guard} {seed}".replace("/", "by")
        run = mg.train(
            data, out=out, samples=images, seed=seed, settings=fault.settings, guard=guard,
            features="digits", quiet=True,
        )  # fmt: skip
        summary, events = run.summary, list(run.folder.rows("event"))
        evaluations = list(run.folder.rows("metric"))
        judge = Judge(mg.inspect("digits"), "digits")

        def coverage(which: str) -> float:
            try:
                model = mg.load(run.path, which=which)
                conditions = ClassConditions(mix("judge", judge.protocol.seed), model.class_counts)
                return judge.measure(model.G, conditions)["coverage"]
            except UserError:  # it failed before anything was saved
                return 0.0

        return {
            "fault": name, "guard": guard, "seed": seed, "images": images, "status": summary["status"],
            "why": summary["why"], "coverage_best": coverage("best"), "coverage_last": coverage("last"),
            "rewinds": [
                {"images": event["samples"], **{key: event[key] for key in ("to", "finding", "evidence", "remedy")}}
                for event in events if event["what"] == "rewound"
            ],
            "noticed": [e["finding"] for e in events if e["what"] == "noticed"],
            "lost": summary["samples_lost"], "seconds": summary["seconds"],
            "looks": [[row["samples"] + row["lost"], row["coverage"], row["kid"]] for row in evaluations],
        }  # fmt: skip


def mean(rows: list[dict[str, Any]], guard: str, key: str) -> float:
    return statistics.mean(row[key] for row in rows if row["guard"] == guard)


def actions(row: dict[str, Any]) -> str:
    """What the guard did in one run, and how the run ended."""
    done = " > ".join(f"{event['finding']}: {event['remedy']}" for event in row["rewinds"]) or "nothing"
    return done if row["status"] == "finished" else f"{done} ({row['status']})"


def summarise(rows: list[dict[str, Any]]) -> str:
    """The tables, in Markdown, of all runs with the guard off and on."""
    by_name = {name: [row for row in rows if row["fault"] == name] for name in FAULTS | HEALTHY}
    by_name = {name: found for name, found in by_name.items() if {row["guard"] for row in found} == {"off", "on"}}
    faults, healthy = ([name for name in names if name in by_name] for names in (FAULTS, HEALTHY))
    ruined = ["| fault | healthy | off: last | off: best | on | of healthy | what the guard did |", "|" + "---|" * 7]
    saved = 0
    for name in faults:
        found = by_name[name]
        healthy_coverage = mean(by_name["200 images" if FAULTS[name].few else "digits"], "off", "coverage_best")
        numbers = [mean(found, "off", "coverage_last"), mean(found, "off", "coverage_best")]
        on = mean(found, "on", "coverage_best")
        saved += on >= 0.8 * healthy_coverage
        did = "; ".join(dict.fromkeys(actions(row) for row in found if row["guard"] == "on"))
        cells = [f"{number:.2f}" for number in (healthy_coverage, *numbers, on)]
        ruined.append(f"| {' | '.join([name, *cells, f'{on / healthy_coverage:.0%}', did])} |")
    table = ["| healthy run | off | on | rewinds |", "|---|---|---|---|"]
    for name in healthy:
        found = by_name[name]
        rewinds = sum(len(row["rewinds"]) for row in found if row["guard"] == "on")
        cells = [f"{mean(found, guard, 'coverage_best'):.2f}" for guard in ("off", "on")]
        table.append(f"| {' | '.join([name, *cells, str(rewinds)])} |")
    verdict = f"{saved} of {len(faults)} end at 80 % or more of the healthy run's coverage."
    return "\n".join([*ruined, "", verdict, "", *table]) + "\n"


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    """Coverage over images seen, one panel for each fault: guard off, guard on, and the rewinds."""
    from matplotlib import pyplot as plt

    names = [name for name in FAULTS if any(row["fault"] == name for row in rows)]
    lines = -(-len(names) // 4)
    figure, axes = plt.subplots(lines, 4, figsize=(15, 2.6 * lines), sharey=True, squeeze=False)
    for name, panel in zip(names, axes.flat, strict=False):
        for row in (row for row in rows if row["fault"] == name):
            shade = {"off": "tab:red", "on": "tab:blue"}[row["guard"]]
            label = f"guard {row['guard']}" if row["seed"] == rows[0]["seed"] else None
            panel.plot([x[0] / 1000 for x in row["looks"]], [x[1] for x in row["looks"]], color=shade, label=label)
            lost = 0
            for event in row["rewinds"]:
                panel.axvline((event["images"] + lost) / 1000, color=shade, linestyle=":", linewidth=1)
                lost += event["images"] - event["to"]
        panel.set_title(name, fontsize=10)
        panel.set_ylim(-0.03, 1.03)
    for panel in axes.flat[len(names) :]:
        panel.axis("off")
    axes.flat[0].legend(fontsize=8)
    figure.supxlabel("thousand images seen, including those before a rewind; dotted: rewinds")
    figure.supylabel("coverage of held-out digits")
    figure.tight_layout()
    figure.savefig(path, dpi=80)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--images", type=int, default=20_000)
    arguments.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    arguments.add_argument("--only", nargs="+", help="faults, healthy runs, or 'faults', 'healthy'")
    arguments.add_argument("--guards", nargs="+", default=["off", "on"])
    arguments.add_argument("--workers", type=int, default=2)
    arguments.add_argument("--out", type=Path, default=RESULTS / "faults.jsonl")
    arguments.add_argument("--keep", type=Path, help="folder in which the run folders stay")
    arguments.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    options = arguments.parse_args()
    if options.one:
        name, guard, seed = options.one
        print(json.dumps(train(name, guard, int(seed), options.images, options.keep)))
        return
    names = [*HEALTHY, *FAULTS]
    wanted = {"faults": list(FAULTS), "healthy": list(HEALTHY)}
    chosen = [each for name in options.only or names for each in wanted.get(name, [name])]
    rows = [json.loads(line) for line in options.out.read_text().splitlines()] if options.out.exists() else []
    done = {(row["fault"], row["guard"], row["seed"], row["images"]) for row in rows}
    jobs = [
        (n, g, s)
        for s in options.seeds
        for n in chosen
        for g in options.guards
        if (n, g, s, options.images) not in done
    ]

    def run(job: tuple[str, str, int]) -> None:
        order = [sys.executable, __file__, "--images", str(options.images), "--one", *map(str, job)]
        order += ["--keep", str(options.keep)] if options.keep else []
        made = subprocess.run(order, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
        if made.returncode:
            print(job, made.stderr.strip().splitlines()[-1:], file=sys.stderr, flush=True)
            return
        line = made.stdout.splitlines()[-1]
        row = json.loads(line)
        with options.out.open("a") as file:
            file.write(line + "\n")
        print(
            f"{row['fault']:36s} {row['guard']:4s} seed {row['seed']}  coverage best {row['coverage_best']:.3f} "
            f"last {row['coverage_last']:.3f}  {row['status']:9s} "
            + " > ".join(f"{e['finding']}@{e['images']}: {e['remedy']}" for e in row["rewinds"]),
            flush=True,
        )

    options.out.parent.mkdir(exist_ok=True)
    with ThreadPoolExecutor(options.workers) as pool:
        list(pool.map(run, jobs))
    rows = [json.loads(line) for line in options.out.read_text().splitlines()]
    table = summarise(rows)
    options.out.with_suffix(".md").write_text(table)
    plot(rows, options.out.with_suffix(".png"))
    print(table)


if __name__ == "__main__":
    main()
