"""The base of the errors that say what is wrong and what to do."""


class RolloutError(Exception):
    """An error of this app, with a message for people."""
