"""A generator that makes images from images, applied to files of any size."""
