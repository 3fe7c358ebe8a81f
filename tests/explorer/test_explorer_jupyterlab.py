"""The widget in a real JupyterLab, in its dark theme, over data that needs no model."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager, suppress

import nbformat
import numpy as np
import psutil
import pytest

from rg_helpers.explorer import weights_of

TOKEN = "of-this-test"
PATIENCE = 180  # seconds; a loaded machine starts a kernel slowly
MAKE = """import json
from pathlib import Path
from rg_helpers.explorer.widget import Explorer
explorer = Explorer(json.loads(Path("data.json").read_text()))
explorer"""
READ = "print('chosen', explorer.method, explorer.threshold, explorer.selected)"
READY = """async () => {
  const [notebook] = [...jupyterapp.shell.widgets("main")];
  await notebook.sessionContext.ready;
  await notebook.sessionContext.session.kernel.info;
}"""
MOVE = "explorer.selected = 12\nexplorer.view = 'arcs'"


@contextmanager
def jupyterlab(folder):
    """Run JupyterLab on a free loopback port, with settings of its own; yield its address."""
    pytest.importorskip("jupyterlab")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    own = {f"JUPYTER_{name}_DIR": str(folder / name) for name in ("CONFIG", "RUNTIME", "DATA")}
    own |= {"JUPYTERLAB_SETTINGS_DIR": str(folder / "settings")}
    own |= {"JUPYTERLAB_WORKSPACES_DIR": str(folder / "workspaces"), "IPYTHONDIR": str(folder)}
    for name, settings in {
        "themes": {"theme": "JupyterLab Dark"},
        "notification": {"fetchNews": "false", "checkForUpdates": False},
    }.items():
        path = folder / "settings" / "@jupyterlab" / "apputils-extension"
        path.mkdir(parents=True, exist_ok=True)
        (path / f"{name}.jupyterlab-settings").write_text(json.dumps(settings))
    options = [f"--ServerApp.port={port}", "--ServerApp.port_retries=0", "--ServerApp.ip=127.0.0.1"]
    options += [f"--IdentityProvider.token={TOKEN}", f"--ServerApp.root_dir={folder / 'work'}"]
    options += ["--no-browser", "--allow-root", "--LabApp.expose_app_in_browser=True"]
    log = (folder / "log").open("w")
    server = subprocess.Popen(
        [sys.executable, "-m", "jupyterlab", *options],
        env={**os.environ, **own},
        stdout=log,
        stderr=subprocess.STDOUT,
    )
    address = f"http://127.0.0.1:{port}"
    try:
        until = time.monotonic() + PATIENCE
        while True:
            assert server.poll() is None, (folder / "log").read_text()[-2000:]
            try:
                urllib.request.urlopen(f"{address}/api/status?token={TOKEN}", timeout=5).close()
                break
            except OSError:
                assert time.monotonic() < until, "JupyterLab did not start in time"
                time.sleep(0.3)
        yield address
    finally:
        family = [server, *psutil.Process(server.pid).children(recursive=True)]
        server.terminate()
        try:
            server.wait(15)
        except subprocess.TimeoutExpired:
            server.kill()
        for process in family[1:]:  # kernels have sessions of their own
            with suppress(psutil.NoSuchProcess):
                process.kill()
        log.close()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_explorer_in_jupyterlab(browser, flawed_data, tmp_path):
    pytest.importorskip("anywidget")
    work = tmp_path / "work"
    work.mkdir()
    (work / "data.json").write_text(json.dumps(flawed_data))
    cells = [nbformat.v4.new_code_cell(source) for source in (MAKE, READ, MOVE)]
    notebook = nbformat.v4.new_notebook(cells=cells)
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3"}
    nbformat.write(notebook, work / "explorer.ipynb")
    with jupyterlab(tmp_path) as address:
        page = browser.new_page(viewport={"width": 1300, "height": 1000})
        page.set_default_timeout(PATIENCE * 1000)
        asked = []
        page.on("request", lambda r: asked.append(r.url))
        page.goto(f"{address}/doc/tree/explorer.ipynb?token={TOKEN}")
        page.wait_for_selector(".jp-CodeCell .cm-content")
        page.evaluate(READY)

        def run(cell):
            page.locator(".jp-CodeCell .cm-content").nth(cell).click()
            page.evaluate("jupyterapp.commands.execute('notebook:run-cell')")

        run(0)
        page.wait_for_selector(".rgx-row")
        background, ink = page.evaluate(
            "[getComputedStyle(document.querySelector('.rgx')).backgroundColor,"
            " getComputedStyle(document.querySelector('.rgx-words')).color]"
        )
        assert _lightness(background) < 80 < 160 < _lightness(ink)

        weights = weights_of(flawed_data, "attention")
        page.fill("input[name=threshold]", "0.25")
        page.locator("input[name=threshold]").dispatch_event("change")
        page.hover('.rgx-row[data-node="14"]')
        assert _sources(page) == set(np.flatnonzero(weights[14] >= 0.25).tolist())
        page.focus('.rgx-row[data-node="14"]')
        page.keyboard.press("ArrowDown")
        assert page.evaluate("document.activeElement.dataset.node") == "15"
        # The keys moved the explorer's line and not JupyterLab's cell.
        assert (
            page.locator(".jp-CodeCell")
            .nth(0)
            .evaluate("cell => cell.classList.contains('jp-mod-active')")
        )
        run(1)
        printed = page.locator(".jp-OutputArea-output pre", has_text="chosen")
        assert printed.inner_text().split() == ["chosen", "attention", "0.25", "15"]
        page.select_option("select[name=method]", "previous step")
        page.hover('.rgx-row[data-node="14"]')
        assert _sources(page) == {13}
        run(2)  # Python moves what the page shows
        page.wait_for_selector('.rgx[data-view="arcs"]')
        page.wait_for_selector('.rgx-row[data-node="12"][aria-selected="true"]')
        page.screenshot(path=tmp_path / "jupyterlab.png")
        page.close()
    # anywidget hands the module to the browser as a blob; nothing comes from elsewhere.
    assert [url for url in asked if url[:4] == "http" and not url.startswith(address)] == []


def _sources(page) -> set[int]:
    return {int(r.get_attribute("data-node")) for r in page.locator(".rgx-source").all()}


def _lightness(colour: str) -> float:
    numbers = colour.partition("(")[2].rstrip(")").split(",")[:3]
    return sum(map(float, numbers)) / 3
