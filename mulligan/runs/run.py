"""A trained model, by its run folder."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mulligan.runs.autoencoder import read_kept
from mulligan.runs.build import build_networks, load_parts, pick_device
from mulligan.measure.evaluation import judged
from mulligan.measure.fakes import Blocks, Fakes
from mulligan.measure.paired import Compared
from mulligan.runs.dealing import PairDealer, UnpairedDealer, dealer
from mulligan.core import registry
from mulligan.core.batch import Shown
from mulligan.core.errors import UserError
from mulligan.core.recipe import Recipe
from mulligan.core.run import RunFolder, read_json
from mulligan.core.seeding import mix
from mulligan.data import Data, open_data
from mulligan.engine import checkpoint
from mulligan.models.decoded import Decoded
from mulligan.kinds.pictures import save_images
from mulligan.engine.sampling import draw


class Run:
    """What `train` leaves and `load` finds: `run.sample(64)`, `run.evaluate()`, `run.summary`, `run.path`.

    Raises UserError, naming the file, when the folder is no run or something in it is not whole.
    """

    def __init__(self, path: str | Path, *, device: str = "auto", which: str = "best") -> None:
        load_parts()
        self.folder = RunFolder(path)
        self.path = self.folder.path
        if not self.path.is_dir():
            raise UserError(f"{self.path}: no such run folder")
        self.description = read_json(self.folder.run)
        self.recipe = Recipe.read(read_json(self.folder.recipe), where=str(self.folder.recipe))
        self.device = pick_device(device)
        self.which = which

    @property
    def summary(self) -> dict[str, Any]:
        return read_json(self.folder.summary)

    @property
    def classes(self) -> list[str]:
        """Names of the classes that G is told; [] where it is told none."""
        return self.description["data"]["classes"] if self.description["by_class"] else []

    @property
    def shown(self) -> Shown | None:
        """The image that G makes its own from, if it does."""
        told = self.description.get("shown")
        return Shown(**told) if told else None

    @functools.cached_property
    def checkpoint(self) -> checkpoint.Checkpoint:
        """The best checkpoint, or the last where none was judged yet or `which` is "last"."""
        best = self.folder.checkpoints / f"{checkpoint.BEST}.safetensors"
        if self.which == "best" and best.exists():
            return checkpoint.read(best)
        last, passed_over = checkpoint.read_last(self.folder.checkpoints)
        if last is None:
            raise UserError(passed_over[0] if passed_over else f"{self.folder.checkpoints}: holds no checkpoint yet")
        return last

    @functools.cached_property
    def G(self) -> nn.Module:
        """The moving average of the generator, ready to sample: `G(z, cond)` -> images in [-1, 1]."""
        behind = self.description.get("autoencoder")  # what it was played behind, and the shape that G knows
        shape = tuple((behind or self.description["data"])["shape"])
        G, _ = build_networks(self.recipe, shape, len(self.classes), self.device, self.shown)
        try:
            G.load_state_dict(checkpoint.unflatten("ema", self.checkpoint.tensors))
        except RuntimeError as error:
            raise UserError(
                f"{self.folder.checkpoints}: its weights do not fit {self.folder.recipe}: {error}"
            ) from None
        G.eval().requires_grad_(False)
        if not behind:
            return G
        spec = self.description["asked"]["data"]["autoencoder"]
        return Decoded(G, read_kept(self.folder.autoencoder, spec, self.device))

    def class_id(self, name: str | int | None) -> int | None:
        """A class by its name or its number."""
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
        held: Compared | None = None,
    ) -> Iterator[tuple[Tensor, Tensor | None]]:
        """Blocks of samples as they are made: uint8 (b, C, *space), and their class ids or None.

        Where G makes images from others, these are held-out ones of its data, which have to be there.
        """
        if n < 1:
            raise UserError(f"-n {n}: at least 1")
        counts = self.description["data"]["class_counts"] if self.classes else ()
        held = held or (Compared(self.pairs.heldout) if self.shown else None)
        return draw(
            self.G, n, seed=seed, class_counts=counts, wanted=self.class_id(class_), truncation=truncation,
            shown=held and held.shown, device=self.device,
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
        """`n` samples, uint8 (n, C, *space); also written to `out` (.png grid, .npz, or a folder) if given.

        Sample i of a seed is the same picture whatever `n` is.
        """
        blocks = list(self.draw(n, seed=seed, class_=class_, truncation=truncation))
        images = torch.cat([images for images, _ in blocks])
        if out is not None:
            labels = torch.cat([ids for _, ids in blocks]) if self.classes else None
            save_images(Path(out), images, labels)
        return images

    def open_data(self) -> Data:
        """The data set that the run was trained on, refused if it has changed since."""
        asked = {name: value for name, value in self.description["asked"]["data"].items() if name != "autoencoder"}
        data = open_data(asked.pop("spec"), **asked)
        if data.fingerprint != self.description["data"]["fingerprint"]:
            raise UserError(
                f"{self.description['data']['spec']}: its images have changed since {self.path} was trained"
            )
        return data

    @functools.cached_property
    def pairs(self) -> PairDealer | UnpairedDealer:
        """Images of its data as G is shown them, and as they are."""
        data = self.open_data()
        task = self.recipe.task.build(registry.tasks, data)
        return dealer(task, data, self.device, self.description["seed"])

    def fakes(self) -> Fakes:
        """Samples of it, to be judged; where they are made from held-out images, also beside these."""
        held = Compared(self.pairs.heldout, not self.shown.unpaired) if self.shown else None

        def blocks(count: int, seed: int) -> Blocks:
            made = self.draw(count, seed=mix("judge", seed), held=held)
            return held.watch(made) if held else made

        return Fakes(
            name=f"{self.path.name} after {self.checkpoint.state['images']:,} images",
            shape=tuple(self.description["data"]["shape"]),
            classes=self.classes,
            count=None,
            draw=blocks,
            trained_on=self.open_data(),
            **({"task": self.recipe.task.name if held.paired else "", "beside": held.near} if held else {}),
        )

    def evaluate(
        self, *, features: str = "auto", split: str = "heldout", samples: int | None = None, seed: int = 0
    ) -> dict[str, Any]:
        """Measure samples against the real images of its data (`evaluation.judged`)."""
        return judged(
            self.fakes(), self.open_data(), features=features, split=split, samples=samples, seed=seed,
            device=self.device,
        )  # fmt: skip
