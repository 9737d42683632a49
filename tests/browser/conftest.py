"""A browser and a site. A part that is missing skips with its reason, and fails where CI is set."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Generator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from tests.support.report_records import export, made_cases, make_record, scored, store, three_seeds
from uadbench.evaluation.cases import CaseMaps
from uadbench.report import build_report

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

ROWS = 2000
CASES = 300
OpenPage = Callable[..., "Page"]


def missing(reason: str) -> NoReturn:
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def browser() -> Generator[Browser]:
    try:
        import axe_playwright_python  # noqa: F401  # pyright: ignore[reportUnusedImport]
        from playwright.sync_api import sync_playwright
    except ImportError:
        missing("playwright or axe-playwright-python is not installed: pip install -e '.[dev]'")
    program = shutil.which("chromium")
    if program is None:
        missing("there is no chromium: apt-get install chromium")
    with sync_playwright() as driver:
        # A container's root cannot use chromium's sandbox; the pages are our own files.
        running = driver.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield running
        running.close()


@pytest.fixture
def open_page(browser: Browser) -> Generator[OpenPage]:
    """Opens a page of a width and colour scheme; console errors and requests to other places fail the test."""
    troubles: list[str] = []
    contexts: list[Any] = []

    def show(file: Path, *, width: int = 1400, dark: bool = False) -> Page:
        context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme="dark" if dark else "light"
        )
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: troubles.append(message.text) if message.type != "log" else None)
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("requestfailed", lambda request: troubles.append(f"failed: {request.url}"))

        def watch(request: Any) -> None:
            if not request.url.startswith(("file:", "data:")):
                troubles.append(f"another host: {request.url}")

        page.on("request", watch)
        page.goto(file.resolve().as_uri())
        return page

    yield show
    for context in contexts:
        context.close()
    assert not troubles


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A site with ranked and unranked rows, two sources, all tiers, variants, a hostile name and a stored run."""
    folder = tmp_path_factory.mktemp("site")
    records = folder / "records"
    calib = made_cases(12, healthy=True)
    for method, skill in (("synomaly", 0.9), ("autoencoder", 0.5), ("intensity", 0.2)):
        first = make_record(method, 0)
        files = scored(first, calib, made_cases(24, skill=skill))
        for seed in range(3):
            export(records, make_record(method, seed, metrics=first["metrics"], hashes=first["hashes"]), files)
    for sigma in (1, 3, 7):
        config = {"image_size": 64, "sigma": sigma}
        three_seeds(records, "synomaly", 0.4, method__config=config, method__label=f"synomaly[sigma={sigma}]")
    three_seeds(records, "unet", 0.7, method__supervision="masks", ledger__train_pixel_labels=40)
    three_seeds(records, "vae", 0.3, method__label='"><img src=x onerror=alert(1)>')
    three_seeds(records, "synomaly", 0.3, dataset__source="real")
    three_seeds(records, "dae", 0.3, status="failed", reason="Training diverged at step 3.")
    cases = many_cases()
    run = make_record("fanogan", 0)
    store(folder / "runs", run, scored(run, calib, cases))
    build_report(records, folder / "runs", folder, opener=lambda _: (calib, cases))
    return folder / "site"


def many_cases() -> list[CaseMaps]:
    """Frames, and one volume of five slices."""
    (volume,) = made_cases(1, slices=5)
    return [*made_cases(CASES - 1), replace(volume, case="volume", patient="of-the-volume", kind="volume")]


@pytest.fixture(scope="session")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A site with a table of 2000 rows."""
    folder = tmp_path_factory.mktemp("large")
    for i in range(ROWS):
        label = f"synomaly[t={i}]"
        value = int(hashlib.sha256(label.encode()).hexdigest()[:6], 16) / 16**6
        config = {"image_size": 64, "t": i, "name": f"v{i}"}
        record = make_record("synomaly", 0, 0.1 + 0.8 * value, method__label=label, method__config=config)
        export(folder / "records", record, {})
    build_report(folder / "records", None, folder)
    return folder / "site"
