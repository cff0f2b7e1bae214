"""Headless Chromium, driven over the DevTools protocol by a pipe: no driver, no network port."""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-dev-shm-usage", "--hide-scrollbars", "--remote-debugging-pipe",
]  # fmt: skip
TIMEOUT = 60


class Browser:
    """One Chromium with a profile of its own, which outlives it."""

    def __init__(self, profile: Path, downloads: Path) -> None:
        """Start it; it takes commands on file descriptor 3 and answers on 4."""
        assert CHROMIUM is not None
        taken, self._commands = os.pipe()
        self._answers, given = os.pipe()
        shell = f'exec "$@" 3<&{taken} 4>&{given}'
        self.process = subprocess.Popen(
            ["bash", "-c", shell, "bash", CHROMIUM, *FLAGS, f"--user-data-dir={profile}"],
            pass_fds=(taken, given),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(taken)
        os.close(given)
        self._buffer = b""
        self._id = 0
        self.events: list[dict[str, Any]] = []
        downloading = {"behavior": "allow", "downloadPath": str(downloads)}
        self.send("Browser.setDownloadBehavior", **downloading)

    def send(self, method: str, session: str = "", **params: Any) -> dict[str, Any]:
        """Send a command and wait for its result; what happens meanwhile goes to `events`."""
        self._id += 1
        command = {"id": self._id, "method": method, "params": params}
        command |= {"sessionId": session} if session else {}
        os.write(self._commands, json.dumps(command).encode() + b"\0")
        while True:
            message = self._read()
            if message.get("id") == self._id:
                assert "error" not in message, f"{method}: {message['error']}"
                return dict(message["result"])
            self.events.append(message)

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            part = os.read(self._answers, 1 << 16)
            assert part, "Chromium has ended"
            self._buffer += part
        message, _, self._buffer = self._buffer.partition(b"\0")
        return dict(json.loads(message))

    def open(self, url: str, width: int = 1280, height: int = 900) -> "Tab":
        """A new tab."""
        return Tab(self, url, width, height)

    def close(self) -> None:
        """End it; its profile keeps what pages stored."""
        self.send("Browser.close")
        self.process.wait(timeout=TIMEOUT)


class Tab:
    """A page in a tab."""

    def __init__(self, browser: Browser, url: str, width: int, height: int) -> None:
        """Open it and wait until it has loaded."""
        self.browser = browser
        self.target = browser.send("Target.createTarget", url="about:blank")["targetId"]
        attached = browser.send("Target.attachToTarget", targetId=self.target, flatten=True)
        self.session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        self.send("Emulation.setDeviceMetricsOverride", **size)
        self.send("Page.navigate", url=url)
        self.wait(lambda: self.js("document.readyState === 'complete' && location.href") == url)

    def send(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a command to this tab."""
        return self.browser.send(method, self.session, **params)

    def js(self, expression: str) -> Any:
        """The value of an expression in the page."""
        result = self.send("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def wait(self, holds: Callable[[], Any]) -> None:
        """Wait until something holds."""
        end = time.monotonic() + TIMEOUT
        while not holds():
            assert time.monotonic() < end, "waited in vain"
            time.sleep(0.05)

    def key(self, key: str) -> None:
        """Press and release a key."""
        text = {"text": key} if len(key) == 1 else {}
        self.send("Input.dispatchKeyEvent", type="keyDown", key=key, **text)
        self.send("Input.dispatchKeyEvent", type="keyUp", key=key)

    def write(self, text: str) -> None:
        """Type a text where the focus is."""
        self.send("Input.insertText", text=text)

    def click(self, selector: str) -> None:
        """Click in the middle of what a selector names; it must be in sight and on top."""
        box = self.js(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)});"
            "e.scrollIntoView({block: 'center'}); const b = e.getBoundingClientRect();"
            "return [b.x + b.width / 2, b.y + b.height / 2]; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.send(
                "Input.dispatchMouseEvent", type=kind, x=box[0], y=box[1], button="left",
                clickCount=1,
            )  # fmt: skip

    def close(self) -> None:
        """Close the tab."""
        self.browser.send("Target.closeTarget", targetId=self.target)

    def problems(self) -> list[str]:
        """What the page wrote to the console, threw, or asked of a network."""
        self.js("1")
        wrong = []
        for event in self.browser.events:
            if event.get("sessionId") != self.session:
                continue
            method, params = event["method"], event["params"]
            if method in ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded"):
                wrong.append(f"{method}: {json.dumps(params)[:300]}")
            if method == "Network.requestWillBeSent":
                url = params["request"]["url"]
                if not url.startswith(("file:", "blob:")):
                    wrong.append(url)
        return wrong
