"""Training speed of the textbook 28x28 DCGAN at batch 256: Mulligan's loop, plain PyTorch, and TensorFlow.

    python benchmarks/speed.py [--rounds 5] [--tensorflow PYTHON] [--precision bf16]

Each program trains in a process of its own, in turn, round after round. Images/s are medians over the rounds; ratios
are taken within a round, so that a machine that slows down affects both sides. The last line is the speed if every
multiply-add of the step ran as in the processor's fastest float32 convolution; only fewer multiply-adds are faster.
Writes benchmarks/results/speed.json.

TensorFlow is optional: `pip install tensorflow-cpu`, here or for another interpreter that --tensorflow names.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

BATCH, WARM, STEPS = 256, 3, 10
# multiply-adds of one image, forward: G 100x12544 dense, then 7x7 and 14x14 inputs of the transposed convolutions;
# D its two convolutions and its dense layer. A step does G forward, D on real and fake, both backward (twice the cost
# for weights and inputs), and D forward and backward to its input for G.
G_MACS = 100 * 12544 + 7 * 7 * 25 * 256 * 128 + 7 * 7 * 25 * 128 * 64 + 14 * 14 * 25 * 64
D_MACS = 14 * 14 * 25 * 64 + 7 * 7 * 25 * 64 * 128 + 6272
STEP_FLOP = 2 * (3 * G_MACS + 2 * 3 * D_MACS + 2 * D_MACS)
RESULTS = Path(__file__).parent / "results" / "speed.json"


def digits():
    import numpy as np

    return np.random.default_rng(0).uniform(-1, 1, (8 * BATCH, 28, 28, 1)).astype("float32")


def timed(step) -> float:
    for _ in range(WARM):
        step()
    started = time.perf_counter()
    for _ in range(STEPS):
        step()
    return BATCH * STEPS / (time.perf_counter() - started)


def mulligan(precision: str = "fp32") -> float:
    """Mulligan's loop, as `mulligan train --recipe dcgan` runs it, with the loading of data."""
    from mulligan.data import open_data
    from mulligan.engine.device import device_setting
    from mulligan.engine.loop import State, play_step
    from mulligan.engine.memory import keep_freed_memory
    from mulligan.runs.build import build_game, recipe_named

    recipe = recipe_named("dcgan", {"batch": BATCH, "precision": precision})
    game = build_game(recipe, open_data("digits"), seed=0, setting=device_setting("cpu", precision))
    state = State()

    def step() -> None:
        play_step(game, state, budget=1 << 30)
        state.step += 1
        state.samples += BATCH

    with keep_freed_memory():
        return timed(step)


def plain_networks():
    from torch import nn

    class Same(nn.Conv2d):
        """Stride-2 convolution, padded as TensorFlow's SAME pads even sizes: one more after than before."""

        def forward(self, x):
            return super().forward(nn.functional.pad(x, (1, 2, 1, 2) if x.shape[-1] % 2 == 0 else (2, 2, 2, 2)))

    def up(inputs: int, outputs: int, stride: int):
        return nn.ConvTranspose2d(inputs, outputs, 5, stride, padding=2, output_padding=stride - 1, bias=False)

    G = nn.Sequential(
        nn.Linear(100, 12544, bias=False), nn.BatchNorm1d(12544), nn.LeakyReLU(0.3), nn.Unflatten(1, (256, 7, 7)),
        up(256, 128, 1), nn.BatchNorm2d(128), nn.LeakyReLU(0.3),
        up(128, 64, 2), nn.BatchNorm2d(64), nn.LeakyReLU(0.3),
        up(64, 1, 2), nn.Tanh(),
    )  # fmt: skip
    D = nn.Sequential(
        Same(1, 64, 5, 2), nn.LeakyReLU(0.3), nn.Dropout(0.3),
        Same(64, 128, 5, 2), nn.LeakyReLU(0.3), nn.Dropout(0.3),
        nn.Flatten(), nn.Linear(6272, 1),
    )  # fmt: skip
    return G, D


def plain_pytorch(shared: bool = False) -> float:
    """The loop of most scripts: new fakes for each network, or the same (`shared`, as in PyTorch's own example)."""
    import torch
    from torch.nn.functional import binary_cross_entropy_with_logits as bce

    torch.manual_seed(0)
    G, D = plain_networks()
    g_opt, d_opt = (torch.optim.Adam(net.parameters(), 1e-4) for net in (G, D))
    data = torch.from_numpy(digits()).permute(0, 3, 1, 2).contiguous()
    one, zero = torch.ones(BATCH, 1), torch.zeros(BATCH, 1)

    def step() -> None:
        real = data[torch.randint(len(data), (BATCH,))]
        fake = G(torch.randn(BATCH, 100))
        d_loss = bce(D(real), one) + bce(D(fake.detach()), zero)
        d_opt.zero_grad()
        d_loss.backward()
        d_opt.step()
        g_loss = bce(D(fake if shared else G(torch.randn(BATCH, 100))), one)
        g_opt.zero_grad()
        g_loss.backward()
        g_opt.step()

    return timed(step)


