"""The report in Chromium; without one, ``tests/conftest.py`` leaves these out."""

import shutil
import subprocess
from pathlib import Path

import pytest

from clrl.report.page import write_report

from ..conftest import CHROMIUM
from ..run_files import config, run_directory
from ..synthetic_run import synthetic_run
from .page_reader import PageReader

pytestmark = pytest.mark.browser


def opened(page: Path, profile: Path) -> tuple[str, list[str]]:
    """The page as the browser understood it, and what its console says."""
    browser = shutil.which(CHROMIUM)
    assert browser is not None
    done = subprocess.run(
        [
            browser,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--enable-logging=stderr",
            f"--user-data-dir={profile}",
            "--dump-dom",
            page.as_uri(),
        ],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return done.stdout, [x for x in done.stderr.splitlines() if ":CONSOLE" in x]


def test_a_report_opens_without_a_word_on_the_console(tmp_path: Path) -> None:
    directory = run_directory(tmp_path / "run", synthetic_run(), config())
    directory.videos.mkdir()
    (directory.videos / "freeway.png").write_bytes(PIXEL)
    dom, console = opened(write_report(directory.path), tmp_path / "profile")
    assert console == []
    page = PageReader(dom)
    assert page.headings[0] == "Scores"
    assert page.headings[-1] == "Config and provenance"
    assert "At play" in page.headings


def test_the_page_forbids_requests_and_scripts_and_the_console_would_tell(
    tmp_path: Path,
) -> None:
    directory = run_directory(tmp_path / "run", synthetic_run(), config())
    report = write_report(directory.path)
    asking = '<img src="http://127.0.0.1:9/x.png"><script>1</script></body>'
    text = report.read_text(encoding="utf-8").replace("</body>", asking)
    report.write_text(text, encoding="utf-8")
    _, console = opened(report, tmp_path / "profile")
    assert len(console) == 2
    assert all("Content Security Policy" in line for line in console)


PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c489"
    "0000000d49444154789c6360606060000000050001a5f645400000000049454e44ae426082"
)
