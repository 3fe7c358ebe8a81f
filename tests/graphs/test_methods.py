"""Every method by its name on the course model, and errors that name the cure."""

from __future__ import annotations

import numpy as np
import pytest

from rg_helpers.graphs import methods
from rg_helpers.graphs.attention import attention_graphs
from rg_helpers.graphs.gold import gold_graph
from rg_helpers.graphs.methods import METHODS, FitData, Method, draw_graphs, find_method
from rg_helpers.language_model import load_model
from rg_helpers.problems import FAMILIES, generate_problem, generate_problems
from rg_helpers.traces import gold_trace

MODEL_METHODS = [name for name, way in METHODS.items() if "judge" not in way.needs]
QUICK = {"integrated_gradients": {"points": 2}, "cluster": {"clusters": 4}}


@pytest.fixture(scope="module")
def course():
    return load_model("course")


@pytest.fixture(scope="module")
def problems():
    return [generate_problem(family, 1, operations=2, split="test") for family in FAMILIES]


@pytest.fixture(scope="module")
def traces(problems, course):
    return [gold_trace(problem, course[1]) for problem in problems]


@pytest.fixture(scope="module")
def fit(course):
    drawn = generate_problems("arithmetic", 6, split="validation", operations=(2, 3))
    return FitData([gold_trace(p, course[1]) for p in drawn], [gold_graph(p) for p in drawn])


@pytest.mark.parametrize("name", MODEL_METHODS)
def test_every_method_draws_every_family(name, course, traces, problems, fit):
    model, tokenizer = course
    graphs = draw_graphs(
        traces,
        name,
        model,
        tokenizer,
        fit,
        problems=problems,
        progress=False,
        **QUICK.get(name, {}),
    )
    assert [graph.trace_id for graph in graphs] == [trace.trace_id for trace in traces]
    for graph, trace in zip(graphs, traces, strict=True):
        written = np.array([kind in ("step", "answer") for kind in trace.kinds])
        assert graph.method == name
        assert graph.texts == trace.texts
        assert graph.weights[written].any(), "a written step should get an edge from somewhere"
        assert (METHODS[name].axes == "none") == (graph.choice == "")
    assert not model.training


def test_entries_say_what_they_are():
    for name, method in METHODS.items():
        assert name == method.name
        assert len(method.meaning) > 20
        assert any(character.isdigit() for character in method.source) or "course" in method.source
        assert set(method.needs) <= set(methods.NEEDS)
        assert method.fit is None or "fit" in method.needs


def test_the_registry_draws_what_the_method_file_draws(course, traces):
    by_name = draw_graphs(traces, "attention", course[0], part="max", progress=False)
    direct = attention_graphs(course[0], traces, "max", progress=False)
    for one, other in zip(by_name, direct, strict=True):
        assert np.allclose(one.weights, other.weights, atol=1e-6)
    few = draw_graphs(traces, "attention", course[0], part=[(0, 1), (2, 3)], progress=False)
    direct = attention_graphs(course[0], traces, [(0, 1), (2, 3)], sink="drop", progress=False)
    for one, other in zip(few, direct, strict=True):
        assert np.allclose(one.weights, other.weights, atol=1e-6)
        assert one.choice == other.choice == "layer 0 head 1, layer 2 head 3"


def planted(axes):
    """A method whose layer 1 (head 1) is the fit graphs' gold; everything else is noise."""

    def score(given, fitted):
        rng = np.random.default_rng(0)
        found = []
        for trace in given.traces:
            nodes = len(trace.nodes)
            shape = (3, nodes, nodes) if axes == "layers" else (3, 2, nodes, nodes)
            noise = np.tril(rng.random(shape), -1).astype(np.float32)
            truth = given.options["truth"].get(trace.trace_id)
            if truth is not None:
                noise[(1,) if axes == "layers" else (1, 1)] = truth
            found.append(noise)
        return found

    return Method("planted", "made up for this test", "2026", score, needs=(), axes=axes)


@pytest.mark.parametrize(("axes", "choice"), [("layers", "layer 1"), ("heads", "layer 1 head 1")])
def test_layers_and_heads_are_chosen_on_fit_traces(axes, choice, traces, fit, monkeypatch):
    monkeypatch.setitem(METHODS, "planted", planted(axes))
    truth = {t.trace_id: g.weights for t, g in zip(fit.traces, fit.gold, strict=True)}
    options = {"truth": truth, "progress": False}
    graphs = draw_graphs(traces, "planted", fit=fit, **options)
    assert {graph.choice for graph in graphs} == {choice}
    pair = draw_graphs(traces, "planted", fit=(fit.traces, fit.gold), **options)
    assert np.array_equal(pair[0].weights, graphs[0].weights)
    assert draw_graphs(traces, "planted", **options)[0].choice.startswith("mean of 3 layers")


def test_errors_name_the_cure(traces, course, fit):
    with pytest.raises(ValueError, match="did you mean 'rollout'"):
        find_method("roll out")
    with pytest.raises(ValueError, match=r"unknown method 'zzz': there are attention"):
        draw_graphs(traces, "zzz")
    with pytest.raises(ValueError, match=r"needs model: pass model="):
        draw_graphs(traces, "attention")
    with pytest.raises(ValueError, match=r"needs fit: pass fit=FitData"):
        draw_graphs(traces, "cluster", course[0])
    with pytest.raises(ValueError, match=r"needs tokenizer and problems"):
        draw_graphs(traces, "premise_replacement", course[0])
    with pytest.raises(ValueError, match=r"needs judge: pass judge="):
        draw_graphs(traces, "judge")
    with pytest.raises(ValueError, match="no layers or heads"):
        draw_graphs(traces, "text", part="mean")
    with pytest.raises(ValueError, match="does not exist"):
        draw_graphs(traces, "attention", course[0], part=[(9, 0)], progress=False)
    with pytest.raises(ValueError, match="list of layers"):
        draw_graphs(traces, "rollout", course[0], part=[(1, 0)], progress=False)
    with pytest.raises(ValueError, match="one graph for each trace"):
        FitData(fit.traces, fit.gold[:2])
