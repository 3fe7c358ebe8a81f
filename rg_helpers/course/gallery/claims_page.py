"""The page of claims: every figure quoted as a result, its interval, target and evidence."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence

from rg_helpers.course.claims import TARGET_FORM, Claim
from rg_helpers.course.gallery.frame import table

GROUPS = {  # the first word of a claim's id, in the order of the page
    "base": "The course's own model",
    "edges": "Recovery of true edges",
    "predict": "Prediction of errors",
    "train": "Training with a graph term",
    "gsm8k": "Solutions that real models wrote (GSM8K)",
    "lightweight": "Graphs at a small price",
    "bench": "What it costs",
    "tutor": "Practice on located gaps",
    "course": "The course itself",
}


def claims_page(claims: Sequence[Claim], broken: Mapping[str, str]) -> str:
    """Return the body of the page; `broken` says, by id, why a claim is not in its file any more.

    Targets that were missed come first, then all claims by kind.
    """
    if not claims:
        return "<h1>Claims</h1><p>None yet.</p>"
    targets = [claim for claim in claims if claim.target]
    missed = [claim for claim in targets if not claim.target_met()]
    parts = [
        "<h1>Claims</h1>",
        '<p class="lead">Every figure that the course quotes as a result, with its 95 % interval '
        "where it has one, the target that was set, and the committed file it is read from.</p>",
        '<ul class="facts">'
        f"<li><b>{len(claims)}</b>claims</li>"
        f"<li><b>{len(targets)}</b>with a target</li>"
        f"<li><b>{len(targets) - len(missed)}</b>targets met</li>"
        f"<li><b>{len(missed)}</b>targets missed</li>"
        f"<li><b>{len(claims) - len(broken)}</b>agree with their file</li></ul>",
    ]
    groups: dict[str, list[Claim]] = {name: [] for name in GROUPS}
    for claim in claims:
        groups.setdefault(claim.id.partition(".")[0], []).append(claim)
    named = {name: members for name, members in groups.items() if members}
    links = "".join(f'<a href="#{name}">{_heading(name)}</a>' for name in named)
    parts.append(f'<nav class="letters" aria-label="Kinds of claims">{links}</nav>')
    if missed:
        parts.append('<h2 id="targets-missed">Targets missed</h2>')
        parts.append(_table(missed, broken))
    for name, members in named.items():
        parts.append(f'<h2 id="{name}">{_heading(name)}</h2>')
        parts.append(_table(members, broken))
    return "\n".join(parts)


def _heading(name: str) -> str:
    return html.escape(GROUPS.get(name, name))


def _table(claims: Sequence[Claim], broken: Mapping[str, str]) -> str:
    rows = []
    for claim in claims:
        fault = broken.get(claim.id)
        rows.append(
            [
                f"{html.escape(claim.statement)}<br>{_small(claim.id)}",
                value(claim) + interval_picture(claim),
                html.escape(f"{claim.n or ''} {claim.unit}".strip()),
                target(claim),
                f'<span class="failed">{html.escape(fault)}</span>' if fault else _evidence(claim),
            ]
        )
    header = ["claim", "value [95 %]", "n", "target", "evidence"]
    return table(header, rows, stacked=True)


def _evidence(claim: Claim) -> str:
    """The file, and where and when its figure was measured."""
    measured = html.escape(" · ".join(filter(None, (claim.device, claim.date))))
    file = _small(claim.source.removeprefix("data/results/"))
    return f'{file}<br><span class="aside">{measured}</span>'


def _small(text: str) -> str:
    return f'<span class="id">{html.escape(text)}</span>'


def value(claim: Claim) -> str:
    """Write a claim's value with its interval."""
    text = f"{claim.value:.4g}"
    if claim.low is not None and claim.high is not None:
        text += f" [{claim.low:.4g}, {claim.high:.4g}]"
    return text


def target(claim: Claim) -> str:
    """Write a claim's target and whether it was met; missed is said as loudly as met."""
    words = {
        None: "",
        True: '<span class="met">met</span>',
        False: '<span class="missed">missed</span>',
    }
    return f"{html.escape(claim.target or '')} {words[claim.target_met()]}".strip()


def interval_picture(claim: Claim) -> str:
    """Draw a value between 0 and 1 with its interval and target; nothing for any other."""
    if claim.low is None or claim.high is None or claim.low < 0 or claim.high > 1:
        return ""
    low, middle, high = (4 + 92 * number for number in (claim.low, claim.value, claim.high))
    bars = []
    if claim.target:
        found = TARGET_FORM.fullmatch(claim.target)
        for name in ("bar", "low", "high"):
            if found[name] is not None and float(found[name]) <= 1:
                x = 4 + 92 * float(found[name])
                bars.append(f'<line class="target" x1="{x:.1f}" x2="{x:.1f}" y1="0" y2="12"/>')
    return (
        '<svg class="interval" viewBox="0 0 100 12" aria-hidden="true">'
        '<line class="axis" x1="4" x2="96" y1="6" y2="6"/>'
        f"{''.join(bars)}"
        f'<line class="bar" x1="{low:.1f}" x2="{high:.1f}" y1="6" y2="6" stroke-width="2"/>'
        f'<circle cx="{middle:.1f}" cy="6" r="2.6"/></svg>'
    )
