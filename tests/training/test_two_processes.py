"""`accelerate launch` with two processes on the CPU (gloo) gives the loss curve of one process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import two_processes

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_two_processes_give_the_loss_curve_of_one(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "PYTHONPATH": str(REPOSITORY),
    }
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu"]
    launch += ["--num_processes", "2", "--num_machines", "1", "--mixed_precision", "no"]
    launch += ["--dynamo_backend", "no", "--main_process_port", "0"]
    launch += [two_processes.__file__, str(tmp_path / "two"), "2"]
    done = subprocess.run(launch, capture_output=True, text=True, env=environment, timeout=240)
    assert done.returncode == 0, done.stderr[-3000:]
    two_processes.run(str(tmp_path / "one"), 4)
    one = json.loads((tmp_path / "one" / "record.json").read_text())
    two = json.loads((tmp_path / "two" / "record.json").read_text())
    assert (two["backend"], two["processes"], one["backend"]) == ("gloo", 2, None)
    names = ("loss", "ce", "alignment", "grad_norm")
    curves = [torch.tensor([[row[n] for n in names] for row in r["log"]]) for r in (one, two)]
    assert curves[0].shape == (5, 4)
    torch.testing.assert_close(curves[1], curves[0], rtol=5e-4, atol=5e-4)
    assert float((curves[0][0] - curves[0][-1]).abs().max()) > 0.1  # something was learned
    # Seven traces cannot be shared out evenly; none may count twice.
    looks = [
        torch.tensor([r["validations"][0][f"eval_{n}"] for n in names[:3]]) for r in (one, two)
    ]
    torch.testing.assert_close(looks[1], looks[0], rtol=5e-4, atol=5e-4)
    assert (tmp_path / "two" / "run" / "model" / "model.safetensors").is_file()
