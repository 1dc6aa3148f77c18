"""Figures of publication bias that hold several models at once."""

from collections.abc import Mapping, Sequence
from typing import Any

from reanalysis.plots import assumed_weights, corrected, z_plot
from reanalysis.plots.source import Selected
from reanalysis.report.answer import usable
from reanalysis.report.figures import Image, to_image
from reanalysis.wording import plain

__all__ = ["bias_figures", "tipping_sentence"]

UNWEIGHTED = ("none", "pet", "peese")


def bias_figures(document: Mapping[str, Any], models: Sequence[Selected]) -> dict[str, Image]:
    """Return the figures that the document has the numbers for.

    Parameters
    ----------
    document : mapping
        The results document.
    models : sequence of Selected
        All models, the headline first.

    Returns
    -------
    dict of str to Image
        ``corrected``, ``z_plot`` and ``assumed_weights``, as far as they apply.
    """
    images: dict[str, Image] = {}
    headline = models[0]
    trusted = [one for one in models if usable(one)]
    rows = corrected.corrected_estimates(document, trusted) if usable(headline) else []
    if len(rows) > 1:
        images["corrected"] = to_image(
            "corrected",
            corrected.plot_corrected(rows, models),
            corrected.describe_corrected(rows, models),
            corrected.CAPTION,
        )
    selecting = next(
        (
            one
            for one in trusted
            if one.posterior
            and one.model["spec"]["mechanism"] not in UNWEIGHTED
            and not one.model["spec"].get("two_sided", False)
            and len(one.model["coefficients"]) == 1
        ),
        None,
    )
    plain_headline = len(headline.model["coefficients"]) == 1 and headline.posterior
    if selecting is not None and plain_headline and usable(headline):
        sign = -1 if document["data"].get("direction") == "negative" else 1
        images["z_plot"] = to_image(
            "z_plot",
            z_plot.plot_z(headline, selecting, sign),
            z_plot.describe_z_plot(headline, selecting, sign),
            z_plot.CAPTION,
        )
    found = document.get("assumed_weights")
    if found:
        images["assumed_weights"] = to_image(
            "assumed_weights",
            assumed_weights.plot_assumed_weights(found, headline.scale),
            assumed_weights.describe_assumed_weights(found, headline.scale),
            assumed_weights.CAPTION,
        )
    return images


def tipping_sentence(document: Mapping[str, Any]) -> str:
    """Say how strong selection would have to be to bring the interval to zero.

    Parameters
    ----------
    document : mapping
        The results document.

    Returns
    -------
    str
        Empty where nothing was assumed.
    """
    found = document.get("assumed_weights")
    return plain(found["sentence"]) if found else ""
