"""Judges programs: tasks, EvalPlus's rules, one checker for the loop and for the score."""
