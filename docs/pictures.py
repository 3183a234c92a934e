"""Draws the pictures of the site anew: ``python docs/pictures.py [NAME ...]``, all of them without names.

An experiment trains at its full preset and draws its figures; TensorBoard shows its run, and Chromium takes the
screenshots, where it is installed.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

IMAGES = Path(__file__).parent / "images"
ROOT = IMAGES.parents[1]
# The tests have a browser and a TensorBoard server; their folders must be on the path before they are imported.
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "experiments")]

from browser import CHROMIUM, Browser  # noqa: E402
from dashboards import tensorboard  # noqa: E402


@dataclass(frozen=True)
class Drawn:
    """What to draw of an experiment.

    Args:
        command: The words that run it.
        figures: Files in the folder of its run, or images in TensorBoard's records, and the pictures that they become.
        screenshot: The picture of TensorBoard's page, the page's address, and the network that it waits for.
    """

    command: str
    figures: dict[str, str] = field(default_factory=dict)
    screenshot: tuple[str, str, str] | None = None


FULL = "--preset full"
PAGE = "#timeseries"
TWIN_PAGE = "#scalars&tagFilter=^accuracy/train|^loss/train|twin_gradient/|twin/first"
# TensorBoard opens the settings beside the curves.
CLOSE = "[...document.querySelectorAll('button')].find(button => button.innerText.includes('Settings'))?.click()"
PICTURES = {
    "history": Drawn(f"history {FULL}", {"1_gates.png": "history_gates", "2_moons.png": "history_moons"}),
    "activations": Drawn(f"activations {FULL}", {"3_depth_before.png": "activations_depth"}),
    "activations-page": Drawn("activations", screenshot=("dashboards/activations", PAGE, "maxout")),
    "losses": Drawn(f"losses {FULL}", {"2_slope_by_margin.png": "losses_push"}),
    "backprop": Drawn(f"backprop {FULL}", {"3_cost.png": "backprop_cost"}),
    "sgd": Drawn(f"sgd {FULL}", {"1_path_ravine.png": "sgd_ravine", "6_schedule.png": "sgd_schedule"}),
    "regularization": Drawn(f"regularization {FULL}", {"1_gap.png": "regularization_gap"}),
    "mnist": Drawn(f"mnist {FULL}", {"pictures/mistakes": "mnist_mistakes"}, ("dashboards/mnist", PAGE, ".")),
    "twin": Drawn(
        "mnist --backend twin --max-steps 100 --every 1", screenshot=("tensorboard", TWIN_PAGE, "builtin")
    ),
    "sequences": Drawn(f"sequences --task copy {FULL}", {"2_gradient_after.png": "sequences_gradient"}),
    "sequences-page": Drawn("sequences", screenshot=("dashboards/sequences", PAGE, "gru")),
    "gan": Drawn(f"gan {FULL}", {"1_film.png": "gan_film"}, ("dashboards/gan", PAGE, "duel")),
    "attention": Drawn(
        f"attention {FULL}", {"1_copying.png": "attention_copying", "2_copying_attention.png": "attention_maps"}
    ),
    "claims": Drawn(f"claims {FULL}", {"gradients_in_depth.png": "claims_depth"}),
}


def main() -> None:
    """Draws the pictures of the experiments and of the checker's report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", choices=[[], *PICTURES, "report"])
    for name in parser.parse_args().names or [*PICTURES, "report"]:
        with tempfile.TemporaryDirectory() as folder:
            if name == "report":
                report(Path(folder))
            else:
                experiment(PICTURES[name], Path(folder))


def experiment(drawn: Drawn, folder: Path) -> None:
    """Runs an experiment, and takes its figures and its screenshot."""
    run_module("experiments", *drawn.command.split(), "--runs", str(folder))
    (run,) = folder.glob("*-[0-9]*")
    for figure, picture in drawn.figures.items():
        content = (run / figure).read_bytes() if figure.endswith(".png") else last_image(run, figure)
        save(f"chapters/{picture}", content)
    if drawn.screenshot is not None and CHROMIUM is not None:
        picture, page, network = drawn.screenshot
        with tensorboard(run) as board, Browser(folder / "browser") as browser:
            board.wait_for(network)
            browser.open(f"{board.url}/{page}")
            browser.wait_for("loss")
            browser.evaluate(CLOSE)
            save(picture, browser.screenshot())


def report(folder: Path) -> None:
    """Takes a screenshot of the page that ``python -m reference --html`` writes, filtered."""
    page = folder / "report.html"
    run_module("reference", "--html", str(page))
    if CHROMIUM is not None:
        with Browser(folder / "browser") as browser:
            browser.open(page.as_uri())
            browser.wait_for("Curves and errors")
            browser.evaluate(
                "filter = document.querySelector('#filter'), filter.value = 'lu float32', "
                "filter.dispatchEvent(new Event('input')), null"
            )
            save("report", browser.screenshot())


def run_module(*words: str) -> None:
    """Runs a module of the checkout."""
    subprocess.run([sys.executable, "-m", *words], cwd=ROOT, check=True)


def last_image(run: Path, tag: str) -> bytes:
    """Returns the last image with a tag in TensorBoard's records."""
    records = EventAccumulator(str(run), {"images": 0})
    records.Reload()
    return records.Images(tag)[-1].encoded_image_string


def save(picture: str, content: bytes) -> None:
    """Writes a picture and says so."""
    file = IMAGES / f"{picture}.png"
    file.write_bytes(content)
    print(file.relative_to(ROOT), flush=True)


if __name__ == "__main__":
    main()
