"""Reports of a comparison, one file for each format."""

from reference.report.html import write_html
from reference.report.json_file import write_json
from reference.report.markdown import write_markdown
from reference.report.summary import COLUMNS, accuracy_of_all
from reference.report.tensorboard import write_tensorboard
from reference.report.terminal import console, failures, gather, table

__all__ = [
    "COLUMNS",
    "accuracy_of_all",
    "console",
    "failures",
    "gather",
    "table",
    "write_html",
    "write_json",
    "write_markdown",
    "write_tensorboard",
]
