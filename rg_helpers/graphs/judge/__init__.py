"""Graphs drawn by a language model as judge: typed nodes, typed edges, every fault named."""

from rg_helpers.graphs.judge.cache import JudgeReply, ReplyCache, request_key
from rg_helpers.graphs.judge.client import JudgeClient, JudgeRequestError, JudgeSettings
from rg_helpers.graphs.judge.graph import JudgeRun, judge_graphs
from rg_helpers.graphs.judge.parse import ParsedReply, parse_reply
from rg_helpers.graphs.judge.problem import PROBLEM_KINDS, JudgeProblem
from rg_helpers.graphs.judge.prompt import judge_messages
from rg_helpers.graphs.judge.recorded import RecordedReply, recorded_replies
from rg_helpers.graphs.judge.schema import reply_schema, response_format
from rg_helpers.graphs.judge.typed_graph import (
    RELATION_WEIGHTS,
    RELATIONS,
    ROLES,
    TypedEdge,
    TypedGraph,
)

__all__ = [
    "PROBLEM_KINDS",
    "RELATIONS",
    "RELATION_WEIGHTS",
    "ROLES",
    "JudgeClient",
    "JudgeProblem",
    "JudgeReply",
    "JudgeRequestError",
    "JudgeRun",
    "JudgeSettings",
    "ParsedReply",
    "RecordedReply",
    "ReplyCache",
    "TypedEdge",
    "TypedGraph",
    "judge_graphs",
    "judge_messages",
    "parse_reply",
    "recorded_replies",
    "reply_schema",
    "request_key",
    "response_format",
]
