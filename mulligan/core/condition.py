"""What a generator is told beside its noise: named fields, their schema before training and their tensors in a batch.

A field's name says what it means, never its dtype or its place among channels:

    class   (B,) int64, a class id              text    (B, T, E) float, embedded tokens
    image   (B, C, H, W) float in [-1, 1]       vector  (B, E) float
    mask    (B, 1, H, W) float, 1 where the image is to be made, 0 where it is known and stays
    side    (B,) int64, of two sets of samples the one that the result is to belong to: 0 the second, 1 the first
    series  (B, F, L) float, along the sample's own axis L

Legend: B batch, C channels, T tokens, E numbers of an embedding, F numbers a step.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Field:
    """One thing that a generator is told: `Field("class", classes=10)`, `Field("image", (3, 64, 64), along="HW")`."""

    name: str
    shape: tuple[int, ...] = ()  # of one sample
    classes: int = 0  # of ids: how many there are
    along: str = ""  # the sample's axes that its last axes run along: cropped and mirrored with the sample


@dataclass(frozen=True)
class ConditionSpec:
    """The fields of a condition, by name. Falsy where a generator is told nothing.

    `paired`: what is told goes with the real sample of its batch, so a discriminator judges both together. Otherwise
    it was drawn by itself, as in translation between two sets without pairs.
    """

    fields: tuple[Field, ...] = ()
    paired: bool = True

    def __bool__(self) -> bool:
        return bool(self.fields)

    def __iter__(self) -> Iterator[Field]:
        return iter(self.fields)

    def __contains__(self, name: object) -> bool:
        return any(field.name == name for field in self.fields)

    def __getitem__(self, name: str) -> Field:
        for field in self.fields:
            if field.name == name:
                return field
        raise KeyError(name)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(field.name for field in self.fields)

    @property
    def classes(self) -> int:
        """How many classes there are; 0 where none is told."""
        return self["class"].classes if "class" in self else 0

    def without(self, name: str) -> ConditionSpec:
        return ConditionSpec(tuple(field for field in self.fields if field.name != name), self.paired)

    def as_json(self) -> dict[str, Any]:
        return {"fields": [asdict(each) | {"shape": list(each.shape)} for each in self.fields], "paired": self.paired}

    @staticmethod
    def read(value: Mapping[str, Any]) -> ConditionSpec:
        """From its JSON form."""
        fields = tuple(Field(**{**each, "shape": tuple(each["shape"])}) for each in value["fields"])
        return ConditionSpec(fields, value["paired"])


NOTHING = ConditionSpec()


def by_class(classes: int) -> ConditionSpec:
    """A class id and nothing else; nothing at all for 0 classes."""
    return ConditionSpec((Field("class", classes=classes),)) if classes else NOTHING


class Condition(dict[str, Tensor]):
    """The fields of a batch by name, each (B, ...). Empty where a generator is told nothing.

    >>> cond = Condition({"class": torch.tensor([3, 1, 4])})
    >>> cond.take(slice(2))["class"].tolist(), cond.get("image")
    ([3, 1], None)
    """

    def take(self, rows: slice | Sequence[int] | Tensor) -> Condition:
        """Some rows of every field."""
        return Condition({name: tensor[rows] for name, tensor in self.items()})

    def to(self, device: torch.device | str) -> Condition:
        return Condition({name: tensor.to(device) for name, tensor in self.items()})

    def changed(self, **fields: Tensor) -> Condition:
        """The same with other tensors for some fields, or more of them."""
        return Condition({**self, **fields})

    def without(self, name: str) -> Condition:
        return Condition({key: tensor for key, tensor in self.items() if key != name})

    def repeated(self, count: int) -> Condition:
        """The first row, `count` times."""
        return Condition({name: tensor[:1].expand(count, *tensor.shape[1:]) for name, tensor in self.items()})

    @staticmethod
    def cat(parts: Sequence[Condition]) -> Condition:
        return Condition({name: torch.cat([part[name] for part in parts]) for name in parts[0]})
