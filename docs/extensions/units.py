"""Keeps numbers and their units on one line."""

from __future__ import annotations

import re

from docutils import nodes
from sphinx.application import Sphinx

SPACE = re.compile(r"(?<=\d) (?=%|(?:[mµn]?s|[KMG]i?B)\b)")


def setup(app: Sphinx) -> dict[str, bool]:
    """Registers the change of each page."""
    app.connect("doctree-read", lambda app, document: _join(document))
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _join(document: nodes.document) -> None:
    for text in list(document.findall(nodes.Text)):
        if not isinstance(text.parent, nodes.literal | nodes.literal_block | nodes.raw | nodes.math):
            text.parent.replace(text, nodes.Text(SPACE.sub("\u00a0", text)))
