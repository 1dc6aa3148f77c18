"""A methods and a results paragraph, ready to paste, with their references.

Only what the run did is in them; every number comes from the results document.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from reanalysis.plots.source import Selected
from reanalysis.report.answer import make_answer, usable
from reanalysis.report.downloads import Download, as_download
from reanalysis.report.references import REFERENCES, bibtex
from reanalysis.wording import number, p_value, parameter_name, plain

__all__ = ["make_methods", "methods_paragraph"]

Json = Mapping[str, Any]


def make_methods(
    document: Mapping[str, Any], chosen: Mapping[str, Selected]
) -> dict[str, Any] | None:
    """Return what the section of methods shows.

    Parameters
    ----------
    document : mapping
        The results document.
    chosen : mapping of str to Selected
        Its models.

    Returns
    -------
    dict
        ``methods`` and ``results`` as text, ``references``, ``citations`` of the paper and of this
        program, and ``file``, the references as BibTeX.
    """
    models = list(chosen.values())
    text, keys = methods_paragraph(document, chosen)
    answer = make_answer(document, models)
    source = document.get("source", {})
    version = plain(document.get("versions", {}).get("reanalysis", ""))
    file: Download = as_download(
        "references.bib", "the references as BibTeX", "text/plain", bibtex(keys)
    )
    return {
        "methods": text,
        "results": " ".join((*answer.headline, *answer.holds, *answer.sure))
        if usable(models[0])
        else "",
        "references": [str(REFERENCES[key]) for key in keys],
        "citations": list(
            filter(
                None,
                (
                    plain(source.get("citation", "")),
                    f"reanalysis (version {version}) [Computer software].",
                ),
            )
        ),
        "file": file,
    }


def methods_paragraph(
    document: Mapping[str, Any], chosen: Mapping[str, Selected]
) -> tuple[str, tuple[str, ...]]:
    """Return the methods paragraph and the keys of what it cites.

    Parameters
    ----------
    document : mapping
        The results document.
    chosen : mapping of str to Selected
        Its models.

    Returns
    -------
    text : str
        Plain sentences.
    keys : tuple of str
        Keys of `reanalysis.report.references.REFERENCES`, in the order in which they are cited.
    """
    cited: dict[str, None] = {}

    def cite(*keys: str) -> str:
        cited.update(dict.fromkeys(keys))
        return f"({'; '.join(REFERENCES[key].short for key in keys)})"

    headline = next(iter(chosen.values()))
    model, data = headline.model, document["data"]
    versions = document.get("versions", {})
    three = model["levels"] == 3
    kind = f"three-level normal model {cite('konstantopoulos2011')}" if three else "two-level model"
    parts = [
        f"We reanalysed {model['k']} effect sizes from {model['m']} samples "
        f"({plain(headline.scale.measure.name)}; table "
        f"“{plain(model['spec']['table'] or data['name'])}”) with a {kind}."
    ]
    parts.append(_dependence(model, cite))
    priors = _listed([_prior(p) for p in model["priors"]])
    parts.append(f"Priors on the analysis scale were {priors} {cite('rover2021')}.")
    if "exact" in model:
        parts.append(
            "Posteriors and marginal likelihoods were computed by quadrature over the "
            "heterogeneity, the coefficients integrated analytically; Bayes factors are ratios of "
            f"marginal likelihoods {cite('kass1995')}."
        )
    if "nuts" in model:
        parts.append(_sampling(model["nuts"], versions, cite))
    if "reml" in model:
        parts.append(
            "As a frequentist check the same models were fitted by restricted maximum likelihood "
            f"{cite('viechtbauer2010')}, with cluster-robust (CR2) standard errors "
            f"{cite('pustejovsky2022')}."
        )
    parts += _bias(document, chosen, cite)
    if document.get("moderators"):
        count = sum(len(rows) for rows in document["moderators"].values())
        parts.append(
            f"We tested {count} moderators one at a time, with Bonferroni and Holm "
            f"{cite('holm1979')} corrections, and in a joint model with a common learned scale."
        )
    if "multiverse" in document:
        found = document["multiverse"]
        parts.append(
            f"We fitted {len(found['universes']):,} combinations of {len(found['axes'])} "
            f"decisions as a multiverse {cite('steegen2016')}."
        )
    if "sensitivity" in document:
        weighted = "; the draws of NUTS were weighted for the same"
        parts.append(
            "Sensitivity was assessed by leaving out each sample and by raising the priors to "
            f"powers {cite('kallioinen2024')}, each as an exact refit"
            f"{weighted if document['sensitivity'].get('scaling') else ''}."
        )
    if "calibration" in document:
        parts.append(
            f"Calibration at this design was checked with {document['calibration']['replicates']:,}"
            f" data sets simulated from the prior {cite('talts2018')}."
        )
    parts.append(
        "Intervals are central 95 % intervals. Analyses were run with reanalysis "
        f"{plain(versions.get('reanalysis', ''))} on Python {plain(versions.get('python', ''))}; "
        f"data (sha256 {plain(data['sha256'])[:12]}…), specification and all results are in the "
        "report."
    )
    return " ".join(filter(None, parts)), tuple(cited)


def _prior(prior: Json) -> str:
    """Return a prior in words, such as "half-normal(0.25) (heterogeneity, total)"."""
    values = ", ".join(f"{value:g}" for value in prior["parameters"].values())
    name = parameter_name(prior["parameter"])
    return f"{prior['family'].replace('_', '-')}({values}) ({name[0].lower()}{name[1:]})"


def _listed(words: Sequence[str]) -> str:
    """Return an enumeration in a sentence."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _dependence(model: Json, cite: Any) -> str:
    correlation = model["spec"]["sampling_correlation"]
    if correlation == 0 or model["m"] == model["k"]:
        return ""
    return (
        "Sampling errors within a sample were taken to correlate by "
        f"{plain(correlation)} {cite('pustejovsky2022')}."
    )


