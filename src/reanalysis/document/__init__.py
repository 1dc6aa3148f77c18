"""The results as one JSON document: what is saved, verified and rendered.

The report is made from this document alone, so that every number in it can be traced.
"""

from reanalysis.document.estimates import estimates_frame
from reanalysis.document.whole import CONTRACT, to_document

__all__ = ["CONTRACT", "estimates_frame", "to_document"]
