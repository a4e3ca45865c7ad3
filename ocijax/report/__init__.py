"""Runs of an evaluation as tables, plots and a page in which each trajectory can be read."""
