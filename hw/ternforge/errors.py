"""Errors that are the user's to fix, told in one sentence."""

from collections.abc import Iterable
from difflib import get_close_matches

__all__ = ["UserError", "suggestion", "unknown"]


class UserError(Exception):
    """Bad input: the command line prints the message in one line and exits with code 2.

    The message names what is wrong, the rule and the value, as in "--tokens must be positive, not
    0". A subclass may set another exit code, for failures that are not about the input.
    """

    exit_code = 2


def suggestion(value: str, choices: Iterable[str]) -> str:
    """End of a sentence that offers the nearest of ``choices``, or lists them if none is near."""
    choices = sorted(choices)
    folded = {choice.casefold(): choice for choice in choices}
    near = [folded[name] for name in get_close_matches(value.casefold(), folded, n=2, cutoff=0.5)]
    if near:
        return "did you mean " + " or ".join(repr(name) for name in near) + "?"
    if choices:
        return "choose from " + ", ".join(choices)
    return "there is none"


def unknown(kind: str, value: str, choices: Iterable[str]) -> UserError:
    """The error for a name that is not in a registry, with the nearest names offered.

    >>> str(unknown("board", "ulx3s-85", ["ulx3s-85f", "icebreaker"]))
    "unknown board 'ulx3s-85': did you mean 'ulx3s-85f'?"
    """
    return UserError(f"unknown {kind} {value!r}: {suggestion(value, choices)}")
