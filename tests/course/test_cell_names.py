"""Which names cells read and bind, against cells whose dependence is plain to see."""

from __future__ import annotations

import pytest

from rg_helpers.course.cell_names import cell_names, cells_needed, readers, unbound_names


@pytest.mark.parametrize(
    ("source", "read", "later", "bound"),
    [
        ("x = a + 1\nprint(x)", {"a"}, set(), {"x"}),
        ("x += 1", {"x"}, set(), {"x"}),
        ("y = [i * k for i in rows if i > low]", {"k", "rows", "low"}, set(), {"y"}),
        ("for i, row in enumerate(table):\n    total = i", {"table"}, set(), {"i", "row", "total"}),
        ("def f(a, b=c):\n    d = a\n    return d + e", {"c"}, {"e"}, {"f"}),
        ("f = lambda x, *y: x + z", set(), {"z"}, {"f"}),
        ("import numpy as np\nfrom a.b import c\nimport d.e", set(), set(), {"np", "c", "d"}),
        ("with open(p) as file:\n    text = file.read()", {"p"}, set(), {"file", "text"}),
        ("pairs = {k: v for k, v in zip(names, sums)}", {"names", "sums"}, set(), {"pairs"}),
        ("class A(B):\n    n = m", {"B", "m"}, set(), {"A"}),
        ("assert (n := len(rows)) > 0, f'{n} {mode}'", {"rows", "mode"}, set(), {"n"}),
        ("total: int = start", {"start"}, set(), {"total"}),
        ("def f():\n    return g()\ndef g():\n    return h", set(), {"h"}, {"f", "g"}),
        ("try:\n    a = b\nexcept OSError as error:\n    print(error)", {"b"}, set(), {"a"}),
        ("x = [f(y) for y in (lambda: [y for y in w])()]", {"f"}, {"w"}, {"x"}),
    ],
)
def test_names_of_a_cell(source, read, later, bound):
    names = cell_names(source)
    assert (names.read, names.later, names.bound) == (read, later, bound)


def test_objects_changed_in_place_are_named_and_modules_are_not():
    source = (
        "import torch\nx[1] = 2\ny.a.b = 3\nz.append(1)\ntorch.manual_seed(0)\nlen(w)\nv[0] += 1"
    )
    names = cell_names(source)
    assert names.changed == {"x", "y", "z", "v"}
    assert names.imported == {"torch"}


SOURCES = {
    -1: "import sys",
    0: "import numpy as np",
    1: "data = np.ones(3)",
    2: "slow = np.sort(data)",
    3: "data[0] = 5",
    4: "def check(f):\n    assert f(data) == 7",
    6: "np.random.seed(0)",
    7: "check(np.sum)",
}


def test_only_cells_that_matter_are_needed():
    names = {place: cell_names(source) for place, source in SOURCES.items()}
    assert cells_needed(names, [7]) == [0, 1, 3, 4, 7]
    assert cells_needed(names, [2]) == [0, 1, 2]
    assert cells_needed({}, []) == []


def test_needed_cells_run_and_give_what_all_cells_give():
    names = {place: cell_names(source) for place, source in SOURCES.items()}
    namespace = {}
    for place in cells_needed(names, [7]):
        exec(SOURCES[place], namespace)
    assert "slow" not in namespace
    assert namespace["data"].tolist() == [5, 1, 1]


def test_a_name_that_is_bound_again_needs_only_the_last_binding():
    sources = ["x = 1", "x = 2", "print(x)"]
    names = {place: cell_names(source) for place, source in enumerate(sources)}
    assert cells_needed(names, [2]) == [1, 2]


def test_readers_are_told_from_namesakes():
    sources = [
        "answer = row = 1",
        "rows = [row for row in []]",
        "print(answer)",
        "answer = 3",
        "answer",
    ]
    names = {place: cell_names(source) for place, source in enumerate(sources)}
    assert readers(names, [0, 3]) == {0: ["answer"], 3: ["answer"]}


def test_a_function_may_read_what_a_later_cell_binds_but_a_cell_may_not():
    sources = ["def f():\n    return late + never", "print(late)", "late = 1"]
    names = {place: cell_names(source) for place, source in enumerate(sources)}
    assert unbound_names(names) == {0: ["never"], 1: ["late"]}
    assert readers(names, [2]) == {2: ["late"]}
