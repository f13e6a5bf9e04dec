"""Quality over time on two cores: Mulligan, and common alternatives, on the same digits.

    python benchmarks/time_to_quality.py --mnist DIR --tensorflow PYTHON [--minutes 15] [--ours 0.5 1 1.5 3 5 10]
    python benchmarks/time_to_quality.py --mnist DIR --tensorflow PYTHON --pace [--rivals] [--ours]

The alternatives, each in a process of its own and alone on the machine: the TensorFlow tutorial's DCGAN, the same
networks in plain PyTorch with Adam 2e-4 and beta1 0.5, and WGAN-GP with the textbook settings (five critic steps,
penalty 10, Adam 1e-4, betas 0 and 0.9). They train on the 4,500 digits that Mulligan trains on; after each minute of
training 5,000 samples are drawn. Mulligan's schedules end with its budget, so each of its points is a run of its own.

`--pace` measures, on a quiet machine, how much work each does in a minute. When that file exists, a minute of training
is that much work instead of time, so that the programs may run at the same time, one thread each, on a machine with
other work; Mulligan's work is counted in images. Remove the file to measure again.

All samples are compared by `mnist_judge`. Results that are there are not computed again. Writes
benchmarks/results/time_to_quality.json and .png.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from runs import MULLIGAN, budget_of, mulligan

RESULTS = Path(__file__).parent / "results" / "time_to_quality.json"
PACE = RESULTS.with_name("time_to_quality_pace.json")
COUNT, DRAW = 5_000, 500
Sampler = Callable[[int], np.ndarray]  # n -> uint8 (n, 28, 28)


def batches(images: np.ndarray, size: int) -> Iterator[np.ndarray]:
    """Endless shuffled batches of float32 (size, 28, 28) in [-1, 1]."""
    rng = np.random.default_rng(0)
    scaled = images.astype("float32") / 127.5 - 1
    while True:
        order = rng.permutation(len(scaled))
        for start in range(0, len(order) - size + 1, size):
            yield scaled[order[start : start + size]]


def tensorflow(images: np.ndarray) -> tuple[Callable[[], None], Sampler]:
    """The TensorFlow DCGAN tutorial: networks, Adam 1e-4, batch 256, compiled step."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import tensorflow as tf

    from speed import tensorflow_networks

    tf.random.set_seed(0)
    G, D = tensorflow_networks()
    bce = tf.keras.losses.BinaryCrossentropy(from_logits=True)
    g_opt, d_opt = tf.keras.optimizers.Adam(1e-4), tf.keras.optimizers.Adam(1e-4)
    data = batches(images, 256)

    @tf.function
    def train_step(real: Any) -> None:
        with tf.GradientTape() as g_tape, tf.GradientTape() as d_tape:
            fake = G(tf.random.normal([256, 100]), training=True)
            on_real, on_fake = D(real, training=True), D(fake, training=True)
            g_loss = bce(tf.ones_like(on_fake), on_fake)
            d_loss = bce(tf.ones_like(on_real), on_real) + bce(tf.zeros_like(on_fake), on_fake)
        g_opt.apply_gradients(zip(g_tape.gradient(g_loss, G.trainable_variables), G.trainable_variables, strict=True))
        d_opt.apply_gradients(zip(d_tape.gradient(d_loss, D.trainable_variables), D.trainable_variables, strict=True))

    def sample(n: int) -> np.ndarray:
        return ((G(tf.random.normal([n, 100]), training=False).numpy()[..., 0] + 1) * 127.5).round().astype("uint8")

    return lambda: train_step(tf.constant(next(data)[..., None])), sample


def _torch_sampler(G: Any) -> Sampler:
    import torch

    @torch.no_grad()
    def sample(n: int) -> np.ndarray:
        G.eval()
        made = G(torch.randn(n, 100))[:, 0]
        G.train()
        return ((made + 1) * 127.5).round().byte().numpy()

    return sample


