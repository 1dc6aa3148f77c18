"""What the data say about moderators: contrasts, mean effects, tests, Bayes factors, verdicts.

`reanalysis.moderators` makes the columns of the design; the engines fit them; here their answers
become tables.
"""

from reanalysis.moderation.counts import count_levels
from reanalysis.moderation.document import moderation_document, plain_rows
from reanalysis.moderation.explained import explained_a_priori
from reanalysis.moderation.family import RULES, moderator_family, verdict
from reanalysis.moderation.quantities import COLUMNS
from reanalysis.moderation.record import Moderation, make_moderation
from reanalysis.moderation.targets import Target, make_targets

__all__ = [
    "COLUMNS",
    "RULES",
    "Moderation",
    "Target",
    "count_levels",
    "explained_a_priori",
    "make_moderation",
    "make_targets",
    "moderation_document",
    "moderator_family",
    "plain_rows",
    "verdict",
]
