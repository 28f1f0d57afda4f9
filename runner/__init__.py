"""The device side of edgepack: opens a bundle, measures what is in it, and compares two reports."""

__version__ = "0.1.0"