def plain_pytorch(images: np.ndarray) -> tuple[Callable[[], None], Sampler]:
    """The same networks, Adam 2e-4 with beta1 0.5 (Radford 2015), batch 64."""
    import torch
    from torch.nn.functional import binary_cross_entropy_with_logits as bce

    from speed import plain_networks

    torch.manual_seed(0)
    G, D = plain_networks()
    g_opt, d_opt = (torch.optim.Adam(net.parameters(), 2e-4, (0.5, 0.999)) for net in (G, D))
    data, one, zero = batches(images, 64), torch.ones(64, 1), torch.zeros(64, 1)

    def step() -> None:
        fake = G(torch.randn(64, 100))
        d_loss = bce(D(torch.from_numpy(next(data))[:, None]), one) + bce(D(fake.detach()), zero)
        d_opt.zero_grad()
        d_loss.backward()
        d_opt.step()
        g_loss = bce(D(fake), one)
        g_opt.zero_grad()
        g_loss.backward()
        g_opt.step()

    return step, _torch_sampler(G)


def wgan_gp(images: np.ndarray) -> tuple[Callable[[], None], Sampler]:
    """Gulrajani 2017, algorithm 1 and table 1, on the same networks, the critic without dropout; batch 64."""
    import torch

    from speed import plain_networks

    torch.manual_seed(0)
    G, D = plain_networks()
    D = torch.nn.Sequential(*(layer for layer in D if not isinstance(layer, torch.nn.Dropout)))
    g_opt, d_opt = (torch.optim.Adam(net.parameters(), 1e-4, (0.0, 0.9)) for net in (G, D))
    data = batches(images, 64)

    def step() -> None:
        for _ in range(5):
            real = torch.from_numpy(next(data))[:, None]
            with torch.no_grad():
                fake = G(torch.randn(64, 100))
            mixed = torch.lerp(real, fake, torch.rand(64, 1, 1, 1)).requires_grad_()
            (slope,) = torch.autograd.grad(D(mixed).sum(), mixed, create_graph=True)
            loss = D(fake).mean() - D(real).mean() + 10 * (slope.flatten(1).norm(dim=1) - 1).square().mean()
            d_opt.zero_grad()
            loss.backward()
            d_opt.step()
        g_opt.zero_grad()
        (-D(G(torch.randn(64, 100))).mean()).backward()
        g_opt.step()

    return step, _torch_sampler(G)


RIVALS = {"tensorflow tutorial": tensorflow, "plain pytorch": plain_pytorch, "wgan-gp": wgan_gp}


