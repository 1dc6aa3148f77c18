"""The publications that methods texts cite, with what a BibTeX entry needs."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

__all__ = ["REFERENCES", "Reference", "bibtex"]


@dataclass(frozen=True)
class Reference:
    """One publication.

    Attributes
    ----------
    authors : str
        ``Family, I.; Family, I.``
    year : int
        Year.
    title : str
        Title.
    where : str
        Journal, or publisher.
    place : str
        ``volume(issue), pages`` or ``volume, pages``; empty where there is none.
    doi : str
        Without its address.
    short : str
        As it is cited in running text.
    """

    authors: str
    year: int
    title: str
    where: str
    place: str
    short: str
    doi: str = ""

    def __str__(self) -> str:
        """Return the entry of a list of references, in the style of the APA."""
        names = self.authors.split("; ")
        listed = names[0] if len(names) == 1 else ", ".join(names[:-1]) + f", & {names[-1]}"
        place = f", {self.place}" if self.place else ""
        doi = f" https://doi.org/{self.doi}" if self.doi else ""
        return f"{listed} ({self.year}). {self.title}. {self.where}{place}.{doi}"


REFERENCES: Mapping[str, Reference] = MappingProxyType(
    {
        "hedges1992": Reference(
            "Hedges, L. V.",
            1992,
            "Modeling publication selection effects in meta-analysis",
            "Statistical Science",
            "7(2), 246–255",
            "Hedges, 1992",
            "10.1214/ss/1177011364",
        ),
        "vevea1995": Reference(
            "Vevea, J. L.; Hedges, L. V.",
            1995,
            "A general linear model for estimating effect size in the presence of publication bias",
            "Psychometrika",
            "60(3), 419–435",
            "Vevea & Hedges, 1995",
            "10.1007/BF02294384",
        ),
        "stanley2014": Reference(
            "Stanley, T. D.; Doucouliagos, H.",
            2014,
            "Meta-regression approximations to reduce publication selection bias",
            "Research Synthesis Methods",
            "5(1), 60–78",
            "Stanley & Doucouliagos, 2014",
            "10.1002/jrsm.1095",
        ),
        "bartos2023": Reference(
            "Bartoš, F.; Maier, M.; Wagenmakers, E.-J.; Doucouliagos, H.; Stanley, T. D.",
            2023,
            "Robust Bayesian meta-analysis: Model-averaging across complementary publication bias "
            "adjustment methods",
            "Research Synthesis Methods",
            "14(1), 99–116",
            "Bartoš et al., 2023",
            "10.1002/jrsm.1594",
        ),
        "konstantopoulos2011": Reference(
            "Konstantopoulos, S.",
            2011,
            "Fixed effects and variance components estimation in three-level meta-analysis",
            "Research Synthesis Methods",
            "2(1), 61–76",
            "Konstantopoulos, 2011",
            "10.1002/jrsm.35",
        ),
        "rover2021": Reference(
            "Röver, C.; Bender, R.; Dias, S.; Schmid, C. H.; Schmidli, H.; Sturtz, S.; Weber, S.; "
            "Friede, T.",
            2021,
            "On weakly informative prior distributions for the heterogeneity parameter in Bayesian "
            "random-effects meta-analysis",
            "Research Synthesis Methods",
            "12(4), 448–474",
            "Röver et al., 2021",
            "10.1002/jrsm.1475",
        ),
        "pustejovsky2022": Reference(
            "Pustejovsky, J. E.; Tipton, E.",
            2022,
            "Meta-analysis with robust variance estimation: Expanding the range of working models",
            "Prevention Science",
            "23(3), 425–438",
            "Pustejovsky & Tipton, 2022",
            "10.1007/s11121-021-01246-3",
        ),
        "viechtbauer2010": Reference(
            "Viechtbauer, W.",
            2010,
            "Conducting meta-analyses in R with the metafor package",
            "Journal of Statistical Software",
            "36(3), 1–48",
            "Viechtbauer, 2010",
            "10.18637/jss.v036.i03",
        ),
        "vehtari2021": Reference(
            "Vehtari, A.; Gelman, A.; Simpson, D.; Carpenter, B.; Bürkner, P.-C.",
            2021,
            "Rank-normalization, folding, and localization: An improved R̂ for assessing "
            "convergence of MCMC",
            "Bayesian Analysis",
            "16(2), 667–718",
            "Vehtari et al., 2021",
            "10.1214/20-BA1221",
        ),
        "hoffman2014": Reference(
            "Hoffman, M. D.; Gelman, A.",
            2014,
            "The No-U-Turn sampler: Adaptively setting path lengths in Hamiltonian Monte Carlo",
            "Journal of Machine Learning Research",
            "15, 1593–1623",
            "Hoffman & Gelman, 2014",
        ),
        "pymc2023": Reference(
            "Abril-Pla, O.; Andreani, V.; Carroll, C.; Dong, L.; Fonnesbeck, C. J.; Kochurov, M.; "
            "Kumar, R.; Lao, J.; Luhmann, C. C.; Martin, O. A.; Osthege, M.; Vieira, R.; "
            "Wiecki, T.; Zinkov, R.",
            2023,
            "PyMC: A modern, and comprehensive probabilistic programming framework in Python",
            "PeerJ Computer Science",
            "9, e1516",
            "Abril-Pla et al., 2023",
            "10.7717/peerj-cs.1516",
        ),
        "kallioinen2024": Reference(
            "Kallioinen, N.; Paananen, T.; Bürkner, P.-C.; Vehtari, A.",
            2024,
            "Detecting and diagnosing prior and likelihood sensitivity with power-scaling",
            "Statistics and Computing",
            "34, 57",
            "Kallioinen et al., 2024",
            "10.1007/s11222-023-10366-5",
        ),
        "steegen2016": Reference(
            "Steegen, S.; Tuerlinckx, F.; Gelman, A.; Vanpaemel, W.",
            2016,
            "Increasing transparency through a multiverse analysis",
            "Perspectives on Psychological Science",
            "11(5), 702–712",
            "Steegen et al., 2016",
            "10.1177/1745691616658637",
        ),
        "talts2018": Reference(
            "Talts, S.; Betancourt, M.; Simpson, D.; Vehtari, A.; Gelman, A.",
            2018,
            "Validating Bayesian inference algorithms with simulation-based calibration",
            "arXiv",
            "1804.06788",
            "Talts et al., 2018",
            "10.48550/arXiv.1804.06788",
        ),
        "kass1995": Reference(
            "Kass, R. E.; Raftery, A. E.",
            1995,
            "Bayes factors",
            "Journal of the American Statistical Association",
            "90(430), 773–795",
            "Kass & Raftery, 1995",
            "10.1080/01621459.1995.10476572",
        ),
        "holm1979": Reference(
            "Holm, S.",
            1979,
            "A simple sequentially rejective multiple test procedure",
            "Scandinavian Journal of Statistics",
            "6(2), 65–70",
            "Holm, 1979",
        ),
        "kruschke2021": Reference(
            "Kruschke, J. K.",
            2021,
            "Bayesian analysis reporting guidelines",
            "Nature Human Behaviour",
            "5(10), 1282–1291",
            "Kruschke, 2021",
            "10.1038/s41562-021-01177-7",
        ),
        "page2021": Reference(
            "Page, M. J.; McKenzie, J. E.; Bossuyt, P. M.; Boutron, I.; Hoffmann, T. C.; "
            "Mulrow, C. D.; Shamseer, L.; Tetzlaff, J. M.; Akl, E. A.; Brennan, S. E.; Chou, R.; "
            "Glanville, J.; Grimshaw, J. M.; Hróbjartsson, A.; Lalu, M. M.; Li, T.; Loder, E. W.; "
            "Mayo-Wilson, E.; McDonald, S.; … Moher, D.",
            2021,
            "The PRISMA 2020 statement: An updated guideline for reporting systematic reviews",
            "BMJ",
            "372, n71",
            "Page et al., 2021",
            "10.1136/bmj.n71",
        ),
        "appelbaum2018": Reference(
            "Appelbaum, M.; Cooper, H.; Kline, R. B.; Mayo-Wilson, E.; Nezu, A. M.; Rao, S. M.",
            2018,
            "Journal article reporting standards for quantitative research in psychology: The APA "
            "Publications and Communications Board task force report",
            "American Psychologist",
            "73(1), 3–25",
            "Appelbaum et al., 2018",
            "10.1037/amp0000191",
        ),
        "sung2005": Reference(
            "Sung, L.; Hayden, J.; Greenberg, M. L.; Koren, G.; Feldman, B. M.; Tomlinson, G. A.",
            2005,
            "Seven items were identified for inclusion when reporting a Bayesian analysis of a "
            "clinical study",
            "Journal of Clinical Epidemiology",
            "58(3), 261–268",
            "Sung et al., 2005",
            "10.1016/j.jclinepi.2004.08.010",
        ),
    }
)


def bibtex(keys: Iterable[str]) -> str:
    """Return references as a BibTeX file.

    Parameters
    ----------
    keys : iterable of str
        Keys of `REFERENCES`.

    Returns
    -------
    str
        One entry per key, UTF-8.
    """
    entries = []
    for key in keys:
        reference = REFERENCES[key]
        volume, _, pages = reference.place.partition(", ")
        fields = {
            "author": " and ".join(reference.authors.split("; ")),
            "year": str(reference.year),
            "title": f"{{{reference.title}}}",
            "journal": reference.where,
            "volume": volume.partition("(")[0],
            "number": volume.partition("(")[2].rstrip(")"),
            "pages": pages.replace("–", "--"),
            "doi": reference.doi,
        }
        lines = [f"  {name} = {{{value}}}," for name, value in fields.items() if value]
        entries.append("\n".join([f"@article{{{key},", *lines, "}"]))
    return "\n\n".join(entries) + "\n"
