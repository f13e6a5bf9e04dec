"""Data sets of images: opened by name or path, checked up, decoded once into a cache, parted in two."""

from mulligan.data.checkup import CheckUp
from mulligan.data.dataset import ImageData
from mulligan.data.latents import LatentData
from mulligan.data.opening import BUILT_IN, open_data
from mulligan.data.points import PointData
from mulligan.data.stacked import StackedData

Data = ImageData | PointData | StackedData
Dealt = Data | LatentData  # what a game is played with

__all__ = ["BUILT_IN", "CheckUp", "Data", "Dealt", "ImageData", "LatentData", "PointData", "StackedData", "open_data"]
