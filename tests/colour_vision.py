"""How colours look to everybody: contrast, and distances under simulated colour deficiencies."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
from matplotlib.colors import to_rgb

# A complete lack of one kind of cone, as a matrix on linear RGB: Machado, Oliveira & Fernandes
# 2009, "A Physiologically-based Model for Simulation of Color Vision Deficiency", severity 1.
DEFICIENCIES: Mapping[str, np.ndarray] = MappingProxyType(
    {
        "protanopia": np.array(
            [
                [0.152286, 1.052583, -0.204868],
                [0.114503, 0.786281, 0.099216],
                [-0.003882, -0.048116, 1.051998],
            ]
        ),
        "deuteranopia": np.array(
            [
                [0.367322, 0.860646, -0.227968],
                [0.280085, 0.672501, 0.047413],
                [-0.011820, 0.042940, 0.968881],
            ]
        ),
        "tritanopia": np.array(
            [
                [1.255528, -0.076749, -0.178779],
                [-0.078411, 0.930809, 0.147602],
                [0.004733, 0.691367, 0.303900],
            ]
        ),
    }
)
# Linear sRGB to CIE XYZ, and the white point D65 (IEC 61966-2-1).
TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750],
     [0.0193339, 0.1191920, 0.9503041]]
)  # fmt: skip
WHITE_POINT = TO_XYZ.sum(axis=1)


def contrast(colour: str, background: str = "white") -> float:
    """Return the contrast ratio of WCAG 2.2, from 1 (no difference) to 21 (black on white).

    Graphical marks need 3 (success criterion 1.4.11), text needs 4.5 (1.4.3).
    """
    lights = sorted(float(TO_XYZ[1] @ _linear(colour)) for colour in (colour, background))
    return (lights[1] + 0.05) / (lights[0] + 0.05)


def difference(first: str, second: str, deficiency: str | None = None) -> float:
    """Return the distance of two colours in CIELAB (CIE 1976); about 2 is just noticeable.

    `deficiency` is a key of `DEFICIENCIES`, "grey" for a print without colours, or None for what
    most readers see. Raises `ValueError` for any other name.
    """
    points = [_lab(_seen(colour, deficiency)) for colour in (first, second)]
    return float(np.linalg.norm(points[0] - points[1]))


def _linear(colour: str) -> np.ndarray:
    encoded = np.array(to_rgb(colour))
    return np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)


def _seen(colour: str, deficiency: str | None) -> np.ndarray:
    linear = _linear(colour)
    if deficiency is None:
        return linear
    if deficiency == "grey":
        return np.full(3, TO_XYZ[1] @ linear)
    if deficiency not in DEFICIENCIES:
        raise ValueError(
            f"deficiency {deficiency!r} is not known: choose one of {', '.join(DEFICIENCIES)}, "
            "grey or None"
        )
    return (DEFICIENCIES[deficiency] @ linear).clip(0, 1)


def _lab(linear: np.ndarray) -> np.ndarray:
    ratio = TO_XYZ @ linear / WHITE_POINT
    root = np.where(ratio > (6 / 29) ** 3, np.cbrt(ratio), ratio / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * root[1] - 16, 500 * (root[0] - root[1]), 200 * (root[1] - root[2])])
