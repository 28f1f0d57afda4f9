"""Runs on a GPU, where there is one."""
