"""The figures of the page: which there are, and how each becomes an image with words."""

import base64
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from matplotlib.figure import Figure

from reanalysis.plots import comparison, forest, funnel, prior_posterior, weights
from reanalysis.plots.source import Selected
from reanalysis.plots.style import to_svg
from reanalysis.report.answer import usable
from reanalysis.wording import plain

__all__ = ["FIGURES", "FigureSpec", "Image", "make_image", "to_image"]


@dataclass(frozen=True)
class FigureSpec:
    """One figure of the report.

    Attributes
    ----------
    plot : callable
        From document and model to a figure.
    describe : callable
        From document and model to its text alternative, with the numbers.
    caption : str
        How to read it.
    applies : callable
        Whether document and model have what the figure shows.
    rows : callable, optional
        From document and model to the figure's rows, which tell their numbers under the pointer.
    """

    plot: Callable[..., Figure]
    describe: Callable[[Mapping[str, Any], str], str]
    caption: str
    applies: Callable[[Mapping[str, Any], Selected], bool]
    rows: Callable[[Mapping[str, Any], str], list[tuple[float, float, str]]] | None = None


FIGURES: Mapping[str, FigureSpec] = MappingProxyType(
    {
        "comparison": FigureSpec(
            comparison.plot_comparison,
            comparison.describe_comparison,
            comparison.CAPTION,
            lambda document, chosen: bool(chosen.estimates(chosen.focus)),
        ),
        "forest": FigureSpec(
            forest.plot_forest,
            forest.describe_forest,
            forest.CAPTION,
            lambda document, chosen: True,
            forest.forest_rows,
        ),
        "prior_posterior": FigureSpec(
            prior_posterior.plot_prior_posterior,
            prior_posterior.describe_prior_posterior,
            prior_posterior.CAPTION,
            lambda document, chosen: (
                usable(chosen) and bool(prior_posterior.shown_parameters(chosen))
            ),
        ),
        "funnel": FigureSpec(
            funnel.plot_funnel,
            funnel.describe_funnel,
            funnel.CAPTION,
            lambda document, chosen: True,
        ),
        "weights": FigureSpec(
            weights.plot_weights,
            weights.describe_weights,
            weights.CAPTION,
            lambda document, chosen: bool(weights.weighted_models(document)),
        ),
    }
)


@dataclass(frozen=True)
class Image:
    """A figure in the page.

    Attributes
    ----------
    name : str
        Its name in `FIGURES`.
    src : str
        The SVG, as a ``data:`` address.
    alt, caption : str
        Its text alternative, and how to read it.
    width, height : int
        Its natural size in CSS pixels.
    rows : sequence of tuple
        Parts that tell their numbers under the pointer: upper edge and height, as fractions of
        the height, and words.
    """

    name: str
    src: str
    alt: str
    caption: str
    width: int
    height: int
    rows: Sequence[tuple[float, float, str]] = ()


def make_image(name: str, document: Mapping[str, Any], chosen: Selected) -> Image | None:
    """Return a figure of a model.

    Parameters
    ----------
    name : str
        A key of `FIGURES`.
    document : mapping
        The results document.
    chosen : Selected
        The model.

    Returns
    -------
    Image or None
        None where the model has nothing to show in it.
    """
    figure = FIGURES[name]
    if not figure.applies(document, chosen):
        return None
    image = to_image(
        name,
        figure.plot(document, chosen.name),
        figure.describe(document, chosen.name),
        figure.caption,
    )
    return image if figure.rows is None else replace(image, rows=figure.rows(document, chosen.name))


def to_image(name: str, figure: Figure, alt: str, caption: str) -> Image:
    """Return any figure as an image for the page.

    Parameters
    ----------
    name : str
        Its name, unique on the page.
    figure : matplotlib.figure.Figure
        The figure.
    alt : str
        Its text alternative, with the numbers.
    caption : str
        How to read it.

    Returns
    -------
    Image
        The same bytes for the same figure.
    """
    svg = to_svg(figure)
    width, height = (
        round(float(points) * 96 / 72)
        for points in re.findall(r'(?:width|height)="([0-9.]+)pt"', svg)[:2]
    )
    encoded = base64.b64encode(svg.encode("utf-8")).decode("ascii")
    return Image(
        name,
        f"data:image/svg+xml;base64,{encoded}",
        plain(alt),
        caption,
        width,
        height,
    )
