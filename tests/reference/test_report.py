"""Reports in each format, and the HTML page in a browser."""

from __future__ import annotations

import dataclasses
import re
import shutil
import subprocess
from html.parser import HTMLParser

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from reference import __main__ as command
from reference.catalog import RECORDS
from reference.check import OpCheck
from reference.report.plots import curves
from reference.report.summary import VALUES, Accuracy, accuracy, accuracy_of_all
from scratchnet.testing.comparison import Comparison, Row

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    words = ["relu", "linear", "--dtype", "float64", "--dtype", "float32"]
    for name in ("html", "markdown", "tensorboard"):
        words += [f"--{name}", str(folder / name)]
    assert command.main(words) == 0
    return folder


class Balanced(HTMLParser):
    """Counts tags and fails if one is not closed."""

    VOID = frozenset({"meta", "link", "input", "br"})

    def __init__(self):
        super().__init__()
        self.open, self.seen = [], []

    def handle_starttag(self, tag, attributes):
        self.seen.append(tag)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.seen.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_page_is_well_formed_and_self_contained(written):
    page = (written / "html").read_text()
    parser = Balanced()
    parser.feed(page)
    assert not parser.open
    assert parser.seen.count("tr") == 1 + 4
    assert "<!--" not in page
    assert not re.search(r"(src|href)=\"(?!data:)|url\(|@import|https?:", page)
    # Value, slope and error of the activation; errors by dtype of both.
    assert [page.count(f'class="{name}"') for name in ("value", "slope", "error")] == [1, 1, 1]
    assert page.count('<section data-op="relu">') == page.count('<section data-op="linear">') == 1


def test_only_elementwise_ops_have_curves():
    drawn = {name for name, record in RECORDS.items() if curves(record) is not None}
    assert {"relu", "sigmoid", "tanh", "elu"} <= drawn
    assert not drawn & {"softmax", "linear", "dropout", "mse_loss"}


def test_the_table_in_markdown(written):
    lines = (written / "markdown").read_text().splitlines()
    rows = [line for line in lines if line.startswith("| `")]
    assert len(rows) == 4
    assert all(row.endswith("| agrees |") for row in rows)


def found(name, dtype, *errors):
    rows = tuple(Row(quantity, "close", error=ours, builtin_error=own) for quantity, ours, own in errors)
    return OpCheck(name, dtype, (Comparison(name, rows),))


def test_accuracy_compares_largest_errors():
    better = found(
        "a", torch.float32, ("output", 0.5, 1.0), ("gradient of input", 0.8, 2.0), ("forward mode", 9, 1)
    )
    worse = found("b", torch.bfloat16, ("output", 1.5, 1.0))
    alike = found("c", torch.float16, ("output", 0.5, 0.5))
    wide = found("d", torch.float64, ("output", 7.0, 1.0))

    assert accuracy(better, *VALUES) == Accuracy(0.8, 2.0)
    assert accuracy(worse, *VALUES).ratio == 1.5
    assert accuracy(wide, *VALUES) is None
    summary = accuracy_of_all([better, worse, alike, wide])
    assert "3 pairs of op and short dtype: below the built-in's in 1, equal in 1, above in 1" in summary


def test_errors_by_dtype_overlay_in_tensorboard(written):
    for dtype in ("float64", "float32"):
        events = EventAccumulator(str(written / "tensorboard" / dtype))
        events.Reload()
        tags = events.Tags()["scalars"]
        assert {"error/output/relu", "error/gradients/linear", "agrees/linear"} <= set(tags)
    table = EventAccumulator(str(written / "tensorboard"))
    table.Reload()
    assert table.Tags()["tensors"] == ["comparison/text_summary"]


def test_disagreements_are_in_every_format(tmp_path, monkeypatch):
    wrong = dataclasses.replace(RECORDS["relu"], custom=lambda x, **_: x.clamp(min=0) * 1.001)
    monkeypatch.setitem(RECORDS, "relu", wrong)
    paths = {name: tmp_path / name for name in ("html", "markdown")}
    words = [word for name, path in paths.items() for word in (f"--{name}", str(path))]
    assert command.main(["relu", "--dtype", "float64", *words]) == 1
    for path in paths.values():
        assert "DIFFERS" in path.read_text()
        assert "gradient of input" in path.read_text()


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="needs Chromium")
def test_browser_sorts_and_filters_rows_without_errors(written, tmp_path):
    page = tmp_path / "page.html"
    # Sort and filter as a reader does.
    act = """<script>document.querySelectorAll("th")[1].click(); const f = document.querySelector("#filter");
f.value = "relu float32"; f.dispatchEvent(new Event("input"));</script></body>"""
    page.write_text((written / "html").read_text().replace("</body>", act))
    words = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--enable-logging=stderr",
        f"--user-data-dir={tmp_path}/b",
    ]
    run = subprocess.run(
        [BROWSER, *words, "--dump-dom", f"file://{page}"], capture_output=True, text=True, timeout=120, check=True
    )
    rows = re.findall(r"<tr( hidden=\"\")?><td", run.stdout)
    assert len(rows) == 4
    assert sum(not hidden for hidden in rows) == 1
    assert 'aria-sort="ascending"' in run.stdout
    assert "CONSOLE" not in run.stderr
