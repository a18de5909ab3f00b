"""Errors that a user can mend."""


class UserError(Exception):
    """Bad input. The message names the file or key, the value, what is allowed and the remedy."""
