"""What a model is told, in files that one can read and replace: turns.toml, paper.toml."""
