"""The extraction audit: what the numbers of a meta-analysis contradict.

`audit` runs every rule of `RULES` on a data set and returns the findings, worst first. Rules about
a paper (printed totals, two readings of one value, conversions, assumed zeros, composites) work on
what the data folder declares under ``"reanalysis": {"audit": ...}`` in its ``datapackage.json``,
and on the ``[[claim]]`` tables of the spec; see `reanalysis.audit.facts` for the form. Rules about
a table (rows that contradict themselves, outliers, duplicates) need no declaration and work on
anyone's CSV. No rule knows a particular paper.

A finding carries a short rule name:

====================  ============================================================================
``total``, ``flow``   printed sums, means, ranges, counts that do not add up
``reading``           a value printed twice, differently
``sample_size``       effects of one sample with different n
``same_description``  independent samples with the same mean age, SD, share of women
``conversion``        a printed r that the reported statistic does not give (or does: a note)
``significance``      the reported interval and the converted r imply different p-values
``set_to_zero``       "n.s." entered as r = 0
``composite``         a printed composite against its parts
``mixed_composites``  composites and single effects in one column
``i2``, ``p_value``   an I² or a p-value that its statistic does not give
``interval``          an estimate outside the middle of its interval
``reference``         a test that passes its threshold only under chi-square
``outlier``           an effect far from the rest
``implausible``       a correlation beyond what reliabilities allow
``duplicate``         a row entered twice
slips                 ``sign_flip``, ``decimal_shift``, ``se_for_variance``, ``variance_for_se``,
                      ``r_for_z``, ``z_for_r``, ``swapped_columns``, ``n_typo``, ``inconsistent``:
                      a row or column that contradicts itself, with what would explain it
====================  ============================================================================

The audit changes nothing: it says what it found, which value was used, and what the pooled
estimate would be if the matter were resolved the other way. How much it finds and how often it is
wrong is measured in ``tests/test_audit_corruptions.py``.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from types import MappingProxyType

from reanalysis.audit.consistency import rows_that_contradict_themselves
from reanalysis.audit.conversions import (
    composites_beside_single_effects,
    composites_that_do_not_reproduce,
    conversions_that_do_not_reproduce,
    effects_set_to_zero,
    evidence_lost_in_conversion,
)
from reanalysis.audit.evidence import Evidence, gather
from reanalysis.audit.finding import SEVERITIES, Finding
from reanalysis.audit.p_values import p_values_of_rows_that_do_not_follow
from reanalysis.audit.patterns import (
    correlations_too_large,
    effects_far_from_the_rest,
    rows_entered_twice,
    sample_sizes_out_of_line,
)
from reanalysis.audit.readings import (
    places_that_disagree,
    sample_sizes_that_differ_within_a_sample,
    samples_described_alike,
)
from reanalysis.audit.statements import (
    estimates_outside_the_middle_of_their_interval,
    i2_that_q_does_not_give,
    p_values_that_do_not_follow,
    tests_that_depend_on_their_reference,
    totals_of_claims,
)
from reanalysis.audit.totals import flows_that_do_not_add_up, totals_that_do_not_add_up
from reanalysis.dataset import Dataset
from reanalysis.spec import Claim, Reanalysis

__all__ = ["RULES", "Finding", "audit"]

Rule = Callable[[Evidence], Iterator[Finding]]

RULES: Mapping[str, Rule] = MappingProxyType(
    {
        rule.__name__: rule
        for rule in (
            totals_that_do_not_add_up,
            flows_that_do_not_add_up,
            places_that_disagree,
            sample_sizes_that_differ_within_a_sample,
            samples_described_alike,
            conversions_that_do_not_reproduce,
            evidence_lost_in_conversion,
            effects_set_to_zero,
            composites_that_do_not_reproduce,
            composites_beside_single_effects,
            totals_of_claims,
            i2_that_q_does_not_give,
            p_values_that_do_not_follow,
            tests_that_depend_on_their_reference,
            estimates_outside_the_middle_of_their_interval,
            rows_that_contradict_themselves,
            p_values_of_rows_that_do_not_follow,
            effects_far_from_the_rest,
            correlations_too_large,
            rows_entered_twice,
            sample_sizes_out_of_line,
        )
    }
)


def audit(dataset: Dataset, claims: Reanalysis | Iterable[Claim] = ()) -> tuple[Finding, ...]:
    """Return what a data set and the claims about it contradict.

    Parameters
    ----------
    dataset : Dataset
        The data, in the reading that is analysed.
    claims : Reanalysis or iterable of Claim
        A spec, or the claims themselves; without any, only the data are audited.

    Returns
    -------
    tuple of Finding
        Errors first, then warnings, then notes; within these in the order of `RULES`.

    Raises
    ------
    DataError
        If the audit part of the data package cannot be read.

    Examples
    --------
    >>> import pandas as pd
    >>> frame = pd.DataFrame({"r": [0.2, 0.3], "n": [50, 80], "z": [0.2027, -0.3095]})
    >>> data = Dataset.from_frame(frame, ri="r", ni="n")
    >>> [(finding.rule, finding.lines) for finding in audit(data)]
    [('sign_flip', (2,))]
    """
    entries = claims.claims if isinstance(claims, Reanalysis) else tuple(claims)
    evidence = gather(dataset, entries)
    findings = [finding for rule in RULES.values() for finding in rule(evidence)]
    return tuple(sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity)))
