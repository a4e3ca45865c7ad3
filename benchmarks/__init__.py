"""Commands that print our figures, beside a peer's where there is one."""
