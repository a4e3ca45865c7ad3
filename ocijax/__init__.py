"""Code models that write code, run it, read what happened and repair it, in JAX."""
