"""Checks shared by the conversions: every error names the argument, its position and its value.

A missing value is an error here. Which rows have enough to be converted is a question about the
table, and is answered where the table is read.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["Vector", "numbers", "require", "require_correlation"]

Vector = NDArray[np.float64]


def numbers(**arguments: ArrayLike) -> tuple[Vector, ...]:
    """Return the arguments as finite float arrays that broadcast against each other.

    Parameters
    ----------
    **arguments : array_like
        Values by argument name; the name appears in the error.

    Returns
    -------
    tuple of numpy.ndarray
        One array per argument, in order, each with its own shape.

    Raises
    ------
    ValueError
        If a value is not a finite number, or if the shapes do not fit together.
    """
    arrays = []
    for name, values in arguments.items():
        try:
            array = np.asarray(values, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{name} must be numbers: {error}.") from error
        require(name, array, np.isfinite(array), "a finite number")
        arrays.append(array)
    try:
        np.broadcast_shapes(*(array.shape for array in arrays))
    except ValueError as error:
        shapes = ", ".join(
            f"{name} {array.shape}" for name, array in zip(arguments, arrays, strict=True)
        )
        raise ValueError(
            f"shapes do not fit together: {shapes}. Give equal lengths or single numbers."
        ) from error
    return tuple(arrays)


def require(name: str, values: Vector, valid: NDArray[np.bool_], rule: str) -> None:
    """Raise unless every value is valid.

    Parameters
    ----------
    name : str
        The argument, as the caller knows it.
    values : numpy.ndarray
        Its values.
    valid : numpy.ndarray of bool
        Same shape as `values`.
    rule : str
        What a value must be; completes "it must be ...".

    Raises
    ------
    ValueError
        Names the first invalid value with its 0-based position, and counts the others.
    """
    if np.all(valid):
        return
    invalid = np.argwhere(~valid)
    where = ", ".join(str(int(i)) for i in invalid[0])
    others = f" ({len(invalid) - 1} more like it)" if len(invalid) > 1 else ""
    raise ValueError(
        f"{name}{f'[{where}]' if where else ''} is {values[tuple(invalid[0])]:g}; "
        f"it must be {rule}{others}."
    )


def require_correlation(name: str, values: Vector) -> None:
    """Raise unless every value lies strictly between -1 and 1."""
    require(name, values, np.abs(values) < 1, "a correlation between -1 and 1, both excluded")
