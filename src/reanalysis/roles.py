"""Guessing what the columns of an unknown table hold, from their names."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

__all__ = ["SYNONYMS", "Guess", "guess_roles"]

SYNONYMS: Mapping[str, tuple[str, ...]] = {
    "ri": ("ri", "r", "cor", "corr", "correlation", "pearson_r", "es_r"),
    "ni": ("ni", "n", "n_total", "total_n", "sample_size", "samplesize", "size", "ntotal"),
    "yi": (
        "yi",
        "z",
        "fisher_z",
        "g",
        "hedges_g",
        "d",
        "cohens_d",
        "smd",
        "es",
        "effect_size",
        "effectsize",
        "logor",
        "log_or",
        "lnor",
        "logrr",
        "log_rr",
        "estimate",
        "te",
        "y",
    ),
    "vi": ("vi", "v", "var", "variance", "sampling_variance", "var_g", "var_d", "var_z"),
    "sei": ("sei", "se", "std_error", "stderr", "standard_error", "sete", "se_g", "se_d", "se_z"),
    "sample": ("sample", "sample_id", "cluster", "cluster_id", "study_id", "studyid", "district"),
    "study": ("study", "paper", "article", "publication", "source", "reference"),
    "label": ("label", "slab", "author", "authors", "study_label", "name", "citation"),
    "effect": ("es_id", "esid", "effect_id", "effect", "row_id", "id"),
    "n_averaged": ("n_averaged",),
    "composite_of": ("composite_of",),
    "n_measured": ("n_measured",),
}

MEASURE_OF = {
    "g": "SMD",
    "hedges_g": "SMD",
    "d": "SMD",
    "cohens_d": "SMD",
    "smd": "SMD",
    "z": "ZCOR",
    "fisher_z": "ZCOR",
    "logor": "OR",
    "log_or": "OR",
    "lnor": "OR",
    "logrr": "RR",
    "log_rr": "RR",
}


@dataclass(frozen=True)
class Guess:
    """Guessed roles.

    Attributes
    ----------
    roles : mapping of str to str
        Column of each role.
    measure : str
        Guessed measure, empty where the names do not tell.
    reasons : tuple of str
        One sentence per guess.
    """

    roles: Mapping[str, str]
    measure: str
    reasons: tuple[str, ...]


def guess_roles(header: Sequence[str]) -> Guess:
    """Guess the roles of columns from their names.

    Parameters
    ----------
    header : sequence of str
        Column names.

    Returns
    -------
    Guess
        Roles, measure and the reasons. Correlations with sample sizes are preferred to an
        effect size with its variance, a variance to a standard error; without a sample column
        the study is the cluster.
    """
    folded: dict[str, str] = {}
    for name in header:
        folded.setdefault(name.strip().casefold().replace(" ", "_").replace(".", "_"), name)
    found = {
        role: next((folded[word] for word in words if word in folded), "")
        for role, words in SYNONYMS.items()
    }
    if found["ri"] and found["ni"]:
        chosen = ["ri", "ni"]
    elif found["yi"] and (found["vi"] or found["sei"]):
        chosen = ["yi", "vi" if found["vi"] else "sei"]
    else:
        chosen = [role for role in ("ri", "ni", "yi", "vi", "sei") if found[role]]
    chosen += [role for role in ("sample", "study", "label", "effect") if found[role]]
    chosen += [r for r in ("n_averaged", "composite_of", "n_measured") if found[r]]
    roles = {role: found[role] for role in chosen}
    if "sample" not in roles and "study" in roles:
        roles["sample"] = roles["study"]
    if "label" not in roles and "study" in roles:
        roles["label"] = roles["study"]
    measure = ""
    if "ri" in roles:
        measure = "ZCOR"
    elif "yi" in roles:
        word = roles["yi"].strip().casefold().replace(" ", "_").replace(".", "_")
        measure = MEASURE_OF.get(word, "")
    reasons = tuple(f"column '{column}' taken as {role}" for role, column in roles.items())
    return Guess(roles, measure, reasons)
