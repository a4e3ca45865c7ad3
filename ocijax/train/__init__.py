"""Loss, step, checkpoints and the training loop."""
