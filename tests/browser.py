"""A page of headless Chromium.

`Browser` speaks the DevTools protocol through a pipe, so that it needs nothing but the browser.
"""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import time

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

# All text on the page, including shadow roots, which contain that of TensorBoard's plugins.
TEXT = """
(function text(node) {
  let found = node.nodeType === Node.TEXT_NODE ? node.data : "";
  if (node.shadowRoot) found += text(node.shadowRoot);
  for (const child of node.childNodes) if (!["STYLE", "SCRIPT"].includes(child.nodeName)) found += " " + text(child);
  return found;
})(document.body ?? document).replace(/\\s+/g, " ")
"""


class Browser:
    """A page of a headless Chromium; a context manager.

    Attributes:
        errors: Console errors and failed requests.
        requests: The addresses of all requests.
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
        self.errors, self.requests = [], []
        page = next(t for t in self._call("Target.getTargets")["targetInfos"] if t["type"] == "page")
        self._session = self._call("Target.attachToTarget", targetId=page["targetId"], flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._call(f"{domain}.enable")

    def open(self, url):
        self._call("Page.navigate", url="about:blank")
        self._call("Page.navigate", url=url)

    def resize(self, width, height):
        self._call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False
        )

    def screenshot(self):
        """Returns the visible part of the page as PNG."""
        time.sleep(5)  # until what is shown has its final place
        return base64.b64decode(self._call("Page.captureScreenshot", format="png")["data"])

    def evaluate(self, expression):
        """Returns the value of an expression of JavaScript on the page."""
        answer = self._call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def text(self):
        """Returns the text of the page; joins the parts of a tag, which are separate elements."""
        return (self.evaluate(TEXT) or "").replace(" /", "/")

    def wait_until(self, expression):
        """Waits until an expression of JavaScript is true."""
        deadline = time.monotonic() + 90
        while not self.evaluate(expression):
            assert time.monotonic() < deadline, f"{expression} is not true of: {self.text()[:4000]}"
            time.sleep(0.02)

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
        match content:
            case {"method": "Runtime.exceptionThrown", "params": {"exceptionDetails": error}}:
                self.errors.append(error)
            case {"method": "Log.entryAdded", "params": {"entry": {"level": "error"} as error}}:
                self.errors.append(error)
            case {"method": "Runtime.consoleAPICalled", "params": {"type": "error", "args": error}}:
                self.errors.append(error)
            case {"method": "Network.requestWillBeSent", "params": {"request": request}}:
                self.requests.append(request["url"])
        return content
