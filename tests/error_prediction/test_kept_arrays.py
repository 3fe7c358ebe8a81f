"""What is kept comes back under its key alone."""

from __future__ import annotations

import numpy as np

from rg_helpers.error_prediction.kept_arrays import Arrays, kept_arrays


def test_made_once_a_key_and_anew_when_broken(tmp_path):
    path, made = tmp_path / "deep" / "x.safetensors", []

    def make():
        made.append(1)
        return Arrays({"a": np.arange(6.0).reshape(2, 3)[:, ::2]}, {"choice": "layer 1"})

    first = kept_arrays(path, "key", make)
    again = kept_arrays(path, "key", make)
    assert len(made) == 1
    assert (again.arrays["a"] == first.arrays["a"]).all()
    assert again.words == {"choice": "layer 1"}
    kept_arrays(path, "other", make)
    assert len(made) == 2
    path.write_bytes(path.read_bytes()[:-5])
    assert (kept_arrays(path, "other", make).arrays["a"] == first.arrays["a"]).all()
    assert len(made) == 3
    kept_arrays(None, "key", make)
    assert len(made) == 4