def contend(name: str, minutes: float, folder: Path, pace: float) -> None:
    """Train on digits.npy of `folder`; after each minute of training, write samples-MINUTE.npy there.

    A minute is `pace` steps, or time if that is 0. For less than one of `minutes` only steps.txt is written.
    """
    step, sample = RIVALS[name](np.load(folder / "digits.npy"))
    spent, steps, marks = 0.0, 0, list(range(1, int(minutes) + 1))
    for _ in range(5):
        step()  # compiles and warms up
    while marks or spent < 60 * minutes < 60:
        begun = time.perf_counter()
        step()
        steps, spent = steps + 1, spent + time.perf_counter() - begun
        if marks and (steps / pace if pace else spent / 60) >= marks[0]:
            drawn = np.concatenate([sample(DRAW) for _ in range(COUNT // DRAW)])
            np.save(folder / f"samples-{marks.pop(0)}.npy", drawn)
    (folder / "steps.txt").write_text(str(60 * steps / spent))


def scored(judge: Any, images: np.ndarray) -> dict[str, float]:
    import torch

    return judge.score(torch.from_numpy(images).reshape(-1, 1, 28, 28))


def contender(name: str, minutes: float, pace: float, options: argparse.Namespace) -> tuple[dict[int, Any], float]:
    """Samples by minute, and steps per minute, of one program in a process of its own."""
    import torch

    from mulligan.data import open_data

    python = options.tensorflow if name.startswith("tensorflow") else sys.executable
    with tempfile.TemporaryDirectory() as path:
        folder, data = Path(path), open_data("digits")
        np.save(folder / "digits.npy", data.records(data.train)[:, 0].to(torch.uint8).numpy())
        order = [python, __file__, "--mnist", "", "--contender", name, "--folder", path, "--steps", str(pace)]
        subprocess.run([*order, "--minutes", str(minutes)], check=True)
        found = {int(file.stem.split("-")[1]): np.load(file) for file in folder.glob("samples-*.npy")}
        return found, float((folder / "steps.txt").read_text())


def rival(name: str, options: argparse.Namespace, judge: Any, pace: float) -> list[dict[str, float]]:
    found, _ = contender(name, options.minutes, pace, options)
    return [{"minutes": minute, **scored(judge, found[minute])} for minute in sorted(found)]


def ours(minutes: float, judge: Any, images: int) -> dict[str, float]:
    budget = budget_of(minutes, images)
    with tempfile.TemporaryDirectory() as folder:
        summary = mulligan("train", "digits", *budget, "--out", f"{folder}/run")
        out = f"{folder}/samples.npz"
        subprocess.run([*MULLIGAN, "sample", f"{folder}/run", "-n", str(COUNT), "--out", out], check=True)
        spent = minutes if images else round(summary["seconds"] / 60, 3)
        return {"minutes": spent, "images": summary["samples_seen"], **scored(judge, np.load(out)["images"])}


def measure_pace(options: argparse.Namespace) -> dict[str, Any]:
    """The steps of each program per minute; of Mulligan, the number of images of a run of so many minutes."""
    pace: dict[str, Any] = {name: contender(name, 0.5, 0.0, options)[1] for name in options.rivals}
    pace["mulligan"] = {}
    for minutes in options.ours:
        plan = mulligan("train", "digits", "--minutes", minutes, "--dry-run")
        pace["mulligan"][f"{minutes:g}"] = plan["budget_samples"]
    return pace


def draw(found: dict[str, list[dict[str, float]]]) -> None:
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
    for axis, metric in zip(axes, ("coverage", "recall"), strict=True):
        for name, rows in found.items():
            axis.plot([row["minutes"] for row in rows], [row[metric] for row in rows], ".-", label=name)
        axis.set(xscale="log", xlabel="minutes on two cores", title=metric, ylim=(0, 1))
        axis.set_xticks([0.5, 1, 2, 5, 10, 15], labels=["0.5", "1", "2", "5", "10", "15"])
        axis.set_xticks([], minor=True)
        axis.grid(alpha=0.3)
    axes[0].legend()
    figure.savefig(RESULTS.with_suffix(".png"), dpi=110)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--mnist", required=True, help="folder with MNIST's training set as IDX files")
    arguments.add_argument("--judges", type=Path, default=Path(tempfile.gettempdir()), help="folder for trained judges")
    arguments.add_argument("--tensorflow", default=sys.executable, help="interpreter that has TensorFlow")
    arguments.add_argument("--minutes", type=float, default=15)
    arguments.add_argument("--ours", type=float, nargs="*", default=[0.5, 1, 1.5, 3, 5, 10])
    arguments.add_argument("--rivals", nargs="*", default=list(RIVALS), choices=list(RIVALS))
    arguments.add_argument("--pace", action="store_true", help="measure the pace, on a quiet machine")
    arguments.add_argument("--steps", type=float, default=0.0, help=argparse.SUPPRESS)
    arguments.add_argument("--contender", help=argparse.SUPPRESS)
    arguments.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = arguments.parse_args()
    if options.contender:
        contend(options.contender, options.minutes, options.folder, options.steps)
        return
    if options.pace:
        PACE.write_text(json.dumps(measure_pace(options), indent=2) + "\n")
        return
    from mnist_judge import MnistJudge

    judge = MnistJudge(options, COUNT)
    pace = json.loads(PACE.read_text()) if PACE.exists() else {}

    def add(name: str, rows: list[dict[str, float]]) -> dict[str, list[dict[str, float]]]:
        """Add to the file, which other processes may have changed."""
        found = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
        before = [row for row in found.get(name, []) if row["minutes"] not in {new["minutes"] for new in rows}]
        found[name] = sorted(before + rows, key=lambda row: row["minutes"])
        RESULTS.write_text(json.dumps(found, indent=2) + "\n")
        return found

    found: dict[str, list[dict[str, float]]] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for name in options.rivals:
        if name not in found:
            found = add(name, rival(name, options, judge, pace.get(name, 0.0)))
    for minutes in options.ours:
        images = pace.get("mulligan", {}).get(f"{minutes:g}", 0)
        found = add("mulligan", [ours(minutes, judge, images)])
    draw(found)
    for name, rows in found.items():
        print(f"{name:22s}", "  ".join(f"{row['minutes']:.3g} min {row['coverage']:.3f}" for row in rows))


if __name__ == "__main__":
    main()
