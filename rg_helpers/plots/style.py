"""The one figure style of the course, and how a figure reaches the reader."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import matplotlib as mpl
from matplotlib.figure import Figure
from PIL import Image

DPI = 110
SHORTEST_ALT = 20  # characters; "a graph" describes nothing

# After seaborn's "colorblind" palette (Wong 2011, Nature Methods 8:441), moved until every line has
# a contrast of 3 to the page, what is also used for words 4.5, and the colours of one figure
# differ under every simulated deficiency (tests/test_plot_colours.py).
PALETTE: Mapping[str, str] = MappingProxyType(
    {
        "blue": "#034d88",
        "orange": "#d47e01",
        "green": "#087e44",
        "vermilion": "#a73400",
        "pink": "#d26bc2",
        "brown": "#b78b3f",
        "grey": "#909090",
        "sky": "#369dce",
        "rose": "#fbafe4",
        "yellow": "#ece133",
    }
)
FILLS = ("rose", "yellow")  # too light for a line or a word
INK = "#222222"
FAINT = "#6b6b6b"  # still 5 : 1 against white


@dataclass(frozen=True)
class KindStyle:
    """How a kind of node is drawn: marker shape and fill; text on it is always INK."""

    marker: str
    fill: str
    size: float  # relative to a circle


@dataclass(frozen=True)
class EdgeStyle:
    """How a set of edges is drawn; colour never stands alone, the dashes differ too."""

    colour: str
    dashes: str | tuple[float, tuple[float, ...]]


@dataclass(frozen=True)
class LineStyle:
    """How one series of points is drawn."""

    colour: str
    marker: str
    dashes: str | tuple[float, tuple[float, ...]]


# Each kind has a shape of its own; the fills are light, so that a number stands out on each.
KIND_STYLES: Mapping[str, KindStyle] = MappingProxyType(
    {
        "premise": KindStyle("s", "#a9d6f2", 0.9),
        "question": KindStyle("D", "#f6ef9a", 0.85),
        "step": KindStyle("o", "#ffffff", 1.0),
        "answer": KindStyle("p", "#f2b565", 1.25),
    }
)
EDGE_STYLES: Mapping[str, EdgeStyle] = MappingProxyType(
    {
        "plain": EdgeStyle(INK, "-"),
        "both": EdgeStyle(PALETTE["blue"], "-"),
        "extra": EdgeStyle(PALETTE["grey"], (0, (1.2, 1.6))),
        "missed": EdgeStyle(PALETTE["vermilion"], (0, (5, 2.5))),
    }
)
FAMILY_STYLES: Mapping[str, LineStyle] = MappingProxyType(
    {
        "arithmetic": LineStyle(PALETTE["blue"], "o", "-"),
        "deduction": LineStyle(PALETTE["vermilion"], "s", (0, (5, 2))),
        "program": LineStyle(PALETTE["green"], "^", (0, (1.5, 1.5))),
    }
)


def use_course_style() -> None:
    """Set matplotlib to the course's fonts, sizes and colours, for the whole process."""
    mpl.rcParams.update(
        {
            "figure.dpi": DPI,
            "savefig.dpi": DPI,
            "figure.facecolor": "white",
            "savefig.facecolor": "white",
            "font.family": "DejaVu Sans",  # comes with matplotlib: the same on every machine
            "font.size": 10,
            "text.color": INK,
            "axes.labelcolor": INK,
            "axes.edgecolor": FAINT,
            "axes.titlesize": 11,
            "axes.titleweight": "bold",
            "axes.titlelocation": "left",
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.prop_cycle": mpl.cycler(
                color=[colour for name, colour in PALETTE.items() if name not in FILLS]
            ),
            "xtick.color": INK,
            "ytick.color": INK,
            "legend.frameon": False,
            "grid.color": "#dddddd",
            "lines.linewidth": 1.8,
        }
    )


def show(figure: Figure, alt: str) -> None:
    """Display a figure with its text alternative, and close it.

    `alt` says in a sentence or two what the figure shows, for readers who do not see it; it goes
    into the output as the image's alt text and as the plain-text form of the output. Raises
    `ValueError` for an alt text too short to describe anything.
    """
    from IPython.display import display

    if len(alt.strip()) < SHORTEST_ALT:
        raise ValueError(
            f"alt text {alt!r} says too little: write a sentence that tells someone who cannot "
            "see the figure what it shows"
        )
    alt = " ".join(alt.split())
    data = {"image/png": base64.b64encode(png_bytes(figure)).decode("ascii"), "text/plain": alt}
    display(data, metadata={"image/png": {"alt": alt}}, raw=True)
    close(figure)


def png_bytes(figure: Figure, dpi: float = DPI) -> bytes:
    """Return the figure as PNG, without date or version, so that equal figures are equal bytes.

    Colours are reduced to a palette of 256, which line drawings do not show and which makes the
    file, and every notebook that holds it, a third of the size.
    """
    raw, small = io.BytesIO(), io.BytesIO()
    figure.savefig(raw, format="png", dpi=dpi, bbox_inches="tight", metadata={"Software": None})
    image = (
        Image.open(raw)
        .convert("RGB")
        .quantize(256, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    )
    image.save(small, format="png", optimize=True, dpi=(dpi, dpi))
    return small.getvalue()


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure (inches) that pyplot does not know, so that nothing shows it twice."""
    return Figure(figsize=(width, height), dpi=DPI, layout="constrained")


def close(figure: Figure) -> None:
    """Free the figure's artists, also when it was made by pyplot."""
    import matplotlib.pyplot as plt

    figure.clear()
    plt.close(figure)
