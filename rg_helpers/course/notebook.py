"""What every notebook does first, in one call: seeds, figure style, quiet logging, threads."""

from __future__ import annotations

import logging
import os
import random
import warnings

from rg_helpers.course.installed import check_installed
from rg_helpers.course.profiles import active
from rg_helpers.course.profiles import profile as profile_named


def start(profile: str, seed: int) -> str:
    """Prepare a notebook and return the active profile (RGH_PROFILE wins over `profile`).

    Seeds `random`, NumPy and torch; sets the course's figure style; silences what transformers
    and its downloads print. Where OMP_NUM_THREADS is not set, a profile that fixes the number of
    threads sets torch's. Raises `ValueError` for an unknown profile or a seed below zero, and
    `RuntimeError` with the cure where the installed packages are not those the course needs.
    """
    check_installed()
    chosen = profile_named(active(profile))
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**32:
        raise ValueError(f"SEED = {seed!r}: expected a whole number from 0 to 2**32 - 1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # read when tokenizers first forks
    import numpy as np
    import torch
    import transformers

    from rg_helpers.plots import use_course_style

    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    if chosen.threads and "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(chosen.threads)
    use_course_style()
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()  # of loading weights; ours stay
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", category=FutureWarning)
    warnings.filterwarnings("ignore", message="IProgress not found")
    return chosen.name
