"""Reports of a run, one file for each format."""

from reference.speed.report.html import write_html
from reference.speed.report.json_file import write_json
from reference.speed.report.markdown import write_markdown
from reference.speed.report.results import Results
from reference.speed.report.terminal import growth_table, table, target_table

__all__ = ["Results", "growth_table", "table", "target_table", "write_html", "write_json", "write_markdown"]
