"""Recipes: one Python file each, with `get_config()`."""
