"""Data sets: opened by name or path, checked, decoded once into a cache, split in two."""

from mulligan.data import digits, images, pairs, points, stacked, unpaired  # noqa: F401  (their readers register)
from mulligan.data.checkup import CheckUp
from mulligan.data.dataset import Dataset, Modes
from mulligan.data.opening import Opening, built_in, open_data, reader_of

__all__ = ["CheckUp", "Dataset", "Modes", "Opening", "built_in", "open_data", "reader_of"]
