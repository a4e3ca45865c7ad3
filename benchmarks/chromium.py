"""Headless Chromium, driven over a pipe by its DevTools protocol; nothing needs to be installed."""

import base64
import itertools
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from ocijax.errors import InputError

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

# Chromium reads commands from descriptor 3 and writes what happens to 4, a zero byte after each.
_LAUNCHER = """
import fcntl, os, sys
commands, events = (fcntl.fcntl(int(one), fcntl.F_DUPFD, 10) for one in sys.argv[1:3])
os.dup2(commands, 3)
os.dup2(events, 4)
os.execvp(sys.argv[3], sys.argv[3:])
"""


def find_chromium() -> str | None:
    """The path of a Chromium on this machine, or ``None``."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Browser:
    """One page of a headless Chromium. Use as a context manager.

    Attributes:
      problems: what the page complained of: exceptions, and what its policy refused.
      requested: addresses that it asked for.

    Args:
      width: of its window, in pixels.
      height: likewise.
      dark: whether it prefers dark colours.
      seconds: longest wait for an answer.

    Raises:
      InputError: there is no Chromium.
    """

    def __init__(
        self, width: int = 1280, height: int = 900, dark: bool = False, seconds: float = 60.0
    ):
        program = find_chromium()
        if program is None:
            raise InputError(f"no Chromium is installed: one of {', '.join(NAMES)}")
        self.problems: list[str] = []
        self.requested: list[str] = []
        self._seconds = seconds
        self._numbers = itertools.count(1)
        self._left = b""
        self._loaded = False
        self._profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        commands, self._commands = os.pipe()
        self._events, events = os.pipe()
        arguments = [program, "--headless", "--remote-debugging-pipe", "--disable-gpu"]
        arguments += [f"--user-data-dir={self._profile.name}", f"--window-size={width},{height}"]
        arguments += ["--no-first-run", "--hide-scrollbars", "--force-color-profile=srgb"]
        if os.geteuid() == 0:  # its own sandbox refuses root
            arguments.append("--no-sandbox")
        self._process = subprocess.Popen(
            [sys.executable, "-c", _LAUNCHER, str(commands), str(events), *arguments],
            pass_fds=(commands, events),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(commands)
        os.close(events)
        self._session: str | None = None
        try:
            self._attach(dark)
        except BaseException:
            self.__exit__()
            raise

    def _attach(self, dark: bool) -> None:
        """Opens an empty page and has it tell what happens."""
        target = self._ask("Target.createTarget", url="about:blank")["targetId"]
        attached = self._ask("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._ask(f"{domain}.enable")
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._ask("Emulation.setEmulatedMedia", features=[scheme])

    def __enter__(self) -> "Browser":
        return self

    def __exit__(self, *_) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._commands)
        os.close(self._events)
        self._profile.cleanup()

    def open(self, address: str, ready: str = "true") -> float:
        """Goes to an address; returns the seconds until it is loaded and ``ready`` holds."""
        began = time.monotonic()
        self._loaded = False
        self._ask("Page.navigate", url=address)
        while not self._loaded:  # until then an expression may meet the page before
            self._note(self._read(began + self._seconds))
        self.wait(ready)
        return time.monotonic() - began

    def wait(self, expression: str) -> None:
        """Waits until an expression holds.

        Raises:
          TimeoutError: it does not.
        """
        until = time.monotonic() + self._seconds
        while not self.evaluate(expression):
            if time.monotonic() > until:
                raise TimeoutError(f"{expression} does not hold; {self.problems}")
            time.sleep(0.02)

    def evaluate(self, expression: str) -> Any:
        """What an expression, or the promise that it gives, comes to in the page."""
        answer = self._ask(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        if "exceptionDetails" in answer:
            raise RuntimeError(f"{expression}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def screenshot(self, path: str | Path) -> None:
        """Writes a PNG of what the window shows."""
        Path(path).write_bytes(base64.b64decode(self._ask("Page.captureScreenshot")["data"]))

    def _ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        number = next(self._numbers)
        command = {"id": number, "method": method, "params": parameters}
        if self._session:
            command["sessionId"] = self._session
        left = json.dumps(command).encode() + b"\0"
        while left:
            left = left[os.write(self._commands, left) :]
        until = time.monotonic() + self._seconds
        while True:
            message = self._read(until)
            if message.get("id") != number:
                self._note(message)
            elif "error" in message:
                raise RuntimeError(f"{method}: {message['error']['message']}")
            else:
                return message["result"]

    def _read(self, until: float) -> dict[str, Any]:
        while b"\0" not in self._left:
            readable, _, _ = select.select(
                [self._events], [], [], max(0.0, until - time.monotonic())
            )
            if not readable:
                raise TimeoutError(f"Chromium gave no answer in {self._seconds:g} s")
            read = os.read(self._events, 1 << 20)
            if not read:
                raise RuntimeError("Chromium has ended")
            self._left += read
        message, _, self._left = self._left.partition(b"\0")
        return json.loads(message)

    def _note(self, message: dict[str, Any]) -> None:
        told = message.get("params", {})
        match message.get("method"):
            case "Page.loadEventFired":
                self._loaded = True
            case "Runtime.exceptionThrown":
                self.problems.append(str(told["exceptionDetails"]))
            case "Log.entryAdded" if told["entry"]["level"] in ("error", "warning"):
                self.problems.append(told["entry"]["text"])
            case "Network.requestWillBeSent":
                self.requested.append(told["request"]["url"])
