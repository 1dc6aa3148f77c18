"""The known name that a misspelt one was meant to be."""

from collections.abc import Iterable
from difflib import get_close_matches

__all__ = ["nearest"]


def nearest(word: str, choices: Iterable[str]) -> str:
    """Return the choice closest to a word, whatever the case of the letters.

    Parameters
    ----------
    word : str
        What was written.
    choices : iterable of str
        What is known.

    Returns
    -------
    str
        One of the choices; empty where none is close.

    Examples
    --------
    >>> nearest("N", ["r", "n"]), nearest("tau_betwen", ["mu", "tau_between"]), nearest("x", ["mu"])
    ('n', 'tau_between', '')
    """
    folded: dict[str, str] = {}
    for choice in choices:
        folded.setdefault(choice.casefold(), choice)
    found = get_close_matches(word.casefold(), folded, n=1)
    return folded[found[0]] if found else ""
