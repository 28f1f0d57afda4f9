"""The host side of edgepack: from a recipe and a target to a bundle."""
