"""TensorBoard started on a folder, and accessed through HTTP and headless Chromium.

`Browser` speaks the DevTools protocol through a pipe, so that it needs nothing but the browser.
"""

from __future__ import annotations

import json
import os
import re
import select
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from contextlib import contextmanager

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

# All text on the page, including shadow roots, which contain that of TensorBoard's plugins.
TEXT = """
(function text(node) {
  let found = node.nodeType === Node.TEXT_NODE ? node.data : "";
  if (node.shadowRoot) found += text(node.shadowRoot);
  for (const child of node.childNodes) if (!["STYLE", "SCRIPT"].includes(child.nodeName)) found += " " + text(child);
  return found;
})(document.body).replace(/\\s+/g, " ")
"""


class TensorBoard:
    """A running TensorBoard server."""

    def __init__(self, url):
        self.url = url

    def get(self, plugin, route, **query):
        """Requests a route of a plugin."""
        address = f"{self.url}/data/plugin/{plugin}/{route}?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(address, timeout=60) as answer:
            return json.load(answer)

    def post(self, plugin, route, body):
        """Posts JSON to a route of a plugin."""
        address, headers = f"{self.url}/data/plugin/{plugin}/{route}", {"Content-Type": "application/json"}
        request = urllib.request.Request(address, json.dumps(body).encode(), headers)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)

    def wait_for(self, run):
        """Waits until a run is loaded."""
        deadline = time.monotonic() + 60
        while run not in self._runs():
            assert time.monotonic() < deadline, f"{run} is not loaded"
            time.sleep(0.2)

    def _runs(self):
        try:
            return self.get("scalars", "tags")
        except urllib.error.HTTPError:  # of a list to which a run is just added
            return []


@contextmanager
def tensorboard(folder):
    """Starts TensorBoard on a folder, on a free port."""
    command = [
        sys.executable,
        "-m",
        "tensorboard.main",
        "--logdir",
        str(folder),
        "--port",
        "0",
        "--load_fast=false",
    ]
    log = folder / "tensorboard.log"
    with log.open("w") as output:
        server = subprocess.Popen([*command, "--host", "localhost"], stdout=output, stderr=output)
        try:
            deadline = time.monotonic() + 60
            while not (found := re.search(r"http://localhost:\d+", log.read_text())):
                assert server.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.1)
            yield TensorBoard(found[0])
        finally:
            server.terminate()
            server.wait(30)


class Browser:
    """A page of a headless Chromium; a context manager.

    Attributes:
        errors: Console errors and failed requests.
    """

    def __init__(self, profile):
        to_browser, self._out = os.pipe()
        self._in, from_browser = os.pipe()

        def redirect():  # the protocol uses descriptors 3 and 4
            os.dup2(to_browser, 103), os.dup2(from_browser, 104)
            os.dup2(103, 3), os.dup2(104, 4)

        flags = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--window-size=1400,1000",
        ]
        self._process = subprocess.Popen(
            [CHROMIUM, *flags, "--remote-debugging-pipe", f"--user-data-dir={profile}", "about:blank"],
            preexec_fn=redirect,
            close_fds=False,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_browser), os.close(from_browser)
        self._number, self._rest, self._session = 0, b"", None
        self.errors = []
        page = next(t for t in self._call("Target.getTargets")["targetInfos"] if t["type"] == "page")
        self._session = self._call("Target.attachToTarget", targetId=page["targetId"], flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self._call(f"{domain}.enable")

    def open(self, url):
        self._call("Page.navigate", url="about:blank")
        self._call("Page.navigate", url=url)

    def text(self):
        """Returns the text of the page; joins the parts of a tag, which are separate elements."""
        found = self._call("Runtime.evaluate", expression=TEXT, returnByValue=True)["result"]
        return found.get("value", "").replace(" /", "/")

    def wait_for(self, *texts):
        """Waits until all texts are on the page."""
        deadline = time.monotonic() + 90
        while missing := [text for text in texts if text not in self.text()]:
            assert time.monotonic() < deadline, f"{missing} is not in: {self.text()[:4000]}"
            time.sleep(0.5)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._process.terminate()
        self._process.wait(30)
        os.close(self._in), os.close(self._out)

    def _call(self, method, **parameters):
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return answer["result"]

    def _read(self):
        while b"\0" not in self._rest:
            assert select.select([self._in], [], [], 60)[0], "the browser does not answer"
            more = os.read(self._in, 1 << 20)
            assert more, "the browser has exited"
            self._rest += more
        message, _, self._rest = self._rest.partition(b"\0")
        content = json.loads(message)
        if content.get("method") == "Runtime.exceptionThrown":
            self.errors.append(content["params"]["exceptionDetails"])
        if content.get("method") == "Log.entryAdded" and content["params"]["entry"]["level"] == "error":
            self.errors.append(content["params"]["entry"])
        return content
