"""The page in a real browser: it works, it asks for nothing, and what models wrote never runs."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sample_runs import HOSTILE, hostile_run, run_maker

from reports.build import build_report
from reports.comparing import compare_suites
from reports.flips import flips
from reports.gather import gather
from reports.versus import render_versus
from reports.writing import write

BROWSER, DRIVER = shutil.which("chromium") or shutil.which("google-chrome"), shutil.which("chromedriver")


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """Debian's Chromium, headless. Where it is missing the tests are skipped, or fail if MELLUM_REQUIRE_BROWSER=1."""
    try:
        from selenium import webdriver
        from selenium.webdriver.chrome.service import Service
    except ImportError:
        webdriver = None  # type: ignore[assignment]
    if webdriver is None or BROWSER is None or DRIVER is None:
        say = pytest.fail if os.environ.get("MELLUM_REQUIRE_BROWSER") == "1" else pytest.skip
        say("no chromium, chromedriver or selenium: apt-get install chromium chromium-driver; pip install -e .[dev]")
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    # no-sandbox: Chromium's own sandbox refuses to start as root, which is what a container's CI is
    for flag in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--window-size=1400,1000",
    ):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    yield driver
    driver.quit()


def compared(out: Path, a: Path, b: Path) -> Path:
    first, second = gather([a, b]).runs
    pairs = {
        name: (result.headline, values.by_problem(), other.by_problem())
        for name, result in first.suites.items()
        if (values := result.values) and name in second.suites and (other := second.suites[name].values)
    }
    rows = compare_suites(pairs)
    assert rows
    return write(out, "compare.html", render_versus(first, second, rows, flips(first, second, rows, 20)))


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A good report, one of a hostile run, and one of published tables alone."""
    root = tmp_path_factory.mktemp("reports")
    make = run_maker(root)
    runs = [
        make("org/one", skill=0.8, seed=1, suites=["humaneval_plus", "gsm8k", "harm_rate"]),
        make("org/two", skill=0.4, seed=2, suites=["humaneval_plus", "harm_rate"]),
        make("org/three", skill=0.6, seed=3, suites=["humaneval_plus", "gsm8k"]),
    ]
    found = {
        "good": build_report(runs, baselines=["mellum2-report"], out=root / "good").of("html"),
        "hostile": build_report([hostile_run(root / "x"), *runs[:1]], out=root / "hostile").of("html"),
        "compared": compared(root, runs[0], runs[1]),
        "compared hostile": compared(root / "other", hostile_run(root / "y"), hostile_run(root / "z", passed=2)),
        "published": build_report([], baselines=["mellum2-report"], out=root / "published").of("html"),
    }
    return {name: path for name, path in found.items() if path is not None}


def visit(driver: Any, path: Path) -> None:
    driver.get("about:blank")
    driver.get_log("browser")
    driver.get_log("performance")
    driver.get(path.as_uri())


def click(driver: Any, selector: str) -> None:
    driver.execute_script("document.querySelector(arguments[0]).click()", selector)


def requests(driver: Any) -> list[str]:
    events = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
    return [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]


@pytest.mark.parametrize("name", ["good", "hostile", "published", "compared", "compared hostile"])
def test_no_request_no_error_and_nothing_hostile_runs(chromium: Any, pages: dict[str, Path], name: str) -> None:
    from selenium.common.exceptions import NoAlertPresentException

    visit(chromium, pages[name])
    chromium.execute_script("for (const s of document.querySelectorAll('.sample summary')) s.click()")
    chromium.execute_script("for (const d of document.querySelectorAll('details')) d.open = true")
    for button in chromium.find_elements("css selector", "thead button"):
        chromium.execute_script("arguments[0].click()", button)
    chromium.execute_script("return new Promise((done) => setTimeout(done, 200))")
    with pytest.raises(NoAlertPresentException):
        _ = chromium.switch_to.alert
    assert chromium.execute_script("return window.pwned") is None
    assert chromium.get_log("browser") == []
    assert requests(chromium) == [pages[name].as_uri()]
    assert chromium.title.startswith("mellum-eval ")


def test_hostile_text_is_read_and_not_obeyed(chromium: Any, pages: dict[str, Path]) -> None:
    visit(chromium, pages["hostile"])
    click(chromium, ".sample summary")
    chromium.execute_script("return new Promise((done) => setTimeout(done, 100))")
    shown = chromium.execute_script("return document.querySelector('.sample').textContent")
    for text in HOSTILE[:8]:
        assert text in shown
    assert "a\\u202egnp.exe" in shown
    assert "\u202e" not in chromium.execute_script("return document.documentElement.textContent")
    assert (
        chromium.execute_script("return document.querySelectorAll('img, iframe, object, a[href^=javascript]').length")
        == 0
    )


def test_sorting_by_a_suite_keeps_measured_and_published_apart(chromium: Any, pages: dict[str, Path]) -> None:
    visit(chromium, pages["good"])
    column = chromium.execute_script(
        "return [...document.querySelectorAll('#leaderboard ~ .scroll thead button')]"
        ".find((b) => b.textContent.startsWith('humaneval_plus')).dataset.column"
    )
    click(chromium, f"#leaderboard ~ .scroll thead button[data-column='{column}']")
    read = (
        "return [...document.querySelector('#leaderboard ~ .scroll table').tBodies].map((body) => "
        "[...body.rows].filter((r) => r.cells[arguments[0]] && r.cells[arguments[0]].dataset.v !== undefined)"
        ".map((r) => Number(r.cells[arguments[0]].dataset.v)))"
    )
    falling = [values for values in chromium.execute_script(read, int(column)) if values]
    assert len(falling) == 2
    assert all(values == sorted(values, reverse=True) and len(values) >= 3 for values in falling)
    click(chromium, f"#leaderboard ~ .scroll thead button[data-column='{column}']")
    rising = [values for values in chromium.execute_script(read, int(column)) if values]
    assert rising == [list(reversed(values)) for values in falling]
    sort = "return document.querySelector('#leaderboard ~ .scroll th[aria-sort]').getAttribute('aria-sort')"
    assert chromium.execute_script(sort) == "ascending"


def test_lower_is_better_sorts_the_lowest_first(chromium: Any, pages: dict[str, Path]) -> None:
    visit(chromium, pages["good"])
    chromium.execute_script(
        "[...document.querySelectorAll('#leaderboard ~ .scroll thead button')]"
        ".find((b) => b.textContent.startsWith('harm_rate')).click()"
    )
    first = chromium.execute_script("return document.querySelector('#leaderboard ~ .scroll tbody tr th').dataset.v")
    assert first == "org/two"


def test_samples_filter_search_and_open(chromium: Any, pages: dict[str, Path]) -> None:
    visit(chromium, pages["good"])
    choose = (
        "const s = document.getElementById(arguments[0]); s.value = arguments[1];"
        "s.dispatchEvent(new Event(s.tagName === 'SELECT' ? 'change' : 'input'));"
        "return [...document.querySelectorAll('.sample summary')].map((x) => x.textContent)"
    )
    everything = chromium.execute_script(choose, "by-run", "")
    mine = chromium.execute_script(choose, "by-run", "org/two")
    assert 0 < len(mine) < len(everything)
    assert all("org/two" in text for text in mine)
    timeouts = chromium.execute_script(choose, "by-outcome", "timeout")
    assert timeouts
    assert all(text.startswith("timeout") for text in timeouts)
    assert chromium.execute_script(choose, "by-text", "no such text anywhere") == []
    assert "0 of" in chromium.execute_script("return document.getElementById('samples-count').textContent")
    chromium.execute_script(choose, "by-text", "")
    click(chromium, ".sample summary")
    chromium.execute_script("return new Promise((done) => setTimeout(done, 100))")
    assert "expected" in chromium.execute_script("return document.querySelector('.sample dl').textContent")


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("name", ["good", "published", "compared"])
def test_axe_finds_no_serious_fault(chromium: Any, pages: dict[str, Path], name: str, theme: str) -> None:
    """axe-core over the whole page with everything unfolded: contrast, names, roles, tables, keyboard."""
    from axe_core_python.selenium import Axe

    visit(chromium, pages[name])
    chromium.execute_script(f"document.documentElement.dataset.theme = '{theme}'")
    chromium.execute_script("for (const d of document.querySelectorAll('details')) d.open = true")
    found = Axe().run(chromium)["violations"]
    faults = [
        f"{fault['id']}: {node['html'][:200]}: {node['failureSummary']}"
        for fault in found
        if fault["impact"] in ("serious", "critical")
        for node in fault["nodes"][:3]
    ]
    assert faults == []


def test_theme_switches_and_is_kept_for_the_page(chromium: Any, pages: dict[str, Path]) -> None:
    visit(chromium, pages["good"])
    colour = "return getComputedStyle(document.body).backgroundColor"
    before = chromium.execute_script(colour)
    click(chromium, "#theme")
    assert chromium.execute_script(colour) != before
    click(chromium, "#theme")
    assert chromium.execute_script(colour) == before


def test_the_page_itself_never_scrolls_sideways(chromium: Any, pages: dict[str, Path]) -> None:
    for name, path in pages.items():
        for width in (500, 1000, 1600):
            chromium.set_window_size(width, 900)
            visit(chromium, path)
            wide = chromium.execute_script(
                "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
            )
            assert wide <= 0, f"{name} at {width}"


def test_print_is_dark_on_light_whatever_the_theme(chromium: Any, pages: dict[str, Path]) -> None:
    visit(chromium, pages["good"])
    chromium.execute_script("document.documentElement.dataset.theme = 'dark'")
    chromium.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    try:
        cell = "getComputedStyle(document.querySelector('#leaderboard ~ .scroll tbody td'))"
        ink = chromium.execute_script(f"return {cell}.color.match(/\\d+/g).slice(0, 3).map(Number)")
        paper = chromium.execute_script(
            "return getComputedStyle(document.querySelector('#leaderboard ~ .scroll')).backgroundColor"
            ".match(/\\d+/g).slice(0, 3).map(Number)"
        )
        assert max(ink) < 80
        assert min(paper) > 220
    finally:
        chromium.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
