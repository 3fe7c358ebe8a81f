"""One HTML index of all executed notebooks and claims, made from the files that lie there."""

from __future__ import annotations

import datetime
import html
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from tqdm.auto import tqdm

from rg_helpers.artefacts import sha256_of, write_text
from rg_helpers.course.claims import Claim, check_claims, read_claims
from rg_helpers.course.folders import notebooks_folder, repository
from rg_helpers.course.notebook_files import notebook_title
from rg_helpers.course.notebook_html import notebook_page, page
from rg_helpers.course.profiles import PROFILES
from rg_helpers.course.runner import describe_error, short_error
from rg_helpers.course.sidecar import (
    FINISHED,
    Sidecar,
    fingerprint,
    hash_data,
    hash_package,
    read_sidecar,
)

FAILED_SUFFIX = ".failed"
NOT_RUN = "not run"


@dataclass(frozen=True)
class Entry:
    """A row of the report: a run found on disk, or a notebook that has none."""

    profile: str
    name: str
    title: str
    status: str
    notebook: Path | None  # the executed notebook to show
    record: Sidecar | None

    @property
    def page(self) -> str | None:
        """The entry's HTML page, from the report's folder; None without a notebook to show."""
        return None if self.notebook is None else f"{self.profile}/{self.name}.html"


def write_report(runs: str | Path) -> Path:
    """Write `runs`/report/index.html and one page a notebook; return the index's path.

    Raises `FileNotFoundError` when nothing was ever run there.
    """
    runs = Path(runs)
    entries = collect_entries(runs)
    if all(entry.status == NOT_RUN for entry in entries):
        raise FileNotFoundError(f"no runs in {runs}: execute notebooks first with `rgh run`")
    folder = runs / "report"
    for entry in tqdm(entries, desc="report", unit="notebook", disable=None):
        if entry.page is not None:
            write_text(folder / entry.page, notebook_page(entry.notebook, entry.title))
    claims = list(read_claims().values())
    body = "\n".join(
        [
            "<h1>Reasoning graphs: the course as it was run</h1>",
            f"<p>Written {datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M} UTC.</p>",
            *(_profile_section(name, entries) for name in PROFILES),
            _claims_section(claims),
        ]
    )
    return write_text(folder / "index.html", page("Reasoning graphs: runs", body))


def collect_entries(runs: Path) -> list[Entry]:
    """Return an entry for every run below `runs`, and for every notebook a profile misses."""
    package_hash, data_hash = hash_package(), hash_data(repository() / "data")
    notebooks = sorted(notebooks_folder().glob("*.ipynb"))
    entries = []
    for profile in PROFILES:
        folder = runs / profile
        files = [*folder.glob("*.ipynb"), *folder.glob("*.json")]
        names = sorted({path.stem.removesuffix(FAILED_SUFFIX) for path in files})
        for name in names:
            entries.append(_entry(folder, name, package_hash, data_hash))
        if names:
            entries += [
                Entry(profile, path.stem, notebook_title(path), NOT_RUN, None, None)
                for path in notebooks
                if path.stem not in names
            ]
    return sorted(entries, key=lambda entry: (list(PROFILES).index(entry.profile), entry.name))


def _entry(folder: Path, name: str, package_hash: str, data_hash: str) -> Entry:
    output, failed = folder / f"{name}.ipynb", folder / f"{name}{FAILED_SUFFIX}.ipynb"
    record = read_sidecar(output)
    source = notebooks_folder() / f"{name.partition('@')[0]}.ipynb"
    shown = output if output.is_file() else None
    if record is None:
        status = "record missing or unreadable: run it again"
    elif record.status != FINISHED:
        status, shown = record.status, failed if failed.is_file() else None
    elif shown is None or record.output_hash != sha256_of(shown):
        status, shown = "damaged: run it again", None
    elif not source.is_file():
        status = "finished, notebook since removed"
    else:
        parameters = record.inputs["parameters"]
        now = fingerprint(source, parameters, package_hash, data_hash)
        status = FINISHED if now.hash == record.fingerprint else "finished, inputs since changed"
    title = notebook_title(source) if source.is_file() else name
    return Entry(folder.name, name, title, status, shown, record)


def _profile_section(profile: str, entries: Sequence[Entry]) -> str:
    mine = [entry for entry in entries if entry.profile == profile]
    if not mine:
        return ""
    rows = []
    for entry in mine:
        record = entry.record
        name = html.escape(entry.name)
        if entry.page is not None:
            name = f'<a href="{quote(entry.page)}">{name}</a>'
        mark = ' class="failed"' if not entry.status.startswith(FINISHED) else ""
        state = f"<span{mark}>{html.escape(entry.status)}</span>"
        if record is not None and record.status != FINISHED:
            text = f"{describe_error(record)}\n\n{short_error(record)}"
            state += f"<details><summary>why</summary><pre>{html.escape(text)}</pre></details>"
        rows.append(
            [
                name,
                html.escape(entry.title),
                state,
                f"{record.seconds / 60:.2f}" if record else "",
                f"{record.peak_memory_gib:.2f}" if record else "",
                record.started[:16].replace("T", " ") if record else "",
            ]
        )
    minutes = sum(entry.record.seconds for entry in mine if entry.record) / 60
    heading = f"<h2>Profile {profile}</h2><p>{html.escape(PROFILES[profile].purpose)}; "
    return f"{heading}{minutes:.1f} notebook minutes.</p>" + _table(
        ["notebook", "title", "status", "minutes", "GiB", "started (UTC)"], rows, {3, 4}
    )


def _claims_section(claims: Sequence[Claim]) -> str:
    if not claims:
        return "<h2>Claims</h2><p>None yet.</p>"
    broken = {problem.id: problem.problem for problem in check_claims(claims)}
    rows = []
    for claim in claims:
        bounded = claim.low is not None and claim.high is not None
        met = {None: "", True: "met", False: '<span class="failed">missed</span>'}
        rows.append(
            [
                html.escape(claim.id),
                html.escape(claim.statement),
                f"{claim.value:.4g}" + (f" [{claim.low:.4g}, {claim.high:.4g}]" if bounded else ""),
                html.escape(f"{claim.n or ''} {claim.unit}".strip()),
                f"{html.escape(claim.target or '')} {met[claim.target_met()]}",
                html.escape(f"{claim.profile or ''} {claim.date}".strip()),
                html.escape(broken.get(claim.id, "agrees")),
            ]
        )
    header = ["claim", "statement", "value [95 %]", "n", "target", "measured", "source"]
    return "<h2>Claims</h2>" + _table(header, rows, {2})


def _table(header: Iterable[str], rows: Iterable[Sequence[str]], numbers: set[int]) -> str:
    """Return an HTML table; cells are HTML already, those in columns `numbers` align right."""
    head = "".join(f"<th>{cell}</th>" for cell in header)
    lines = []
    for row in rows:
        cells = (
            f'<td class="number">{cell}</td>' if column in numbers else f"<td>{cell}</td>"
            for column, cell in enumerate(row)
        )
        lines.append(f"<tr>{''.join(cells)}</tr>")
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>"
