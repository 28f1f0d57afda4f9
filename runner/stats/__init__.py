"""Estimators and their intervals: pure functions of a few numbers, with their sources. None assumes normality."""

from runner.stats.quantiles import median, median_interval, percentile, quantile
from runner.stats.ranks import hodges_lehmann_ratio

__all__ = ["hodges_lehmann_ratio", "median", "median_interval", "percentile", "quantile"]
