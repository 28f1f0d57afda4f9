"""Figures about edgepack itself, printed by `make bench`."""
