"""A headless Chromium, driven by its command line: its view of a page, and its complaints."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

# The page in a frame of a given width, so that widths are possible that no window has, and a probe
# beside it.
FRAME = """<!doctype html>
<meta charset="utf-8">
<body style="margin:0">
<iframe id="page" src="{page}" style="border:0;width:{width}px;height:3000px"></iframe>
<script>
const frame = document.getElementById("page");
const probe = (window, document) => {{ {probe} }};
frame.addEventListener("load", () => {{
  const result = probe(frame.contentWindow, frame.contentDocument);
  document.body.dataset.result = JSON.stringify(result);
}});
</script>
"""


def find_browser() -> str | None:
    """The path of a Chromium, if there is one."""
    return next((path for path in map(shutil.which, NAMES) if path), None)


@dataclass(frozen=True)
class Seen:
    """What came of a visit: the answer of the probe, and the errors on the console."""

    result: Any
    errors: list[str]


class _Result(HTMLParser):
    found: str | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found = self.found or dict(attrs).get("data-result")


def visit(browser: str, page: Path, width: int, probe: str) -> Seen:
    """Open a page at a width and run `probe`.

    `probe` is the body of a JavaScript function of window and document. The page is given as a
    file; the probe returns what JSON can carry.
    """
    harness = page.with_name(f"frame-{width}.html")
    harness.write_text(FRAME.format(page=page.name, width=width, probe=probe), encoding="utf-8")
    profile = page.with_name("profile")
    command = [
        browser,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--no-first-run",
        "--hide-scrollbars",
        f"--user-data-dir={profile}",
        "--allow-file-access-from-files",
        "--enable-logging=stderr",
        f"--window-size={max(width, 600) + 20},1000",
        "--virtual-time-budget=10000",
        "--dump-dom",
        harness.as_uri(),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    parser = _Result()
    parser.feed(done.stdout)
    assert parser.found is not None, f"the page did not load: {done.stderr[-2000:]}"
    return Seen(json.loads(parser.found), re.findall(r"CONSOLE[:(].*", done.stderr))
