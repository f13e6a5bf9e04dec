"""Data sets of images: opened by name or path, checked up, decoded once into a cache, parted in two."""

from mulligan.data.checkup import CheckUp
from mulligan.data.dataset import ImageData
from mulligan.data.opening import open_data

__all__ = ["CheckUp", "ImageData", "open_data"]
