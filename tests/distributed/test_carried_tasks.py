"""Files travel whole, by relative names; few tasks are sent; another program is refused."""

from __future__ import annotations

import dataclasses
import pickle

import pytest

from rg_helpers.distributed import (
    emptied_after,
    files_made,
    read_files,
    received_model,
    sent_model,
    write_files,
)
from rg_helpers.distributed.program import check_same, program
from rg_helpers.distributed.tasks import AHEAD, WINDOW, _has_room, _Sent


def test_files_come_out_as_they_went_in(tmp_path):
    there, back = tmp_path / "there", tmp_path / "back"
    given = {"a.json": b"{}", "family/models/ce/weights": bytes(range(256)), "family/b": b""}
    write_files(there, given)
    (there / ".lock").write_bytes(b"not ours")
    (there / ".partial").mkdir()
    (there / ".partial" / "c").write_bytes(b"half")
    assert read_files(there) == given
    assert read_files(there, ["family/*"]) == {"family/b": b""}
    assert read_files(there, ["*/models/ce*/**/*"]) == {"family/models/ce/weights": given[
        "family/models/ce/weights"]}  # fmt: skip
    assert read_files(tmp_path / "absent") == {}
    write_files(there, {"a.json": b"[]", "new": b"1"})
    made = files_made(there, given)
    assert made == {"a.json": b"[]", "new": b"1"}
    write_files(back, made)
    assert read_files(back) == made


@pytest.mark.parametrize("name", ["../out", "a/../../out", "/etc/out", ""])
def test_no_file_leads_out_of_its_folder(tmp_path, name):
    folder = tmp_path / "in"
    with pytest.raises(ValueError, match="no name of a file below"):
        write_files(folder, {"fine": b"", name: b"evil"})
    assert not list(tmp_path.rglob("*")), "nothing is written where one name is bad"


def test_a_folder_is_empty_afterwards_even_if_work_fails(tmp_path):
    def work():
        with emptied_after(tmp_path):
            write_files(tmp_path, {"a": b"", "b/c": b""})
            raise KeyError

    with pytest.raises(KeyError):
        work()
    assert tmp_path.is_dir()
    assert not list(tmp_path.iterdir())


def test_no_task_is_sent_far_ahead_of_one_that_others_wait_for():
    def sent(*numbers):
        return [_Sent(number, None) for number in numbers]

    for in_turn in (False, True):
        assert _has_room(sent(), 0, 3, in_turn)
        assert _has_room(sent(*range(AHEAD * 3 - 1)), 5, 3, in_turn)
        assert not _has_room(sent(*range(AHEAD * 3)), 6, 3, in_turn)
        assert _has_room(sent(), 70, 0, in_turn), "a task waits where no node is left"
    assert _has_room(sent(0, 23), WINDOW * 3 - 1, 3, True)
    assert not _has_room(sent(0, 23), WINDOW * 3, 3, True), "number 0 is slow"
    assert _has_room(sent(0, 23), 1000, 3, False), "nobody waits for it"


def test_a_model_arrives_as_it_left(one_thread):
    import torch
    from tiny_models import tiny_model

    from rg_helpers.comparison.stages import model_hash

    for name, dtype in (("qwen3", torch.float32), ("gpt2", torch.bfloat16)):
        model = tiny_model(name).to(dtype)
        sent = pickle.loads(pickle.dumps(sent_model(model, "tokenizer")))
        found, tokenizer = received_model(sent)
        assert tokenizer == "tokenizer"
        assert not found.training
        assert model_hash(found) == model_hash(model)
        tokens = torch.arange(12)[None]
        ours, wanted = (m(tokens, output_hidden_states=True) for m in (found, model))
        assert torch.equal(ours.logits, wanted.logits)
        assert len(ours.hidden_states) == len(wanted.hidden_states) == 3


def test_another_program_is_refused_and_named():
    here = program()
    check_same(here)
    known = dict(here.versions) | {"torch": "0.1", "ghost": "3.0"}
    other = dataclasses.replace(here, package="0" * 64, versions=tuple(sorted(known.items())))
    with pytest.raises(RuntimeError, match=r"torch .* instead of 0\.1") as told:
        check_same(other)
    assert "ghost missing instead of 3.0" in str(told.value)
    assert "other sources of rg_helpers" in str(told.value)
    assert "numpy" not in str(told.value)
