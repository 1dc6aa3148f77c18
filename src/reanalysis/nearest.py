"""Names that were meant to be the same: the known one nearest a misspelt one, and look-alikes."""

import unicodedata
from collections.abc import Iterable
from difflib import get_close_matches

__all__ = ["folded", "nearest"]


def folded(name: str) -> str:
    """Return what is left of a name without case, spaces and the form of its letters.

    Parameters
    ----------
    name : str
        Any text.

    Returns
    -------
    str
        The same for two names that a reader takes for one.

    Examples
    --------
    >>> folded("Mu\u0308ller  (2001)") == folded(" M\u00fcller (2001)")
    True
    """
    shown = (c for c in unicodedata.normalize("NFKC", name) if unicodedata.category(c) != "Cf")
    return " ".join("".join(shown).casefold().split())


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
    known: dict[str, str] = {}
    for choice in choices:
        known.setdefault(choice.casefold(), choice)
    found = get_close_matches(word.casefold(), known, n=1)
    return known[found[0]] if found else ""
