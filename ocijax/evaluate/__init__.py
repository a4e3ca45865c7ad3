"""Measures a model on a benchmark: protocols, durable results and their summary."""
