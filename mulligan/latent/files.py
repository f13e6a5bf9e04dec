"""Latents of images in a file, as safetensors: points of a latent space, and which generator's it is."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from mulligan.core.errors import UserError
from mulligan.core.run import write_whole
from mulligan.latent.spaces import LatentBatch
from mulligan.metrics.features.net import stamp_of
from mulligan.runs.run import Run

MAKERS = {"latents": "mulligan invert", "directions": "mulligan edit directions"}  # what writes files of each kind


@dataclass(frozen=True)
class Latents:
    """Points of a model's latent space, one for each image: `save` and `read`."""

    space: str  # z, w, or w+
    latents: Tensor  # (N, *shape)
    classes: Tensor | None  # (N,) int64, where G is given any
    of: str  # stamp of the generator
    names: list[str] = field(default_factory=list)  # of the images

    @property
    def batch(self) -> LatentBatch:
        return LatentBatch(self.latents, self.classes)

    def save(self, path: str | Path) -> None:
        tensors = {"latents": self.latents}
        if self.classes is not None:
            tensors["classes"] = self.classes
        write_facts(path, "latents", tensors, {"space": self.space, "of": self.of, "names": self.names})

    @classmethod
    def read(cls, path: str | Path, run: Run | None = None) -> Latents:
        """Raises UserError for a file that holds no latents, or latents of another generator than the run's."""
        tensors, facts = read_facts(path, "latents", run)
        latents = tensors["places" if "places" in tensors else "latents"]  # "places" in older files
        return cls(facts["space"], latents, tensors.get("classes"), facts["of"], facts["names"])


def write_facts(path: str | Path, kind: str, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
    """Tensors in a file, with facts about them as JSON."""
    stored = {name: tensor.cpu().contiguous() for name, tensor in tensors.items()}
    write_whole(Path(path), save(stored, {"facts": json.dumps({"kind": kind} | facts)}))


def read_facts(path: str | Path, kind: str, run: Run | None) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and facts of a file. Raises UserError unless it is of this kind, and made with the run's generator."""
    path = Path(path)
    try:
        with safe_open(path, "pt") as file:
            facts = json.loads((file.metadata() or {}).get("facts", "{}"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, ValueError) as error:
        missing = not path.is_file()
        raise UserError(f"{path}: {'no such file' if missing else f'not a whole safetensors file ({error})'}") from None
    if facts.get("kind") != kind:
        raise UserError(f"{path}: holds no {kind}; {MAKERS[kind]} writes them")
    if run is not None and facts["of"] != stamp_of(run.G):
        raise UserError(f"{path}: its {kind} are of another generator, or another checkpoint, than {run.path} has")
    return tensors, facts
