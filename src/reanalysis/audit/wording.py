"""How the findings print numbers."""

__all__ = ["listed", "number", "p_value"]

SMALLEST_P = 0.0001


def number(value: float, digits: int = 3) -> str:
    """Return a number in a few significant digits, whole numbers in full."""
    if float(value).is_integer() and abs(value) < 1e9:
        return str(int(value))
    return f"{value:.{digits}g}"


def p_value(p: float) -> str:
    """Return ``p = …`` or ``p < .0001``."""
    return f"p = {p:.2g}" if p >= SMALLEST_P else f"p < {SMALLEST_P:.4f}"


def listed(words: list[str], last: str = "and") -> str:
    """Join words: ``a, b and c``."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} {last} {words[-1]}"
