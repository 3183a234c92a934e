"""The site in headless Chromium: every page opens, shows its mathematics and leads where its links say."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from browser import CHROMIUM, Browser

DOCS = Path(__file__).parents[2] / "docs"
FENCE = re.compile(r"^```.*?^```$|`[^`\n]*`", re.MULTILINE | re.DOTALL)
MATHEMATICS = {".md": re.compile(r"\$"), ".rst": re.compile(r":math:|[.][.] math::")}
# What a page looks like to its reader.
LOOK = r"""
(() => {
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const raw = [];
  while (texts.nextNode())
    if (!texts.currentNode.parentElement.closest("script, style, pre, code, svg") &&
        /\$|:(math|doc|func|class):|\\[a-z]+|\]\(/.test(texts.currentNode.data)) raw.push(texts.currentNode.data);
  const formulas = [...document.querySelectorAll("math")];
  const boxes = formulas.map(math => math.getBoundingClientRect());
  const startOf = text => {
    const range = document.createRange();
    range.setStart(text, 0);
    range.setEnd(text, 1);
    return range.getBoundingClientRect();
  };
  return {
    title: document.title, raw,
    mathematics: boxes.length, empty: boxes.filter(box => !box.width || !box.height).length,
    apart: formulas.filter(
      ({nextSibling: text}, i) => /^[.,;:!?)，。；：、！？）]/.test(text?.data) && startOf(text).top >= boxes[i].bottom
    ).length,
    wide: [...document.querySelectorAll("article *")].filter(
      element => !element.parentElement.closest("pre, svg, div.math, div.table-wrapper") &&
      element.getBoundingClientRect().right > innerWidth
    ).map(element => element.outerHTML.slice(0, 80)),
    font: !boxes.length || document.fonts.check('16px "scratchnet-math"'),
    ids: [...document.querySelectorAll("[id]")].map(element => element.id),
    links: [...document.links].map(link => link.href),
    language: document.documentElement.lang, twin: document.querySelector(".language a[rel=alternate]")?.href ?? null,
    neighbors: [...document.querySelectorAll("a.prev-page, a.next-page")].map(link => link.href),
  };
})()
"""
SHOWN = '[...document.querySelectorAll("table.gallery tbody tr")].filter(row => row.checkVisibility())'

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed here")


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *words: Any) -> None:
        pass


@pytest.fixture(scope="module")
def served(site: Path) -> Iterator[str]:
    """The address of the site."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=site)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.fixture(scope="module")
def browser(site: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(tmp_path_factory.mktemp("browser")) as browser:
        yield browser


@pytest.fixture(scope="module")
def pages(site: Path, served: str, browser: Browser) -> dict[str, dict[str, Any]]:
    """How each page looks, on a screen as wide as a phone's, with its errors and requests."""
    browser.resize(400, 800)
    looks = {}
    for name in sorted(path.relative_to(site).as_posix() for path in site.rglob("*.html")):
        browser.errors, browser.requests = [], []
        go(browser, served + name)
        looks[name] = browser.evaluate(LOOK) | {"errors": browser.errors, "requests": browser.requests}
    browser.resize(1400, 1000)
    return looks


def go(browser: Browser, address: str) -> None:
    browser.open(address)
    browser.wait_until(f"location.href == '{address}' && document.readyState == 'complete'")


def test_every_page_opens_without_errors(pages: dict[str, dict[str, Any]]) -> None:
    assert len(pages) > 350
    assert {name: look["errors"] for name, look in pages.items() if look["errors"]} == {}
    assert [name for name, look in pages.items() if not look["title"]] == []


def test_no_request_leaves_the_site(pages: dict[str, dict[str, Any]], served: str) -> None:
    assert all(look["requests"] for look in pages.values())
    requests = {address for look in pages.values() for address in look["requests"]}
    assert {address for address in requests if not address.startswith((served, "data:", "about:"))} == set()


def test_mathematics_is_typeset(pages: dict[str, dict[str, Any]]) -> None:
    written = 0
    for name, look in pages.items():
        for suffix, marks in MATHEMATICS.items():
            source = (DOCS / name).with_suffix(suffix)
            if source.exists() and marks.search(FENCE.sub("", source.read_text(encoding="utf-8"))):
                written += 1
                assert look["mathematics"], name
        assert look["raw"] == [], name
        assert not look["empty"], name
        assert not look["apart"], name  # no line begins with the punctuation after a formula
        assert look["font"], name
    assert written > 100


def test_internal_links_lead_somewhere(pages: dict[str, dict[str, Any]], site: Path, served: str) -> None:
    internal = {(name, href) for name, look in pages.items() for href in look["links"] if href.startswith(served)}
    assert len(internal) > 1000
    broken = []
    for name, href in sorted(internal):
        path, _, fragment = href.removeprefix(served).partition("#")
        if not (site / path).is_file() or (fragment and path in pages and fragment not in pages[path]["ids"]):
            broken.append((name, path, fragment))
    assert broken == []


def test_no_page_is_wider_than_a_phone(pages: dict[str, dict[str, Any]]) -> None:
    assert {name: look["wide"] for name, look in pages.items() if look["wide"]} == {}


def test_each_page_leads_to_its_twin_and_back(pages: dict[str, dict[str, Any]], served: str) -> None:
    twins = {
        name: served + (name.removeprefix("zh/") if name.startswith("zh/") else f"zh/{name}") for name in pages
    }
    alone = {"search.html", "genindex.html"} & pages.keys()
    assert {n: look["twin"] for n, look in pages.items()} == {n: None if n in alone else twins[n] for n in pages}
    chinese = {name for name, look in pages.items() if look["language"] == "zh"}
    assert chinese == {name for name in pages if name.startswith("zh/")}
    neighbors = [(name, href) for name, look in pages.items() for href in look["neighbors"]]
    assert len(neighbors) > 300
    assert [pair for pair in neighbors if (pair[0] in chinese) != pair[1].startswith(f"{served}zh/")] == []


@pytest.mark.parametrize(
    ("words", "page"), [("softmax", "/gallery/softmax.html"), ("反向传播", "zh/course/backpropagation.html")]
)
def test_search_finds_pages(words: str, page: str, browser: Browser, served: str) -> None:
    go(browser, f"{served}search.html?q={quote(words)}")
    browser.wait_until(f"[...document.querySelectorAll('#search-results a')].some(a => a.href.includes('{page}'))")


@pytest.mark.parametrize("folder", ["gallery", "zh/gallery"])
def test_the_filter_of_the_gallery_hides_other_ops(folder: str, browser: Browser, served: str) -> None:
    go(browser, f"{served}{folder}/index.html")
    every = browser.evaluate(f"{SHOWN}.length")
    for words in ("softmax", "loss vmap", ""):
        browser.evaluate(
            f"filter = document.querySelector('#filter'), filter.value = '{words}', "
            "filter.dispatchEvent(new Event('input')), null"
        )
        rows = browser.evaluate(f"{SHOWN}.map(row => row.textContent.toLowerCase())")
        assert rows
        assert all(word in row for row in rows for word in words.split())
        assert (len(rows) < every) == bool(words)
