"""Load a page in headless Chromium, if it is installed, and return the page after its scripts ran and the lines of its console."""

import shutil
import subprocess
from pathlib import Path

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="no chromium or google-chrome on the path")

FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--enable-logging=stderr", "--v=0"),
    *("--virtual-time-budget=20000", "--dump-dom"),
)


def browse(path: Path, profile: Path, state: str = "", dark: bool = False) -> tuple[str, str]:
    """Return the page as HTML and the lines of the console; `state` is the fragment of its address.

    Args:
        profile: A folder for what the browser keeps.
        dark: The reader prefers dark pages.
    """
    assert CHROMIUM is not None
    wish = f"--blink-settings=preferredColorScheme={0 if dark else 1}"
    done = subprocess.run(
        [CHROMIUM, *FLAGS, wish, f"--user-data-dir={profile}", "--window-size=1400,1000", f"file://{path}#{state}"],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return done.stdout, "\n".join(line for line in done.stderr.splitlines() if "CONSOLE" in line)
