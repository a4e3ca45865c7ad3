"""Small Python tasks whose instruction leaves one thing open, for the quickstart.

An instruction such as "keep the even numbers, double each and put them in order" has several
readings (smallest first, largest first, ...), all of them sensible. Only running the code
against the task's tests settles which one is meant.
"""
