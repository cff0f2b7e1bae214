"""The one error that is the user's to mend."""


class InputError(Exception):
    """A file or setting that cannot be used: one line, what, where, what to do."""
