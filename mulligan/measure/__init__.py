"""Metrics for samples from any source: the judge, its input, and the evaluation of its results."""
