"""Moderators: from columns of a table to the columns of a design matrix, and back to their meaning.

`reanalysis.moderation` says what the data say about them.
"""

from reanalysis.moderators.coding import INTERCEPT, ModeratorColumns, moderator_columns
from reanalysis.moderators.coefficient_priors import (
    COMMON_SCALE,
    coefficient_priors,
    prior_names,
    shrunk_columns,
)
from reanalysis.moderators.families import Family, find_families
from reanalysis.moderators.terms import ModeratorTerm, Setting, Variable, sum_to_zero

__all__ = [
    "COMMON_SCALE",
    "INTERCEPT",
    "Family",
    "ModeratorColumns",
    "ModeratorTerm",
    "Setting",
    "Variable",
    "coefficient_priors",
    "find_families",
    "moderator_columns",
    "prior_names",
    "shrunk_columns",
    "sum_to_zero",
]
