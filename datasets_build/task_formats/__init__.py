"""Published sets of tasks, each row as a task of ours; one module for each format.

Each has a function that makes a `ocijax.judge.task.Task` of a row, or refuses the row by an
`InputError` that says why. Where a row has a solution, the task's ``metadata`` keeps it as
``solution``: a program that passes.
"""
