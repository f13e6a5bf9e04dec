"""The condition of a generator: named fields, with a schema before training and tensors in a batch.

The name of a field gives its meaning, never its dtype or its position among channels:

    class   (B,) int64, a class id              text    (B, T, E) float, embedded tokens
    image   (B, C, H, W) float in [-1, 1]       vector  (B, E) float
    mask    (B, 1, H, W) float, 1 where the image is to be generated, 0 where it is known and stays unchanged
    side    (B,) int64, the set that the result is to belong to, of two sets of samples: 0 the second, 1 the first
    series  (B, F, L) float, along the sample's own axis L

Legend: B batch, C channels, T tokens, E size of an embedding, F numbers per step.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Field:
    """One field of a condition: `Field("class", classes=10)`, `Field("image", (3, 64, 64), along="HW")`."""

    name: str
    shape: tuple[int, ...] = ()  # of one sample
    classes: int = 0  # of class ids: the number of classes
    along: str = ""  # the sample's axes that match its last axes: it is cropped and mirrored with the sample


@dataclass(frozen=True)
class ConditionSpec:
    """The fields of a condition, by name. Falsy if there are none.

    `paired`: the condition belongs to the real sample of its row in the batch, so a discriminator judges both together.
    Otherwise it was drawn independently, as in translation between two sets without pairs.
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
        """The number of classes; 0 without a class field."""
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
    """A condition that is only a class id; empty for 0 classes."""
    return ConditionSpec((Field("class", classes=classes),)) if classes else NOTHING


class Condition(dict[str, Tensor]):
    """The fields of a batch by name, each (B, ...). Empty for an unconditional generator.

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
        """A copy in which some fields are replaced or added."""
        return Condition({**self, **fields})

    def without(self, name: str) -> Condition:
        return Condition({key: tensor for key, tensor in self.items() if key != name})

    def repeated(self, count: int) -> Condition:
        """The first row, `count` times."""
        return Condition({name: tensor[:1].expand(count, *tensor.shape[1:]) for name, tensor in self.items()})

    @staticmethod
    def cat(parts: Sequence[Condition]) -> Condition:
        return Condition({name: torch.cat([part[name] for part in parts]) for name in parts[0]})
