"""Where a sweep works: the model, its hash, the run folder, the recipe; and keys of what it keeps.

A key is the SHA-256 of the model's weights, the recipe, the unit and the source code behind it, so
that a killed sweep continues and a changed program starts anew.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rg_helpers.comparison import stages
from rg_helpers.experiment.plan import Recipe
from rg_helpers.language_model import load_model

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

NAMED = 12  # letters of a key in a file's name
BATCH = 256  # solutions written at once: a step costs little more for many than for few


@dataclass(frozen=True, eq=False)
class Place:
    """Model, tokenizer, hash of the model, folder of everything that is kept, and the recipe.

    keep_models: whether the models of all arms are kept, or only those that are read again.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerFast
    model_hash: str
    folder: Path
    recipe: Recipe
    progress: bool = True
    keep_models: bool = False

    @staticmethod
    def of(
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerFast,
        recipe: Recipe,
        runs: Path,
        **options: Any,
    ) -> Place:
        """Choose the folder below `runs` that belongs to this model."""
        hashed = stages.model_hash(model)
        return Place(model, tokenizer, hashed, Path(runs) / hashed[:16], recipe, **options)

    @staticmethod
    def open(name: str, device: str, recipe: Recipe, runs: Path, **options: Any) -> Place:
        """Load the model (course, a folder or a hub id) and choose its folder."""
        model, tokenizer = load_model(name, device=device)
        return Place.of(model, tokenizer, recipe, runs, **options)

    @property
    def on_cpu(self) -> bool:
        """Return whether the model stays on the CPU."""
        return self.model.device.type == "cpu"

    def key(self, module: str, **parts: Any) -> str:
        """Return the key of something made by `module`."""
        return stages.key_of(
            model=self.model_hash, recipe=asdict(self.recipe), source=_source(module), **parts
        )

    def path(self, family: str, name: str, key: str, suffix: str = ".json") -> Path:
        """Return where something of this key is kept."""
        return self.folder / family / f"{name}-{key[:NAMED]}{suffix}"


@cache
def _source(module: str) -> str:
    """Hash the code once a process: it does not change while it runs."""
    return stages.source_hash(module)
