"""The one exception that is a message to the user, not a defect."""


class UserError(Exception):
    """Something the user can put right; the commands print it as one line and exit with 2."""
