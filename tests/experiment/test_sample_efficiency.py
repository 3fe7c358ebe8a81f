"""Data ratios: learning curves worked out by hand, a planted half of the data found."""

from __future__ import annotations

import numpy as np
import pytest

from rg_helpers.experiment.sample_efficiency import CEILING, data_ratio, ratios_at

SIZES = [16, 64, 256]


def test_curves_are_read_off_by_hand():
    curves = np.array(
        [
            [0.1, 0.5, 0.9],  # 0.5 at 64 of 256
            [0.1, 0.3, 0.7],  # 0.5 halfway between 64 and 256 on the logarithm: 128
            [0.6, 0.7, 0.8],  # there already with 16
            [0.1, 0.2, 0.3],  # never
            [0.5, 0.2, 0.9],  # falls and rises: the curve counts as what was reached
        ]
    )
    found = ratios_at(curves, np.full(5, 0.5), SIZES)
    assert found.tolist() == pytest.approx([0.25, 0.5, 0.0625, CEILING, 0.0625])


def planted(generator, shares, seeds=5, problems=200):
    return {
        size: (generator.random((seeds, problems)) < share).astype(float)
        for size, share in zip(SIZES, shares, strict=True)
    }


def test_a_planted_quarter_of_the_data_is_found():
    generator = np.random.default_rng(0)
    reference = planted(generator, (0.2, 0.35, 0.5))
    better = planted(generator, (0.3, 0.5, 0.65))
    found = data_ratio(better, reference, draws=800)
    assert found["low"] <= 0.25 <= found["high"] < 0.6
    assert found["low"] <= found["value"] <= found["high"]
    assert found["reached"] > 0.99
    itself = data_ratio(reference, reference, draws=200)
    assert itself["value"] == 1
    worse = data_ratio(planted(generator, (0.1, 0.15, 0.2)), reference, draws=200)
    assert worse["value"] == worse["low"] == CEILING
    assert worse["reached"] == 0


def test_other_sizes_and_shapes_are_refused():
    generator = np.random.default_rng(1)
    reference = planted(generator, (0.2, 0.35, 0.5))
    with pytest.raises(ValueError, match="same sizes"):
        data_ratio({16: reference[16], 64: reference[64]}, reference)
    with pytest.raises(ValueError, match="same seeds and problems"):
        data_ratio({n: part[:, :9] for n, part in reference.items()}, reference)
