# SPDX-License-Identifier: Apache-2.0
"""One recipe a training scheme: the network it trains, its losses, its score and its files."""

from __future__ import annotations

from typing import Any, Final

from depth_core.train.recipes.base import Network, Recipe, Score, Scorer, TrainingStep
from depth_core.train.recipes.cliffnet import CliffNetRecipe
from depth_core.train.recipes.densedepth import DenseDepthRecipe
from depth_core.train.recipes.embedding import EmbeddingRecipe
from depth_core.train.recipes.relative import RelativeRecipe
from depth_core.train.recipes.self_teaching import SelfTeachingRecipe
from depth_core.train.recipes.selfsup import SelfSupRecipe
from depth_core.train.recipes.semantic import SemanticRecipe
from depth_core.train.recipes.supervised import SupervisedRecipe
from depth_core.train.recipes.urcdc import UrcdcRecipe
from depth_core.train.recipes.zoedepth import ZoeDepthRecipe

RECIPES: Final[dict[str, type[Recipe[Any]]]] = {
    'cliffnet': CliffNetRecipe,
    'densedepth': DenseDepthRecipe,
    'embedding': EmbeddingRecipe,
    'relative': RelativeRecipe,
    'self_teaching': SelfTeachingRecipe,
    'selfsup': SelfSupRecipe,
    'semantic': SemanticRecipe,
    'supervised': SupervisedRecipe,
    'urcdc': UrcdcRecipe,
    'zoedepth': ZoeDepthRecipe,
}
"""Every recipe by its name; a recipe is a dataclass of its settings."""

__all__ = ['RECIPES', 'Network', 'Recipe', 'Score', 'Scorer', 'TrainingStep']
