"""The one exception for mistakes of the user, so that a command line can tell them from defects."""

__all__ = ["TritforgeError"]


class TritforgeError(Exception):
    """A mistake of the user: its text is one sentence that says what was wrong, where, and what is right."""
