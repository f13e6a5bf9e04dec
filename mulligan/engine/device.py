"""Where and how a game computes: device, precision, memory layout, compilation, and whether bits are repeatable."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import nn

from mulligan.core.errors import UserError
from mulligan.core.step import LatentUpdate, Penalty, Rule

# by a sample's axes: what oneDNN and cuDNN compute convolutions in, so that they need not reorder their input
LAYOUTS = {"HW": torch.channels_last, "THW": torch.channels_last_3d}


@dataclass(frozen=True)
class DeviceSetting:
    """All of it, for one run."""

    device: torch.device
    precision: str = "fp32"  # "fp32", "bf16" or "fp16"
    compile: bool = False  # networks by torch.compile, where `may_compile` allows it
    repeatable: bool = True  # the same bits each time; else cuDNN times its algorithms and takes the fastest

    def make_repeatable(self) -> None:
        """Set in torch, for the process, what `repeatable` says."""
        if self.device.type == "cuda":  # cuDNN would otherwise choose its algorithms by timing
            torch.backends.cudnn.benchmark = not self.repeatable
            torch.backends.cudnn.deterministic = self.repeatable

    def memory_format(self, axes: str) -> torch.memory_format:
        """The layout of networks for samples with these axes."""
        return LAYOUTS.get(axes, torch.preserve_format)

    def autocast(self) -> contextlib.AbstractContextManager:
        if self.precision == "fp32":
            return contextlib.nullcontext()
        dtype = torch.bfloat16 if self.precision == "bf16" else torch.float16
        return torch.autocast(self.device.type, dtype)

    def scaler(self) -> torch.amp.GradScaler:
        """The loss scale of a player; it does nothing but in fp16."""
        return torch.amp.GradScaler(self.device.type, enabled=self.precision == "fp16")

    def compile_networks(self, nets: Iterable[nn.Module], rules: Iterable[Rule]) -> bool:
        """Compile networks in place, and say whether they were. G's average has to be copied from G before."""
        if compiles := self.compile and may_compile(rules):
            for net in nets:
                net.compile()
        return compiles


def device_setting(
    device: str = "auto", precision: str = "auto", *, compile: bool = False, repeatable: bool = True
) -> DeviceSetting:
    """The setting for a device and a precision by name. Raises UserError for what is not here."""
    on = pick_device(device)
    return DeviceSetting(on, pick_precision(precision, on), compile, repeatable)


def pick_device(name: str = "auto") -> torch.device:
    """`auto` is what MULLIGAN_DEVICE names, else the fastest of CUDA, MPS and the CPU that is here."""
    name = os.environ.get("MULLIGAN_DEVICE", name) if name == "auto" else name
    here = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        return torch.device("cuda" if here["cuda"] else "mps" if here["mps"] else "cpu")
    kind = name.partition(":")[0]
    if kind not in here:
        raise UserError(f"--device {name}: valid: auto, {', '.join(here)}")
    if not here[kind]:
        raise UserError(f"--device {name}: this machine has none that torch can use; --device auto takes what is here")
    return torch.device(name)


def pick_precision(wanted: str, device: torch.device) -> str:
    """`auto` is bf16 on a GPU that computes in it, else fp32."""
    if wanted == "auto":
        return "bf16" if device.type == "cuda" and torch.cuda.is_bf16_supported() else "fp32"
    if wanted == "fp16" and device.type != "cuda":
        raise UserError(f"precision=fp16 needs a CUDA device, this run is on {device.type}; use bf16 or fp32")
    return wanted


def may_compile(rules: Iterable[Rule]) -> bool:
    """Whether a game with these rules never differentiates a gradient of a network, which torch.compile cannot do."""
    return not any(
        isinstance(rule, LatentUpdate) or (isinstance(rule, Penalty) and (rule.twice or rule.grad_of)) for rule in rules
    )
