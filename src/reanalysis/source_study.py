"""What a data folder tells of the source's own search and appraisal: flow, and risk of bias.

Both are optional: a table named ``prisma`` with columns ``step``, ``what``, ``count`` and
``acts_on`` (the step that a removal or an addition belongs to; empty for the steps themselves), and
columns of the data table whose names begin with ``rob_``, one per domain, each cell one of
``+ - ? /``.
"""

from typing import Any

from reanalysis.datapackage import package_schema
from reanalysis.dataset import Dataset

__all__ = ["source_study"]

FLOW = "prisma"
STEPS = ("step", "what", "count", "acts_on")
DOMAIN = "rob_"


def source_study(data: Dataset) -> dict[str, Any]:
    """Return the flow of studies and the risk of bias, where the folder has them.

    Parameters
    ----------
    data : Dataset
        The default reading.

    Returns
    -------
    dict
        ``flow``, a list of ``step``, ``what``, ``count``, ``acts_on``; ``risk_of_bias`` with the
        titles of its ``domains`` and, per sample, its ``label`` and ``marks``. What is not there
        is absent.
    """
    found: dict[str, Any] = {}
    table = data.tables.get(FLOW)
    if table is not None and set(STEPS) <= set(table.header):
        steps = zip(*(table.column(name) for name in STEPS), strict=True)
        found["flow"] = [
            {"step": step, "what": what, "count": int(count), "acts_on": on}
            for step, what, count, on in steps
            if count.isdigit()
        ]
    domains = [str(column) for column in data.table.columns if str(column).startswith(DOMAIN)]
    if domains:
        schema = package_schema(data.package, data.resource)
        titles = [str(schema.get(name, {}).get("title") or name) for name in domains]
        labels = data.effects["label"]
        marks = data.table[domains].astype(str)
        found["risk_of_bias"] = {
            "domains": titles,
            "samples": [
                {"label": str(label), "marks": list(row)}
                for label, row in zip(labels, marks.itertuples(index=False), strict=True)
            ],
        }
    return found
