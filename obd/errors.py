"""The one exception for everything a user can put right."""

from __future__ import annotations


class ObdError(Exception):
    """A problem stated in one plain sentence: what is wrong and what to do.

    The command line prints it and exits with status 2; the app shows it in place.  Programming errors are
    never wrapped in this class.
    """


class Cancelled(Exception):
    """Raised inside a long computation after ``should_stop()`` returned true."""
