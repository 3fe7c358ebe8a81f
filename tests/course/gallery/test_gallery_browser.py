"""The gallery of real notebooks in a real browser, as files, at desktop and phone width."""

from __future__ import annotations

import shutil

import pytest

from rg_helpers.course import cli
from rg_helpers.course.folders import REPOSITORY_VARIABLE, notebooks_folder, results_folder

CHAPTERS = ("00_start_here", "07_which_graph_is_right")
PAGES = ("index", "claims", "glossary", "references", "runs", *(f"committed/{c}" for c in CHAPTERS))
WIDTHS = {"desktop": (1280, 900), "phone": (390, 844)}


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Pages of two committed notebooks and all claims, without a broken link."""
    notebooks, results = notebooks_folder(), results_folder()
    root = tmp_path_factory.mktemp("clone")
    (root / "notebooks").mkdir()
    (root / "pyproject.toml").write_text('[project]\nname = "rg_helpers"\n')
    for name in CHAPTERS:
        shutil.copy(notebooks / f"{name}.ipynb", root / "notebooks")
    shutil.copytree(results, root / "data" / "results")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(REPOSITORY_VARIABLE, str(root))
        assert cli.main(["report", "--committed"]) == 0
    return root / "runs" / "report"


@pytest.mark.parametrize("width", WIDTHS)
def test_pages_fit_load_alone_and_raise_nothing(site, browser, width):
    size = dict(zip(("width", "height"), WIDTHS[width], strict=True))
    context = browser.new_context(viewport=size)
    page, faults = context.new_page(), []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("request", lambda asked: _note(asked.url, faults))
    for name in PAGES:
        page.goto((site / f"{name}.html").as_uri())
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= size["width"], f"{name} is {wide} px wide"
        assert page.locator("h1").count() >= 1, name
        pictures = page.locator("img")
        blank = pictures.evaluate_all("all => all.filter(i => !i.naturalWidth).length")
        assert blank == 0, f"{name}: {blank} pictures do not show"
        silent = pictures.evaluate_all("all => all.filter(i => !i.alt).length")
        assert silent == 0, f"{name}: {silent} pictures have no alt text"
    context.close()
    assert not faults


def _note(url: str, faults: list[str]) -> None:
    if not url.startswith(("file:", "data:", "blob:")):
        faults.append(f"asked for {url}")