def _sampling(nuts: Json, versions: Json, cite: Any) -> str:
    diagnostics = nuts["diagnostics"]
    sampler = diagnostics.get("sampler", {})
    chains, draws = sampler.get("chains"), sampler.get("draws")
    size = f"{chains} chains of {draws:,} draws" if chains and draws else "several chains"
    return (
        f"The models were also sampled with the No-U-Turn sampler {cite('hoffman2014')} in PyMC "
        f"{plain(versions.get('pymc', ''))} {cite('pymc2023')} ({size}; largest R̂ "
        f"{number(diagnostics['rhat_max'], 3)}, smallest bulk effective sample size "
        f"{diagnostics['ess_bulk_min']:,.0f}, {diagnostics['divergences']} divergences; "
        f"{cite('vehtari2021')[1:-1]}) from code that shares no likelihood with the quadrature."
    )


def _bias(document: Json, chosen: Mapping[str, Selected], cite: Any) -> list[str]:
    parts = []
    mechanisms = [one.model["spec"]["mechanism"] for one in chosen.values()]
    selecting = [m for m in dict.fromkeys(mechanisms) if m not in ("none", "pet", "peese")]
    if selecting:
        parts.append(
            "Publication bias was modelled by step functions of the p-value "
            f"{cite('hedges1992', 'vevea1995')} under {len(selecting)} stated mechanisms of how "
            f"results went missing ({', '.join(map(plain, selecting))})."
        )
    if {"pet", "peese"} & set(mechanisms):
        parts.append(
            f"PET and PEESE regressions entered the same hierarchical model {cite('stanley2014')}."
        )
    average = document.get("average")
    if average:
        bias = next((r for r in average["inclusion"] if r.get("component") == "bias"), None)
        factor = (
            f" (inclusion Bayes factor for bias {number(bias['bayes_factor'], 2)}, posterior "
            f"probability {p_value(bias['posterior']).removeprefix('= ')})"
            if bias and "bayes_factor" in bias
            else ""
        )
        parts.append(
            f"We averaged {len(average['models'])} models with and without an effect, "
            f"heterogeneity and bias {cite('bartos2023')}{factor}."
        )
    return parts
