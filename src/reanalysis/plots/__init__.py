"""The figures. Each is a function that takes an analysis and returns a matplotlib ``Figure``.

They take ``ax=`` to draw on the caller's axes, and keep none of pyplot's state.
"""

from reanalysis.plots.comparison import plot_comparison
from reanalysis.plots.forest import plot_forest
from reanalysis.plots.funnel import plot_funnel
from reanalysis.plots.prior_posterior import plot_prior_posterior
from reanalysis.plots.style import to_svg
from reanalysis.plots.weights import plot_weights

__all__ = [
    "plot_comparison",
    "plot_forest",
    "plot_funnel",
    "plot_prior_posterior",
    "plot_weights",
    "to_svg",
]
