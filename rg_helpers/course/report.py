"""The gallery of all executed notebooks, claims, terms and works, made from what lies there."""

from __future__ import annotations

import datetime
import html
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm.auto import tqdm

from rg_helpers.artefacts import sha256_of, write_text
from rg_helpers.course.claims import check_claims, read_claims
from rg_helpers.course.folders import notebooks_folder, repository, results_folder
from rg_helpers.course.gallery.claims_page import claims_page
from rg_helpers.course.gallery.cover import Chapter, cover, measured, notebook_picture, teaser
from rg_helpers.course.gallery.frame import BOOK, page
from rg_helpers.course.gallery.glossary import Term, glossary_page, notebook_link, read_glossary
from rg_helpers.course.gallery.linking import link_prose
from rg_helpers.course.gallery.notebook_body import notebook_body
from rg_helpers.course.gallery.references import by_arxiv, read_references, references_page
from rg_helpers.course.gallery.runs_page import runs_page
from rg_helpers.course.notebook_files import notebook_title
from rg_helpers.course.profiles import PROFILES
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
COMMITTED = "committed"  # in the place of a profile: the notebooks as they were committed
READ_FIRST = ("cpu", "gpu", "hub", "smoke")  # whose runs are the chapters


@dataclass(frozen=True)
class Entry:
    """A run found on disk, a notebook that has none, or a notebook as committed."""

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


def write_report(runs: str | Path, committed: bool = False) -> Path:
    """Write the site `runs`/report/ and return its index.html.

    The chapters are the runs of the cpu profile, or of the next one that was run; with `committed`
    they are the notebooks as they lie in the repository, and nothing has to have been run. Raises
    `FileNotFoundError` when there is nothing to show.
    """
    runs = Path(runs)
    entries = committed_entries() if committed else collect_entries(runs)
    if all(entry.status == NOT_RUN for entry in entries):
        raise FileNotFoundError(
            f"no runs in {runs}: execute notebooks first with `rgh run`, or show them as they were "
            "committed with `rgh report --committed`"
        )
    folder = runs / "report"
    chapters = _chapters(entries)
    pages = {entry.name[:2]: entry.page for entry in chapters if entry.page}
    terms, works = read_glossary(), read_references()
    cited = _write_notebooks(folder, entries, terms, chapters)
    claims = list(read_claims().values())
    broken = {problem.id: problem.problem for problem in check_claims(claims)}
    written = f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M} UTC"
    missed = sum(claim.target_met() is False for claim in claims)
    facts = [
        (str(len(chapters)), "chapters"),
        (str(len(claims)), f"claims, {missed} of which miss their target"),
        (str(len(terms)), "terms"),
        (str(len(works)), "works cited"),
    ]
    minutes = sum(entry.record.seconds for entry in chapters if entry.record) / 60
    if minutes:
        facts.insert(1, (f"{minutes:.1f}", f"minutes of runs, profile {chapters[0].profile}"))
    figures = repository() / "data" / "figures"
    bodies = {
        "index.html": (BOOK, cover([_chapter(entry) for entry in chapters], facts, figures)),
        "claims.html": ("Claims", claims_page(claims, broken)),
        "glossary.html": ("Glossary", glossary_page(terms, works, pages)),
        "references.html": (
            "References",
            references_page(
                list(works.values()),
                {
                    key: [notebook_link(name, pages) for name in names]
                    for key, names in cited.items()
                },
            ),
        ),
        "runs.html": ("Runs", runs_page([] if committed else entries, written, results_folder())),
    }
    for file, (title, body) in bodies.items():
        write_text(folder / file, page(title, body, here=file))
    kept = {folder / file for file in bodies} | {folder / e.page for e in entries if e.page}
    for path in set(folder.rglob("*.html")) - kept:
        path.unlink()  # of a run that is no longer there
    return folder / "index.html"


def committed_entries() -> list[Entry]:
    """Return an entry for every notebook of the repository, outputs as committed."""
    return [
        Entry(COMMITTED, path.stem, notebook_title(path), COMMITTED, path, None)
        for path in sorted(notebooks_folder().glob("*.ipynb"))
    ]


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


def _chapters(entries: Sequence[Entry]) -> list[Entry]:
    """Return the entries that make up the book: one profile's, without runs of other parameters."""
    for profile in (COMMITTED, *READ_FIRST):
        mine = [e for e in entries if e.profile == profile and "@" not in e.name]
        if any(entry.page for entry in mine):
            return mine
    return [entry for entry in entries if "@" not in entry.name]


def _write_notebooks(
    folder: Path, entries: Sequence[Entry], terms: Sequence[Term], chapters: Sequence[Entry]
) -> dict[str, list[str]]:
    """Write the notebooks' pages; return which chapters (by number) cite each work, by its key."""
    works = by_arxiv(read_references())
    cited: dict[str, list[str]] = {}
    shown = [entry for entry in entries if entry.page]
    for entry in tqdm(shown, desc="report", unit="notebook", disable=None):
        siblings = {e.name[:2]: f"{e.name}.html" for e in shown if e.profile == entry.profile}
        siblings.pop(entry.name[:2], None)
        body, contents = notebook_body(entry.notebook)
        body, keys = link_prose(body, terms=terms, works=works, notebooks=siblings)
        if entry in chapters:
            for key in keys:
                cited.setdefault(key, []).append(entry.name[:2])
        fault = ""
        if not entry.status.startswith((FINISHED, COMMITTED)):
            fault = f'<p class="failed">This run is not whole: {html.escape(entry.status)}</p>\n'
        turn = _turn(entry, [e for e in chapters if e.page])
        text = page(entry.title, fault + body + turn, root="../", contents=contents)
        write_text(folder / entry.page, text)
    return cited


def _turn(entry: Entry, chapters: Sequence[Entry]) -> str:
    """Return the links to the chapters before and after."""
    if entry not in chapters:
        return ""
    place = list(chapters).index(entry)
    links = []
    for at, arrow in ((place - 1, "← {}"), (place + 1, "{} →")):
        if 0 <= at < len(chapters):
            title = arrow.format(html.escape(chapters[at].title))
            links.append(f'<a href="{chapters[at].name}.html">{title}</a>')
    return f'<nav class="turn" aria-label="Chapters before and after">{"".join(links)}</nav>'


def _chapter(entry: Entry) -> Chapter:
    source = entry.notebook or notebooks_folder() / f"{entry.name}.ipynb"
    facts = [f"profile {entry.profile}"]
    if entry.profile == COMMITTED:
        facts = [measured(source) or "as committed"]
    elif entry.record:
        facts = [
            f"{entry.record.seconds / 60:.1f} minutes",
            f"{entry.record.peak_memory_gib:.1f} GiB",
            *facts,
        ]
    whole = entry.status.startswith((FINISHED, COMMITTED))
    if whole and entry.status not in (FINISHED, COMMITTED):
        facts.append(entry.status.removeprefix(f"{FINISHED}, "))
    return Chapter(
        title=entry.title,
        page=entry.page,
        teaser=teaser(source) if source.is_file() else "",
        facts=" · ".join(facts),
        fault="" if whole else entry.status,
        picture=notebook_picture(entry.notebook) if entry.notebook else None,
    )
