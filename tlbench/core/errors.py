"""The one exception that is shown to a user as a sentence instead of a traceback."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(Exception):
    """Something the user can mend.

    Args:
        message: What is wrong and where, starting with the file (and line) or the name at fault.
        hint: What to do about it, in a sentence; empty when the message says it all.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  {self.hint}" if self.hint else self.message

    def at(self, line: str) -> UserError:
        """Return the same error with a file and line before the message; itself where they are empty."""
        return UserError(f"{line}: {self.message}", self.hint) if line else self

    def __reduce__(self) -> tuple[type[UserError], tuple[str, str]]:
        return type(self), (self.message, self.hint)


class UnknownNameError(ValueError):
    """A value that is none of some names, raised by validators; the hint names the nearest one."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


def together(errors: Iterable[UserError]) -> UserError:
    """Return one error that says what each of several says, equal ones once."""
    found = list({str(error): error for error in errors}.values())
    return found[0] if len(found) == 1 else UserError("\n".join(map(str, found)))


def nearest(name: str, choices: Iterable[str]) -> str:
    """Return a hint that names the valid choice nearest to ``name``, or the first few choices."""
    known = sorted(choices)
    lowered = {choice.lower(): choice for choice in known}
    close = get_close_matches(str(name).lower(), list(lowered), n=1, cutoff=0.5)
    if close:
        return f"did you mean {lowered[close[0]]!r}?"
    shown = ", ".join(known[:12])
    return f"valid: {shown}" + (f", ... ({len(known)} in all)" if len(known) > 12 else "")
