"""Links each page to its twin in the other language, lists the pages of its own, and translates tables.

The twin of ``PAGE.md`` is ``zh/PAGE.md``.
"""

from __future__ import annotations

import re
from functools import partial
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.environment.adapters.toctree import TocTree
from sphinx.search.en import SearchEnglish

from extensions.chinese import WORDS

CHINESE = re.compile(r"[\u4e00-\u9fff]+")
FOLDER = "zh/"
NUMBER = re.compile(r"\d(?:[\d,.]*\d)?")
TRANSLATIONS = {NUMBER.sub("{}", english): chinese for english, chinese in WORDS.items()}


class EnglishAndChinese(SearchEnglish):
    """Indexes words of English, and runs of Chinese characters with all pairs of neighbors in them.

    The page's script looks up a query of two characters as it is, and a longer one as a part of any word.
    Replaces English in Sphinx's table.
    """

    def split(self, input: str) -> list[str]:
        """Splits a text into the words to index."""
        runs = CHINESE.findall(input)
        pairs = {run[i : i + 2] for run in runs for i in range(len(run) - 1)}
        return [*super().split(CHINESE.sub(" ", input)), *runs, *sorted(pairs)]


def setup(app: Sphinx) -> dict[str, bool]:
    """Registers the search and the link."""
    app.add_search_language(EnglishAndChinese)
    app.connect("env-get-outdated", _pages_to_link_anew)
    app.connect("doctree-read", _translate, priority=400)  # before titles are collected
    app.connect("html-page-context", _link, priority=400)  # before the theme shows the table of contents
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def twin(page: str) -> str:
    """Returns the name of a page in the other language."""
    return page.removeprefix(FOLDER) if page.startswith(FOLDER) else FOLDER + page


def _translate(app: Sphinx, document: nodes.document) -> None:
    if app.env.docname.startswith(FOLDER):
        for text in list(document.findall(nodes.Text)):
            if isinstance(text.parent, nodes.paragraph | nodes.strong | nodes.title):
                text.parent.replace(text, nodes.Text("; ".join(map(_translated, text.split("; ")))))


def _translated(words: str) -> str:
    """Returns words in Chinese if they are known, with the numbers that they contain."""
    chinese = TRANSLATIONS.get(NUMBER.sub("{}", words.replace("’", "'")))
    return chinese.format(*NUMBER.findall(words)) if chinese else words


def _pages_to_link_anew(
    app: Sphinx, env: BuildEnvironment, added: set[str], changed: set[str], removed: set[str]
) -> list[str]:
    return [twin(page) for page in added | changed | removed if twin(page) in env.found_docs]


def _link(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: object) -> None:
    context["toctree"] = partial(_contents, app, page)
    if page.startswith(FOLDER):
        context["language"] = "zh"
        context["_"] = context["gettext"] = _translated  # of the theme's words
    for side, neighbor in zip(("prev", "next"), app.builder.relations.get(page, ())[1:], strict=False):
        if neighbor and neighbor.startswith(FOLDER) != page.startswith(FOLDER):
            context[side] = None
    if "body" in context and twin(page) in app.env.found_docs:
        name, code = ("English", "en") if page.startswith(FOLDER) else ("中文", "zh")
        link = (
            f'<a href="{context["pathto"](twin(page))}" lang="{code}" hreflang="{code}" rel="alternate">{name}</a>'
        )
        context["body"] = f'<p class="language">{link}</p>{context["body"]}'


def _contents(app: Sphinx, page: str, **options: Any) -> str:
    """Returns the table of contents of the pages in a page's language."""
    in_chinese = page.startswith(FOLDER)
    home = app.env.get_doctree(FOLDER + "index" if in_chinese else "index")
    (tree,) = home.findall(addnodes.toctree)
    tree["entries"] = [entry for entry in tree["entries"] if entry[1].startswith(FOLDER) == in_chinese]
    found = TocTree(app.env).resolve(page, app.builder, tree, **options)
    return app.builder.render_partial(found)["fragment"]
