"""Typesets mathematics as MathML, which browsers draw without scripts, in the font ``static/fonts/math.woff``.

docutils, which Sphinx is built on, brings the converter from LaTeX. What it cannot convert is a warning.
"""

from __future__ import annotations

import re
from typing import Any

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.writers.html5 import HTML5Translator

# What the converter does not know, in words that it does.
SPELLINGS = (
    (r"\\dots\b", r"\\ldots"),
    (r"\\texttt\b", r"\\text"),
    (r"\\mathrel\b", ""),
    # It takes an index after an accent for a limit.
    (r"(\\(?:bar|hat|tilde) *(?:\\[a-z]+|\w))(?= *[_^])", r"\1{}"),
)
# What Chromium draws less well than TeX: bars in no font and too near, a gap in +=, primes too straight, no space after
# names.
MARKUP = (
    ("\u02c9", "\u00af"),
    ('<mover accent="true">', "<mover>"),
    (r"<mo>\+</mo>\s*<mo>=</mo>", "<mo>+=</mo>"),
    ("<mo>'</mo>", '<mo lspace="0" rspace="0">\u2032</mo>'),
    (r"(<mo>&ApplyFunction;</mo>)(?!\s*(?:<mrow>\s*)?<mo)", r'\1<mspace width="0.17em"/>'),
)
SIZED = re.compile(r"\\([Bb]ig)([(\[)\]])")
# A formula and the punctuation after it, which else may begin the next line.
PUNCTUATED = re.compile(r"<math\b(?:(?!</math>).)*</math>[.,;:!?)，。；：、！？）]+", re.DOTALL)
LOGGER = logging.getLogger(__name__)


def setup(app: Sphinx) -> dict[str, bool]:
    """Registers the renderer."""
    app.add_html_math_renderer("mathml", (_inline, None), (_block, None))
    app.connect("html-page-context", _keep_punctuation)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _keep_punctuation(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: object) -> None:
    if "body" in context:
        context["body"] = PUNCTUATED.sub(r'<span class="unbroken">\g<0></span>', context["body"])


def _inline(self: HTML5Translator, node: nodes.math) -> None:
    self.body.append(_converted(node, as_block=False))
    raise nodes.SkipNode


def _block(self: HTML5Translator, node: nodes.math_block) -> None:
    self.body.append(f'<div class="math">{_converted(node, as_block=True)}</div>')
    raise nodes.SkipNode


def _converted(node: nodes.Element, *, as_block: bool) -> str:
    try:
        found = tex2mathml(_spelled(node.astext()), as_block)
    except MathError as error:
        LOGGER.warning("%s in %s", error, node.astext(), location=node)
        return ""
    for drawn, better in MARKUP:
        found = re.sub(drawn, better, found)
    return found


def _spelled(code: str) -> str:
    for unknown, known in SPELLINGS:
        code = re.sub(unknown, known, code)
    return SIZED.sub(lambda found: rf"\{found[1]}{'l' if found[2] in '([' else 'r'}{found[2]}", code)
