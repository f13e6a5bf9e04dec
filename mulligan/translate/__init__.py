"""A generator that makes pictures from pictures, applied to files of any size."""
