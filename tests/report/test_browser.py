"""The page in a real browser: it shows its numbers, and hostile text stays text."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from modeldiff_harness.plugins import load_registry
from modeldiff_harness.report.render.html import render_html
from modeldiff_harness.testing import hostile

SECTIONS = load_registry().sections()
BROWSER = next(
    (p for n in ("chromium", "chromium-browser", "google-chrome") if (p := shutil.which(n))), None
)
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine"),
]


def browse(page: str, folder: Path, *flags: str) -> str:
    """Open the page headless and return the document as the browser holds it in the end."""
    assert BROWSER is not None
    (folder / "report.html").write_text(page, encoding="utf-8")
    command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"]
    command += [f"--user-data-dir={folder / 'profile'}", *flags]
    ran = subprocess.run(
        [*command, (folder / "report.html").as_uri()], capture_output=True, timeout=120, check=True
    )
    return ran.stdout.decode()


def test_hostile_text_runs_nothing_and_neither_does_a_script_that_got_in(report, tmp_path):
    page = render_html(hostile.poisoned(report), SECTIONS)
    assert "<script" not in page
    # As if an escape had been forgotten: the policy is the second wall.
    page = page.replace("<main>", "<main><script>document.title='RAN'</script>")
    dom = browse(page, tmp_path)
    title = re.findall(r"<title>(.*?)</title>", dom, re.DOTALL)[0]
    # A payload that runs sets the title to one of these.
    assert title.strip() not in {hostile.MARK, "1", "RAN"}
    assert "→" in title
    assert dom.count("<script") == 1
    assert not re.search(r"<[^<>]*\son\w+=", dom)
    assert "&lt;script&gt;document.title=" in dom


def test_the_page_shows_its_numbers_and_a_picture_can_be_taken(report, tmp_path):
    picture = tmp_path / "page.png"
    dom = browse(
        render_html(report, SECTIONS), tmp_path, f"--screenshot={picture}", "--window-size=1200,900"
    )
    for number in ("−0.062", "+31 to +99", "0.94 (0.86 to 0.99)"):
        assert number in dom
    assert dom.count("<svg") == 3