def tensorflow_networks():
    from tensorflow.keras import Sequential, layers

    G = Sequential([
        layers.Input((100,)), layers.Dense(12544, use_bias=False), layers.BatchNormalization(), layers.LeakyReLU(0.3),
        layers.Reshape((7, 7, 256)),
        layers.Conv2DTranspose(128, 5, 1, "same", use_bias=False), layers.BatchNormalization(), layers.LeakyReLU(0.3),
        layers.Conv2DTranspose(64, 5, 2, "same", use_bias=False), layers.BatchNormalization(), layers.LeakyReLU(0.3),
        layers.Conv2DTranspose(1, 5, 2, "same", use_bias=False, activation="tanh"),
    ])  # fmt: skip
    D = Sequential([
        layers.Input((28, 28, 1)), layers.Conv2D(64, 5, 2, "same"), layers.LeakyReLU(0.3), layers.Dropout(0.3),
        layers.Conv2D(128, 5, 2, "same"), layers.LeakyReLU(0.3), layers.Dropout(0.3), layers.Flatten(), layers.Dense(1),
    ])  # fmt: skip
    return G, D


def tensorflow(policy: str = "float32") -> float:
    """The TensorFlow DCGAN tutorial's networks and its compiled train step."""
    import os

    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import tensorflow as tf

    tf.keras.mixed_precision.set_global_policy(policy)
    G, D = tensorflow_networks()
    bce = tf.keras.losses.BinaryCrossentropy(from_logits=True)
    g_opt, d_opt = tf.keras.optimizers.Adam(1e-4), tf.keras.optimizers.Adam(1e-4)
    batches = iter(tf.data.Dataset.from_tensor_slices(digits()).shuffle(8 * BATCH).batch(BATCH, True).repeat())

    @tf.function
    def train_step(real):
        with tf.GradientTape() as g_tape, tf.GradientTape() as d_tape:
            fake = G(tf.random.normal([BATCH, 100]), training=True)
            on_real, on_fake = (tf.cast(D(x, training=True), tf.float32) for x in (real, fake))
            g_loss = bce(tf.ones_like(on_fake), on_fake)
            d_loss = bce(tf.ones_like(on_real), on_real) + bce(tf.zeros_like(on_fake), on_fake)
        g_opt.apply_gradients(zip(g_tape.gradient(g_loss, G.trainable_variables), G.trainable_variables, strict=True))
        d_opt.apply_gradients(zip(d_tape.gradient(d_loss, D.trainable_variables), D.trainable_variables, strict=True))

    return timed(lambda: train_step(next(batches)))


def direct() -> float:
    """Images/s if every multiply-add ran as fast as in a large convolution."""
    import torch

    conv = torch.nn.Conv2d(256, 256, 3, padding=1).to(memory_format=torch.channels_last)
    x = torch.randn(64, 256, 16, 16).to(memory_format=torch.channels_last)
    with torch.no_grad():
        conv(x)
        started = time.perf_counter()
        for _ in range(8):
            conv(x)
    return 8 * 2 * x.numel() * 256 * 9 / (time.perf_counter() - started) / STEP_FLOP


CONTENDERS = {
    "mulligan": mulligan,
    "mulligan bf16": lambda: mulligan("bf16"),
    "plain pytorch": plain_pytorch,
    "plain pytorch, shared fakes": lambda: plain_pytorch(shared=True),
    "tensorflow": tensorflow,
    "tensorflow bf16": lambda: tensorflow("mixed_bfloat16"),
    "all at a convolution's speed": direct,
}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--tensorflow", default=sys.executable, help="interpreter that has TensorFlow")
    arguments.add_argument("--contender", help=argparse.SUPPRESS)
    options = arguments.parse_args()
    if options.contender:
        print(json.dumps(CONTENDERS[options.contender]()))
        return
    speeds: dict[str, list[float]] = {name: [] for name in CONTENDERS}
    for _ in range(options.rounds):
        for name in CONTENDERS:
            python = options.tensorflow if name.startswith("tensorflow") else sys.executable
            done = subprocess.run([python, __file__, "--contender", name], capture_output=True, text=True)
            if done.returncode:
                print(f"{name}: left out: {done.stderr.strip().splitlines()[-1]}", file=sys.stderr)
                continue
            speeds[name].append(json.loads(done.stdout.splitlines()[-1]))
            print(f"{name:30s} {speeds[name][-1]:8.1f} images/s", flush=True)
    ours = speeds["mulligan"]
    table = {
        name: {
            "images_per_second": round(statistics.median(found), 1),
            "spread": [round(min(found), 1), round(max(found), 1)],
            "mulligan_is_times": round(statistics.median(a / b for a, b in zip(ours, found, strict=True)), 3),
        }
        for name, found in speeds.items()
        if len(found) == len(ours)
    }
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps({"batch": BATCH, "rounds": options.rounds, "contenders": table}, indent=2) + "\n")
    for name, row in table.items():
        print(f"{name:30s} {row['images_per_second']:8.1f} images/s; mulligan is {row['mulligan_is_times']:.2f} times")


if __name__ == "__main__":
    main()
