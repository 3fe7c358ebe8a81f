"""Which ids the ledger may hold and which it must: a slip of the pen is no new result."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from rg_helpers.course.claims import Claim, ClaimProblem

FAMILY = "{arithmetic,deduction,program}"
COMPARED = (  # what `rgh compare` measures beside the attention graphs of `rgh edges`
    "value_norms,rollout,flow,receiver_heads,attention_gradient,relevance,input_gradient,"
    "integrated_gradients,similarity,cka,shared_neurons,linear_predictability,intervention,"
    "intervention_direct,premise_replacement,cluster,text,lightweight"
)
EXPERIMENT = "rgh experiment graph-loss --record"
PREDICT = "rgh predict runs/traces/traces.jsonl --record"


@dataclass(frozen=True)
class ClaimForm:
    """A family of claim ids.

    `pattern` names alternatives in braces ("{easy,hard}") and a free word as "*". Where
    `command` is given, every id of the pattern is due and this command measures it.
    """

    pattern: str
    command: str | None = None

    def matches(self, id: str) -> bool:
        """Say whether `id` has this form."""
        written = re.escape(self.pattern).replace(r"\*", r"[a-z0-9_-]+")
        written = re.sub(r"\\\{(.*?)\\\}", lambda m: f"({m[1].replace(',', '|')})", written)
        return re.fullmatch(written, id) is not None

    def due(self) -> Iterator[str]:
        """Yield the ids that the ledger must hold for this form."""
        if self.command is not None:
            yield from _expand(self.pattern)


FORMS = (
    ClaimForm(f"base.accuracy.{FAMILY}.{{easy,hard}}", "rgh accuracy --record"),
    ClaimForm(f"edges.attention.{FAMILY}.{{auroc,ap,f1}}", "rgh edges"),
    ClaimForm(f"edges.{{previous_step,position_only,random}}.{FAMILY}.auroc", "rgh edges"),
    ClaimForm(f"edges.*.{FAMILY}.{{auroc,ap,f1}}"),
    ClaimForm("bench.step_attention.cpu.t2048.time_vs_sdpa", "python benchmarks/step_attention.py"),
    ClaimForm(
        "bench.step_attention.cpu.t4096.{speedup_vs_eager,extra_memory_vs_eager}",
        "python benchmarks/step_attention.py",
    ),
    ClaimForm(
        "bench.step_attention.{cpu,gpu}.*.{time_vs_sdpa,speedup_vs_eager,extra_memory_vs_eager}"
    ),
    ClaimForm(f"edges.{{{COMPARED}}}.{FAMILY}.{{auroc,ap,f1}}", "rgh compare"),
    ClaimForm(
        "bench.gradient_graph.cpu.time_vs_forward_backward",
        "python benchmarks/gradient_graph.py",
    ),
    ClaimForm("bench.gradient_graph.gpu.time_vs_forward_backward"),
    ClaimForm(
        "bench.gradient_graph.{cpu,gpu}.{relevance,input_direct,input_exact}"
        ".time_vs_forward_backward"
    ),
    ClaimForm("bench.features.speedup_vs_networkx", "python benchmarks/features.py"),
    ClaimForm(
        f"lightweight.{FAMILY}.{{edge_recovery_share,overhead}}",
        "python benchmarks/lightweight.py",
    ),
    ClaimForm(f"lightweight.{FAMILY}.{{edge_recovery_share_raw,overhead_forward}}"),
    ClaimForm(
        f"predict.{{length,all_baselines,self_consistency,lexical,question_probe,probe,"
        f"attention_logistic,attention_boosting,graphs_logistic,gcn,gin,gatv2}}.{FAMILY}"
        ".{auroc,within_problem_auc}",
        PREDICT,
    ),
    ClaimForm(f"predict.increment.{FAMILY}.{{delta_auroc,delta_auroc_model_graphs}}", PREDICT),
    ClaimForm(f"predict.first_wrong_step.{FAMILY}.f1", PREDICT),
    ClaimForm("predict.minutes_per_1000_traces", PREDICT),
    ClaimForm(f"predict.*.{FAMILY}.{{auroc,within_problem_auc}}"),
    ClaimForm("gsm8k.annotations.{lines_parsed,operands_resolved,lines_consistent}"),
    ClaimForm("gsm8k.reader.{perplexity,accuracy,most_common_answer}"),
    ClaimForm("gsm8k.edges.*.{within_line_auc,matched_auc}"),
    ClaimForm("gsm8k.predict.*.{auroc,within_problem_auc,within_writer_auc}"),
    ClaimForm("gsm8k.score.minutes", "python benchmarks/score_solutions.py"),
    ClaimForm("gsm8k.increment.{every_baseline_graphs,writer_and_numbers_graphs}.delta_auroc"),
    ClaimForm(
        "bench.training_step.cpu.{time_vs_ce,speedup_vs_original,memory_vs_ce}",
        "python benchmarks/training_step.py",
    ),
    ClaimForm("bench.training_step.gpu.{time_vs_ce,speedup_vs_original,memory_vs_ce}"),
    ClaimForm(
        "bench.training_step.{cpu,gpu}.{alignment,disorder,error_feedback,koleo,entropy_only}"
        ".{time_vs_ce,speedup_vs_original,memory_vs_ce}"
    ),
    ClaimForm(
        "bench.generation.cpu.{batched,continuous}_vs_{batch1,batch64}",
        "python benchmarks/generation.py",
    ),
    ClaimForm("bench.generation.gpu.{batched,continuous}_vs_{batch1,batch64}"),
    ClaimForm(
        "bench.score.{memory_4n_vs_n,megabytes_per_1000_solutions}",
        "python benchmarks/score_memory.py",
    ),
    ClaimForm(
        f"train.{{base,ce,ce_equal_time,alignment,alignment_shuffled}}.{FAMILY}.accuracy_hard",
        EXPERIMENT,
    ),
    ClaimForm(f"train.alignment.{FAMILY}.{{gain_vs_ce_equal_time,gain_vs_shuffled}}", EXPERIMENT),
    ClaimForm(f"train.*.{FAMILY}.accuracy_hard"),
    ClaimForm(
        f"train.*.{FAMILY}.{{gain_vs_ce_equal_time,gain_vs_shuffled,data_ratio_at_equal_accuracy}}"
    ),
    ClaimForm("tutor.all_students.{all,asking}.{gain_vs_random,gain_vs_other}", "rgh tutor"),
    ClaimForm("tutor.{arithmetic,deduction,program}.*.{gain_vs_random,gain_vs_other}"),
    ClaimForm("course.minutes.cpu", "rgh run --force --jobs 2 --record"),
    ClaimForm("course.minutes.{gpu,hub}"),
)


def check_ids(claims: Iterable[Claim], forms: Iterable[ClaimForm] = FORMS) -> list[ClaimProblem]:
    """Return a `ClaimProblem` for every id of unknown form and for every due id not claimed."""
    forms, ids = tuple(forms), {claim.id for claim in claims}
    problems = [
        ClaimProblem(
            id,
            "no known form of claim has this id",
            "correct the id in the code that writes it, or add its form to "
            "rg_helpers/course/claim_forms.py",
        )
        for id in sorted(ids)
        if not any(form.matches(id) for form in forms)
    ]
    for form in forms:
        problems += [
            ClaimProblem(id, "not measured yet", f"run `{form.command}`")
            for id in form.due()
            if id not in ids
        ]
    return problems


def _expand(pattern: str) -> Iterator[str]:
    """Expand "a.{b,c}" to "a.b" and "a.c", as a shell does."""
    choice = re.search(r"\{(.*?)\}", pattern)
    if choice is None:
        yield pattern
        return
    for word in choice[1].split(","):
        yield from _expand(pattern[: choice.start()] + word + pattern[choice.end() :])
