"""A trained model, by its run folder."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mulligan.core import registry
from mulligan.core.condition import Condition, ConditionSpec
from mulligan.core.errors import UserError
from mulligan.core.network import Generator
from mulligan.core.recipe import Recipe
from mulligan.core.run import RunFolder
from mulligan.core.sample import Sample, read_sample
from mulligan.core.seeding import mix
from mulligan.data import Dataset, open_data
from mulligan.engine import checkpoint
from mulligan.engine.device import device_setting
from mulligan.engine.sampling import ClassConditions, draw
from mulligan.kinds.image import ImageSample
from mulligan.measure.evaluation import judged
from mulligan.measure.fakes import Blocks, Fakes
from mulligan.measure.paired import PairedReference
from mulligan.models.decoded import Decoded
from mulligan.runs.autoencoder import read_saved
from mulligan.runs.build import build_networks
from mulligan.runs.dealing import Dealer
from mulligan.runs.parts import bring


class Run:
    """What `train` and `load` return: `run.sample(64)`, `run.evaluate()`, `run.summary`, `run.path`.

    Raises UserError, naming the file, if the folder is not a run or a file in it is damaged.
    """

    def __init__(self, path: str | Path, *, device: str = "auto", which: str = "best") -> None:
        self.folder = RunFolder(path)
        self.path = self.folder.path
        if not self.path.is_dir():
            raise UserError(f"{self.path}: no such run folder")
        self.description = self.folder.describe()
        bring(self.description["parts"], self.path)
        self.recipe = Recipe.read(self.folder.read(self.folder.recipe), where=str(self.folder.recipe))
        self.setting = device_setting(device, "fp32")
        self.device = self.setting.device
        if which not in ("best", "last"):
            raise UserError(f"which={which!r}: valid: best, last")
        self.which = which

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r}: {self.recipe.name} on {self.description['data']['name']})"

    @property
    def summary(self) -> dict[str, Any]:
        return self.folder.read(self.folder.summary)

    @functools.cached_property
    def sample_kind(self) -> Sample:
        """The kind and shape of one sample."""
        return read_sample(self.description["data"]["sample"])

    @functools.cached_property
    def condition(self) -> ConditionSpec:
        """The condition of the generator."""
        return ConditionSpec.read(self.description["condition"])

    @property
    def classes(self) -> list[str]:
        """Names of the classes that G is conditioned on; [] without classes."""
        return self.description["data"]["classes"] if "class" in self.condition else []

    @property
    def class_counts(self) -> list[int]:
        """The number of training samples of each of these classes."""
        return self.description["data"]["class_counts"] if self.classes else []

    @property
    def from_images(self) -> bool:
        """Whether the generator makes images from images."""
        return "image" in self.condition

    @functools.cached_property
    def checkpoint(self) -> checkpoint.Checkpoint:
        """The best checkpoint; the last one if none was evaluated yet or `which` is "last"."""
        best = self.folder.checkpoints / f"{checkpoint.BEST}.safetensors"
        if self.which == "best" and best.exists():
            return checkpoint.read(best)
        last, passed_over = checkpoint.read_last(self.folder.checkpoints)
        if last is None:
            raise UserError(passed_over[0] if passed_over else f"{self.folder.checkpoints}: holds no checkpoint yet")
        return last

    @functools.cached_property
    def G(self) -> Generator:
        """The moving average of the generator, ready for sampling: `G(z, cond)` -> samples (B, *shape)."""
        latents = self.description.get("autoencoder")  # for a run on latents: their shape, and the autoencoder
        sample = ImageSample(shape=tuple(latents["shape"])) if latents else self.sample_kind
        G, _ = build_networks(self.recipe, sample, self.condition, self.setting)
        try:
            G.load_state_dict(checkpoint.unflatten("ema", self.checkpoint.tensors))
        except RuntimeError as error:
            raise UserError(
                f"{self.folder.checkpoints}: its weights do not fit {self.folder.recipe}: {error}"
            ) from None
        G.eval().requires_grad_(False)
        if not latents:
            return G
        spec = self.description["asked"]["data"]["autoencoder"]
        return Decoded(G, read_saved(self.folder.autoencoder, spec, self.device))

    def class_id(self, name: str | int | None) -> int | None:
        """The id of a class that is given by its name or number."""
        if name is None:
            return None
        if not self.classes:
            raise UserError(f"{self.path}: was trained without classes; --class needs a run trained by class")
        if str(name) in self.classes:
            return self.classes.index(str(name))
        raise UserError(f"class {name!r} is not one of {', '.join(self.classes)}")

    def draw(
        self,
        n: int,
        *,
        seed: int = 0,
        class_: str | int | None = None,
        truncation: float = 1.0,
        reference: PairedReference | None = None,
    ) -> Iterator[tuple[Tensor, Condition]]:
        """Blocks of generated samples: records (b, ...), and their condition.

        If G makes images from images, its inputs are held-out images of its data, which must be available.
        """
        if n < 1:
            raise UserError(f"-n {n}: must be at least 1")
        wanted = self.class_id(class_)
        reference = reference or (PairedReference(self.dealer.heldout) if self.from_images else None)
        return draw(
            self.G, self.sample_kind, n, seed=seed, truncation=truncation, device=self.device,
            conditions=reference.conditions if reference else ClassConditions(seed, self.class_counts, wanted),
        )  # fmt: skip

    def sample(
        self,
        n: int = 64,
        *,
        seed: int = 0,
        class_: str | int | None = None,
        truncation: float = 1.0,
        out: str | Path | None = None,
    ) -> Tensor:
        """`n` samples as records, for images uint8 (n, C, H, W); also written to `out`, in the format of its suffix.

        Sample i of a seed does not depend on `n`.
        """
        blocks = list(self.draw(n, seed=seed, class_=class_, truncation=truncation))
        records = torch.cat([made for made, _ in blocks])
        if out is not None:
            labels = torch.cat([cond["class"] for _, cond in blocks]) if self.classes else None
            self.sample_kind.save(Path(out), records, labels)
        return records

    def open_data(self) -> Dataset:
        """The data set that the run was trained on. Raises UserError if it has changed since."""
        asked = self.description["asked"]["data"]
        data = open_data(asked["spec"], reader=asked["reader"], **asked["options"])
        if data.fingerprint != self.description["data"]["fingerprint"]:
            raise UserError(f"{self.description['data']['spec']}: its data have changed since {self.path} was trained")
        return data

    @functools.cached_property
    def dealer(self) -> Dealer:
        """Batches of the run's data, as in training."""
        data = self.open_data()
        task = self.recipe.task.build(registry.tasks, data)
        return Dealer(task, data, self.device, self.description["seed"])

    def fakes(self) -> Fakes:
        """Samples of the run, to be evaluated; those made from held-out images are also compared with their targets."""
        reference = PairedReference(self.dealer.heldout, self.condition.paired) if self.from_images else None

        def blocks(count: int, seed: int) -> Blocks:
            made = self.draw(count, seed=mix("judge", seed), reference=reference)
            return reference.compared(made) if reference else made

        return Fakes(
            name=f"{self.path.name} after {self.checkpoint.state['samples']:,} {self.sample_kind.noun}",
            sample=self.sample_kind,
            classes=self.classes,
            count=None,
            draw=blocks,
            trained_on=self.open_data(),
            task=self.recipe.task.name if reference and reference.paired else "",
            similarity=reference.similarity if reference else dict,
        )

    def evaluate(
        self, *, features: str = "auto", split: str = "heldout", samples: int | None = None, seed: int = 0
    ) -> dict[str, Any]:
        """Measure samples against the real ones of its data (`measure.evaluation.judged`)."""
        fakes = self.fakes()
        assert fakes.trained_on is not None
        return judged(
            fakes, fakes.trained_on, features=features, split=split, samples=samples, seed=seed,
            device=self.device,
        )  # fmt: skip


def sample(
    run: str | Path | Run,
    n: int = 64,
    *,
    seed: int = 0,
    class_: str | int | None = None,
    truncation: float = 1.0,
    out: str | Path | None = None,
) -> Tensor:
    """`Run.sample` for a run or the folder of a run."""
    run = run if isinstance(run, Run) else Run(run)
    return run.sample(n, seed=seed, class_=class_, truncation=truncation, out=out)
