"""The decoder, its shape and its parameter table."""
