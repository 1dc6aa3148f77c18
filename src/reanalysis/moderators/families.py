"""Families of models: one moderator each, tested as often as there are members, and a joint one."""

from collections.abc import Mapping
from dataclasses import dataclass

from reanalysis.moderators.formula import parse_terms
from reanalysis.spec import ModelSpec, SpecError

__all__ = ["Family", "find_families"]


@dataclass(frozen=True)
class Family:
    """Models whose tests are adjusted for each other.

    Attributes
    ----------
    single : tuple of str
        Models of one moderator each: as many tests.
    joint : str
        The model of several moderators; empty without one.
    """

    single: tuple[str, ...]
    joint: str = ""


def find_families(models: Mapping[str, ModelSpec]) -> dict[str, Family]:
    """Return the families that the models of a spec state.

    Parameters
    ----------
    models : mapping of str to ModelSpec
        All models of a spec, also those that a run leaves out: the number of tests that were
        planned does not fall when fewer are shown.

    Returns
    -------
    dict of str to Family
        By the word that the models share.

    Raises
    ------
    SpecError
        If a member has no moderators, or a family has two models of several.

    Examples
    --------
    >>> both = ModelSpec(name="both", moderators="age + mode", family="seven")
    >>> find_families({"age": ModelSpec(name="age", moderators=("age",), family="seven"),
    ...                "both": both})
    {'seven': Family(single=('age',), joint='both')}
    """
    found: dict[str, Family] = {}
    problems = []
    for name, model in models.items():
        if not model.family:
            continue
        where = f"model '{name}'"
        terms = parse_terms(model.moderators, where)
        columns = {piece.column for term in terms for piece in term}
        family = found.get(model.family, Family(()))
        if not columns:
            problems.append(
                f'{where}: family = "{model.family}" is for models with moderators; add '
                "'moderators', or delete 'family'."
            )
        elif len(columns) == 1:
            found[model.family] = Family((*family.single, name), family.joint)
        elif family.joint:
            problems.append(
                f'{where}: the family "{model.family}" has a model of several moderators, '
                f"'{family.joint}', already; a family has one: delete 'family' from one of the two."
            )
        else:
            found[model.family] = Family(family.single, name)
    if problems:
        raise SpecError(problems)
    return found
