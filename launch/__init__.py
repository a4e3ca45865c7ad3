"""Programs that train and use models."""
