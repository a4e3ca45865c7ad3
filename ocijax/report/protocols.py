"""What the paper calls the protocols, and those that it does not have."""

LABELS = {
    "single": "",
    "execution_oracle": "+ Execution Feedback",
    "execution": "+ Execution Feedback (public tests)",
    "human": "+ Synth. Human Feedback",
    "human_oracle": "+ Synth. Human Feedback (Oracle)",
    "resample": "+ Resampling",
    "resample_tokens": "+ Resampling (as many tokens)",
    "scrambled": "+ Another Task's Feedback",
    "other": "",
}
"""As rows of a table name what is added to one answer; that of ``single`` is the model's own row.

The paper's execution feedback shows the tests that score, as ``execution_oracle`` does.
"""

SHOWN_TESTS = (
    "Shown tests are those that end a task: public ones, or where the protocol shows tests that "
    "score, these."
)
"""For the notes of what counts them."""


def label(protocol: str) -> str:
    """How a table's row calls a protocol; one that is not known by its own name."""
    return LABELS.get(protocol, f"+ {protocol}")


def order(protocol: str) -> int:
    """Where a protocol stands among others in a table."""
    known = list(LABELS)
    return known.index(protocol) if protocol in known else len(known)
