"""TensorBoard started on a folder, and accessed through HTTP."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from contextlib import contextmanager


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
