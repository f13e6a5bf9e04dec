"""Versions of the files of a run folder. Files of an older version are converted when they are read.

`format` in run.json is the version of a folder. Each version has one function that converts JSON to the next version.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mulligan.core.errors import UserError

FORMAT = 2  # the version that is written now

# 1 -> 2: counts are of samples, since not all data are images; standard terms replace Mulligan's own
KEYS = {
    "images": "samples", "images_seen": "samples_seen", "images_lost": "samples_lost", "best_images": "best_samples",
    "budget_images": "budget_samples", "images_per_second": "samples_per_second", "moved": "strength_offset",
    "goods": "restore_points", "since": "fresh_since",
}  # fmt: skip
OPTIONS: dict[str, dict[str, str]] = {  # options that were renamed, by the name of the part
    "style": {"ways": "directions"},
    "patch-nce": {"places": "patches"},
    "identity-nce": {"places": "patches"},
    "unet": {"apart": "own_heads"},
    "translator": {"apart": "own_heads"},
}
READERS = {"digits": "digits", "stacked": "stacked", "ring": "mixture", "grid": "mixture"}  # for files: "images"
VALUES = {  # names of findings and remedies, which are stored in rows and checkpoints
    "other dice": "another seed", "by the book": "proven rules", "numbers that are no numbers": "non-finite numbers",
}  # fmt: skip
DEFAULTS = {"size": None, "labels": False, "channels": None, "max_bad": 0.10, "fit": None}


def upgraded(value: Any, version: int) -> Any:
    """The JSON of any file of a run folder, converted from `version` to the current version."""
    for step in range(version, FORMAT):
        value = _UPGRADES[step](value)
    return value


def upgraded_run(value: dict[str, Any], where: str) -> dict[str, Any]:
    """run.json, converted to the current version. Raises UserError for an unknown version."""
    version = value.get("format") if isinstance(value, dict) else None
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise UserError(f"{where}: does not say which format it has; it is not a run folder of Mulligan")
    if version > FORMAT:
        raise UserError(
            f"{where}: is of format {version}, written by Mulligan {value.get('mulligan', '')}; this version reads up "
            f"to format {FORMAT}: install a newer version (pip install -U mulligan)"
        )
    try:
        value = upgraded(value, version)
        for step in range(version, FORMAT):
            value = _RUN_UPGRADES[step](value)
        _check(value)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise UserError(f"{where}: damaged, or not written by Mulligan ({type(error).__name__}: {error})") from None
    return value | {"format": FORMAT}


def _check(value: dict[str, Any]) -> None:
    """Raises KeyError or TypeError where something is missing, or is of another type, that readers rely on."""
    data, asked = value["data"], value["asked"]["data"]
    for each, kind in (
        (data["sample"]["name"], str), (data["sample"]["shape"], list), (data["classes"], list),
        (data["class_counts"], list), (data["noun"], str), (data["name"], str), (asked["spec"], str),
        (asked["reader"], str), (asked["options"], dict), (value["parts"], list), (value["tracked"], str),
        (value["budget_samples"], int), (value["seed"], int), (value["condition"]["paired"], bool),
        (value["condition"]["fields"], list),
    ):  # fmt: skip
        if not isinstance(each, kind):
            raise TypeError(f"{each!r} is not a {kind.__name__}")
    for field in value["condition"]["fields"]:
        field["name"], field["shape"]
    for part in value["parts"]:
        part["module"], part["path"], part["digest"]


def _to_2(value: Any) -> Any:
    """Renames keys and options, at any depth."""
    if isinstance(value, list):
        return [_to_2(each) for each in value]
    if isinstance(value, str):
        return VALUES.get(value, value)
    if not isinstance(value, dict):
        return value
    options = OPTIONS.get(value.get("name", ""), {}) if isinstance(value.get("name"), str) else {}
    found = {}
    for key, each in value.items():
        if key == "terms" and isinstance(each, dict):  # here the key is the name of a part
            each = {name: _renamed(term, OPTIONS.get(name, {})) for name, term in each.items()}
        if key == "ema_clock" and each == "images":
            each = "samples"
        found[options.get(key, KEYS.get(key, key))] = _to_2(each)
    return found


def _renamed(value: Any, names: dict[str, str]) -> Any:
    return {names.get(key, key): each for key, each in value.items()} if isinstance(value, dict) else value


def _run_to_2(value: dict[str, Any]) -> dict[str, Any]:
    """Converts how run.json describes the samples and the condition of the generator."""
    data, given = dict(value["data"]), dict(value["asked"]["data"])
    shape = data.pop("shape")
    classes, image = len(data["classes"]), value.pop("shown", None)
    fields: list[dict[str, Any]] = []
    if value.pop("by_class", False):
        fields.append({"name": "class", "shape": [], "classes": classes, "along": ""})
    if image:
        channels = image["channels"] - image["mask"] - image["sides"]
        fields.append({"name": "image", "shape": [channels, *shape[1:]], "classes": 0, "along": "HW"})
        if image["mask"]:
            fields.append({"name": "mask", "shape": [1, *shape[1:]], "classes": 0, "along": "HW"})
        if image["sides"]:
            fields.append({"name": "side", "shape": [], "classes": 2, "along": ""})
    kind = "points" if shape == [2] else "image"
    noun = {"points": "points", "image": "images"}[kind]
    spec, pairs, unpaired = given.pop("spec"), given.pop("pairs", False), given.pop("unpaired", False)
    reader = "pairs" if pairs else "unpaired" if unpaired else READERS.get(spec, "images")
    asked = {"spec": spec, "reader": reader, "autoencoder": given.pop("autoencoder", None)}
    valid = {"labels"} if kind == "points" else given.keys()  # "fit" was written for points too, which have no size
    asked["options"] = {key: each for key, each in given.items() if key in valid and each != DEFAULTS.get(key)}
    return value | {
        "asked": value["asked"] | {"data": asked},
        "condition": {"fields": fields, "paired": not (image and image["unpaired"])},
        "parts": [],
        "tracked": "kid",
        "data": data | {"sample": {"name": kind, "shape": shape}, "noun": noun},
    }


_UPGRADES: dict[int, Callable[[Any], Any]] = {1: _to_2}
_RUN_UPGRADES: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {1: _run_to_2}
