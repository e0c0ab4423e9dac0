"""The page: a comparison, or an analysis of layers, as one self-contained HTML file.

Importing this package loads neither Altair nor Jinja; writing one does, and says so where the
optional extra that brings them is missing.
"""

from convkit.report.page import ORDER, check_place, write_report, write_sensitivity_report
from convkit.report.sources import read_analysis, read_comparison

__all__ = [
    "ORDER",
    "check_place",
    "read_analysis",
    "read_comparison",
    "write_report",
    "write_sensitivity_report",
]
