# SPDX-License-Identifier: Apache-2.0
"""Errors that end a command, each with the exit code that it ends with."""

__all__ = ["CheckFailedError", "MissingToolError", "TritforgeError", "UserError"]


class TritforgeError(Exception):
    """An error whose message is all that the user needs: no traceback is shown."""

    exit_code = 1


class CheckFailedError(TritforgeError):
    """Something was built and is wrong: a lint finding, a mismatch, a tool that failed."""

    exit_code = 1


class UserError(TritforgeError):
    """The request cannot be met as it was put: an unknown name, a bad value, an existing file."""

    exit_code = 2


class MissingToolError(TritforgeError):
    """A tool that the command needs is absent or too old; the message says how to mend it."""

    exit_code = 3
