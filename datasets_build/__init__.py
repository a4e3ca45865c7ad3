"""Programs that make data."""
