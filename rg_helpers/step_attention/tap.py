"""The hook in transformers: attention layers hand their step masses to a tap while they run.

transformers looks the attention function up by name, and the mask function by the same name; both
must be registered, else the mask is None for every model and causality silently vanishes.
"""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from rg_helpers.step_attention.blockwise import RowPlan, plan_rows
from rg_helpers.step_attention.layer_kinds import refuse_layers_without_attention
from rg_helpers.step_attention.node_table import NodeTable
from rg_helpers.step_attention.routes import attend_with_step_mass

IMPLEMENTATION = "rg_helpers_step_attention"

# Arguments by which an architecture changes the attention weights in a way not computed here.
UNSERVED = {
    "s_aux": "attention sinks",
    "sinks": "attention sinks",
    "position_bias": "a learned position bias",
    "alibi": "ALiBi position biases",
    "head_mask": "a head mask",
    "query_attention_mask": "a second attention mask",
    "indices": "sparse attention",
    "block_indices": "sparse attention",
    "cache": "a paged key-value cache",
}

_TAPS: weakref.WeakKeyDictionary[nn.Module, StepAttentionTap] = weakref.WeakKeyDictionary()


class StepAttentionTap:
    """Collects the step masses of one forward pass; made by `tap_step_attention`.

    by_layer: layer index -> float32 (batch, heads, nodes, nodes), row = target, column = source;
        with `token_rows` (batch, heads, tokens, nodes). Live: part of the autograd graph when
        the forward pass is.
    """

    def __init__(
        self,
        table: NodeTable,
        layers: frozenset[int] | None,
        token_rows: bool,
        route: str | None,
        checkpointing: bool,
    ):
        self.table = table
        self.token_rows = token_rows
        self.by_layer: dict[int, torch.Tensor] = {}
        self._layers = layers
        self._route = route
        self._checkpointing = checkpointing
        self._grad = torch.is_grad_enabled()
        self._plans: dict[int, tuple[torch.Tensor | None, RowPlan]] = {}

    def mass(self) -> torch.Tensor:
        """Stack the layers, in order: (batch, layers, heads, rows, nodes); empty is an error."""
        if not self.by_layer:
            raise RuntimeError(
                "no attention layer has run under this tap: call the model inside the `with` "
                "block; a model without attention (state-space, recurrent) has no step masses"
            )
        masses = [self.by_layer[layer] for layer in sorted(self.by_layer)]
        if len({mass.shape for mass in masses}) > 1:
            raise ValueError(
                "the layers have different numbers of heads: read `tap.by_layer` one by one, or "
                "name layers of equal width with `layers=`"
            )
        return torch.stack([mass.to(masses[0].device) for mass in masses], dim=1)

    def wants(self, layer: int) -> bool:
        return self._layers is None or layer in self._layers

    def attend(
        self,
        module: nn.Module,
        layer: int,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        plan: RowPlan,
        scaling: float,
        softcap: float | None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Attention output and masses of one layer; what a subclass overrides to sum otherwise.

        `module` is the attention layer; the rest as in `routes.attend_with_step_mass`.
        """
        return attend_with_step_mass(
            query, key, value, self.table, plan, scaling, softcap, self.token_rows, self._route
        )

    def plan(self, tokens: int, mask: torch.Tensor | None) -> RowPlan:
        """The row blocks of a mask, worked out once for all layers that share the mask."""
        # The mask is kept beside its plan, so that its id cannot be given to another tensor.
        if id(mask) not in self._plans:
            self._plans[id(mask)] = (mask, plan_rows(tokens, mask))
        return self._plans[id(mask)][1]

    def record(self, layer: int, mass: torch.Tensor) -> None:
        recomputing = torch._C._current_graph_task_id() != -1
        if recomputing and layer in self.by_layer:
            return  # gradient checkpointing runs the layer again; the first mass is the live one
        if layer in self.by_layer:
            raise RuntimeError(
                f"layer {layer} ran twice under one tap: open a new `tap_step_attention` for each "
                "forward pass, or turn off layer sharing and caching (a model whose layers attend "
                "twice, by differential attention, is not served)"
            )
        if self._checkpointing and self._grad and not torch.is_grad_enabled():
            raise RuntimeError(
                "reentrant gradient checkpointing cuts the step masses off from the gradient: "
                "call model.gradient_checkpointing_enable({'use_reentrant': False}) and run "
                "backward inside the `with` block"
            )
        self.by_layer[layer] = mass


@contextlib.contextmanager
def tap_step_attention(
    model: nn.Module,
    node_ids: torch.Tensor,
    nodes: int | None = None,
    layers: Iterable[int] | None = None,
    *,
    token_rows: bool = False,
    route: str | None = None,
    make_tap: Callable[..., StepAttentionTap] = StepAttentionTap,
) -> Iterator[StepAttentionTap]:
    """Collect the step masses of the forward pass that runs inside the `with` block.

        with tap_step_attention(model, node_ids, nodes) as tap:
            loss = model(input_ids=..., labels=...).loss + term(tap.mass())
        loss.backward()

    node_ids: integer (batch, tokens), -1 = no node; nodes: width of the mass matrices (default:
    largest id + 1); layers: only these layers are tapped, the others run plain SDPA (negative
    counts from the end). `make_tap`: a subclass that sums something else than plain attention.
    With dropout on the attention the masses are those before dropout. The model gets its former
    attention implementation back on leaving, also after an exception; under gradient checkpointing
    call backward inside the block. Raises ValueError for a model or ids it cannot serve.
    """
    base = served_model(model)
    table = node_table(node_ids, nodes)
    if layers is None:
        refuse_layers_without_attention(base, range(layer_count(base)))
    wanted = None if layers is None else frozenset(layer_indices(base, layers))
    modules = list(base.modules())
    if any(module in _TAPS for module in modules):
        raise RuntimeError("this model is already under a tap: leave that `with` block first")
    tap = make_tap(
        table, wanted, token_rows, route, base.training and checkpoints_activations(base)
    )
    former = attention_implementations(modules)
    try:
        base.set_attn_implementation(IMPLEMENTATION)
        if base.config._attn_implementation != IMPLEMENTATION:
            raise ValueError(no_hook(base))
        _TAPS.update(dict.fromkeys(modules, tap))
        yield tap
    finally:
        for module in modules:
            _TAPS.pop(module, None)
        for config, implementation in former:
            config._attn_implementation_internal = implementation


def served_model(model: nn.Module) -> PreTrainedModel:
    """Return the transformers model inside wrappers (PEFT, data parallel), or say why not."""
    inner = model
    while not isinstance(inner, PreTrainedModel):
        if hasattr(inner, "get_base_model"):  # PEFT
            following = inner.get_base_model()
        else:
            following = getattr(inner, "module", None)  # (distributed) data parallel
        if not isinstance(following, nn.Module) or following is inner:
            raise ValueError(
                f"step attention needs a transformers model, got {type(model).__name__}: load it "
                "with AutoModelForCausalLM.from_pretrained or rg_helpers.language_model.load_model"
            )
        inner = following
    if getattr(inner.config, "is_encoder_decoder", False):
        raise ValueError(
            f"{type(inner).__name__} is an encoder-decoder: its steps do not attend to the prompt "
            "in one causal sequence; use a decoder-only model (Llama, Qwen, Gemma, GPT-2, ...)"
        )
    if not inner._can_set_attn_implementation():
        raise ValueError(no_hook(inner))
    return inner


def node_table(node_ids: torch.Tensor, nodes: int | None) -> NodeTable:
    """Check node ids (batch, tokens) and make their `NodeTable`; ValueError names the cure."""
    if not isinstance(node_ids, torch.Tensor) or node_ids.is_floating_point():
        raise ValueError(
            "node_ids must be an integer tensor (batch, tokens), got "
            f"{getattr(node_ids, 'dtype', type(node_ids).__name__)}: use torch.tensor(..., "
            "dtype=torch.long)"
        )
    if node_ids.ndim != 2 or node_ids.numel() == 0:
        raise ValueError(
            f"node_ids must be (batch, tokens) with at least one token, got shape "
            f"{tuple(node_ids.shape)}: add the batch dimension, and leave empty traces out"
        )
    lowest, highest = int(node_ids.min()), int(node_ids.max())
    if lowest < -1:
        raise ValueError(f"node_ids holds {lowest}: use -1 for tokens that belong to no node")
    if highest < 0:
        raise ValueError(
            "no token belongs to a node (all node_ids are -1): check the trace's node spans"
        )
    if nodes is None:
        nodes = highest + 1
    if highest >= nodes:
        raise ValueError(
            f"node_ids goes up to {highest}, but nodes={nodes}: pass nodes={highest + 1} or more, "
            "or leave it out"
        )
    return NodeTable(node_ids.to(torch.long), int(nodes))


def checkpoints_activations(model: nn.Module) -> bool:
    """Whether any layer has gradient checkpointing switched on."""
    return any(getattr(module, "gradient_checkpointing", False) for module in model.modules())


def layer_count(model: PreTrainedModel) -> int:
    return int(model.config.get_text_config(decoder=True).num_hidden_layers)


def layer_indices(model: PreTrainedModel, layers: Iterable[int]) -> list[int]:
    """Turn layer numbers (negative: from the end) into sorted indices; ValueError if outside."""
    count = layer_count(model)
    indices = set()
    for layer in layers:
        if not -count <= layer < count:
            raise ValueError(
                f"layer {layer} does not exist: the model has {count} layers, numbered 0 to "
                f"{count - 1}"
            )
        indices.add(layer % count)
    if not indices:
        raise ValueError("layers is empty: name at least one layer, or pass None for all")
    return sorted(indices)


def _attention(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    is_causal: bool | None = None,
    softcap: float | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """What transformers calls in every attention layer; shapes as in `sdpa_attention_forward`."""
    tap = _TAPS.get(module)
    if tap is None:
        raise RuntimeError(
            f"the attention implementation {IMPLEMENTATION!r} works only inside "
            "`tap_step_attention` or `step_attention`: use model.set_attn_implementation('sdpa')"
        )
    layer = _served_layer(module, query, key, is_causal, kwargs)
    if tuple(tap.table.ids.shape) != (query.shape[0], query.shape[2]):
        raise ValueError(
            f"node_ids is {tuple(tap.table.ids.shape)}, but the model runs on (batch, tokens) = "
            f"({query.shape[0]}, {query.shape[2]}): give one node id per token"
        )
    if not tap.wants(layer) and softcap is None:
        return sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout, scaling, is_causal
        )
    if scaling is None:
        scaling = query.shape[-1] ** -0.5
    plan = tap.plan(query.shape[2], attention_mask)
    output, mass = tap.attend(module, layer, query, key, value, plan, scaling, softcap)
    if tap.wants(layer):
        tap.record(layer, mass)
    if dropout == 0.0:
        return output.transpose(1, 2).contiguous(), None
    if softcap is not None:
        raise ValueError(
            "dropout on soft-capped attention is not served: set the attention dropout of "
            f"{type(module).__name__} to 0 or call model.eval()"
        )
    return sdpa_attention_forward(
        module, query, key, value, attention_mask, dropout, scaling, is_causal
    )


def _served_layer(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    is_causal: bool | None,
    kwargs: dict[str, Any],
) -> int:
    """Return the layer index, or raise ValueError for attention that is not computed here."""
    name = type(module).__name__
    for argument, meaning in UNSERVED.items():
        if kwargs.get(argument) is not None:
            raise ValueError(
                f"{name} uses {meaning} ({argument}), which step attention does not compute: use "
                "another model, or eager attention with output_attentions summed by step"
            )
    layer = getattr(module, "layer_idx", None)
    if layer is None:
        raise ValueError(
            f"{name} does not know its layer index: step attention serves decoder layers only"
        )
    if not (getattr(module, "is_causal", True) if is_causal is None else is_causal):
        raise ValueError(
            f"{name} attends in both directions: step attention serves causal decoders only"
        )
    if key.shape[2] != query.shape[2]:
        raise ValueError(
            f"{name} sees {key.shape[2]} keys for {query.shape[2]} tokens (a key-value cache or "
            "cross-attention): run the whole trace in one forward pass with use_cache=False"
        )
    return layer


def no_hook(model: nn.Module) -> str:
    return (
        f"{type(model).__name__} does not take its attention function from transformers' "
        "AttentionInterface (state-space, recurrent or old-style model): use one that does "
        "(Llama, Qwen, Gemma, Mistral, GPT-2, GPT-NeoX, ...)"
    )


def attention_implementations(modules: list[nn.Module]) -> list[tuple[Any, str | dict | None]]:
    """Every configuration below the model with its attention implementation."""
    found: dict[int, Any] = {}
    waiting = [module.config for module in modules if isinstance(module, PreTrainedModel)]
    while waiting:
        config = waiting.pop()
        if config is None or id(config) in found:
            continue
        found[id(config)] = config
        waiting += [getattr(config, name, None) for name in getattr(config, "sub_configs", {})]
    return [(config, config._attn_implementation_internal) for config in found.values()]


AttentionInterface.register(IMPLEMENTATION, _attention)
AttentionMaskInterface.register(IMPLEMENTATION, sdpa_mask)
