# SPDX-License-Identifier: Apache-2.0
"""The class of each pixel as a semantic network predicts it, for data that has no labels.

Guizilini et al., Semantically-Guided Representation Learning, ICLR 2020, score depth by class so:
the classes are those that their semantic network predicts. Numbers by predicted classes depend on
that network; the report names it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F  # noqa: N812  torch's own name for it

from depth_core.contracts import Uint8Array
from depth_core.errors import CheckpointError
from depth_core.files import read_unchanged, sha256_of
from depth_core.metrics.classes import CLASS_NAMES
from depth_core.models.selfsup.semantic import FrozenSemantics, SemanticNetwork
from depth_core.weights.checkpoint import SUFFIX, load_model

_DIGITS_SHOWN = 12


class PredictedLabels:
    """Runs the semantic network inside the checkpoint of a guided depth network.

    Images are shown to it at the size it was trained at, and its logits are brought back to the
    size of the image before the likeliest class is taken.

    Args:
        path: Checkpoint of semantic_packnet or semantic_resnet18, or what
            `python -m depth_core.train.semantic` writes.

    Raises:
        CheckpointError: It is missing, broken, of a network without semantic guidance, or of one
            that does not predict the 19 classes of Cityscapes.
    """

    def __init__(self, path: Path | str) -> None:
        path = Path(path)
        if path.exists() and path.suffix != SUFFIX:
            message = (
                f'semantic weights {path} are no checkpoint of this package; give a {SUFFIX} of '
                'semantic_packnet or semantic_resnet18. Weights of segmentation-models-pytorch '
                'become one by python -m depth_core.train.semantic '
                '--model.options.semantic_weights.'
            )
            raise CheckpointError(message)
        with read_unchanged(path):
            model = load_model(path)
            digest = sha256_of(path)
        semantics = getattr(model, 'semantics', None)
        if not isinstance(semantics, FrozenSemantics):
            message = (
                f'semantic weights {path} are of {model.spec.name}, which predicts no classes; '
                'give a checkpoint of semantic_packnet or semantic_resnet18.'
            )
            raise CheckpointError(message)
        self.network: SemanticNetwork = semantics.network
        if self.network.classes != len(CLASS_NAMES):
            message = (
                f'the semantic network of {path} predicts {self.network.classes} classes; '
                f'metrics by class need the {len(CLASS_NAMES)} of Cityscapes (semantic_classes).'
            )
            raise CheckpointError(message)
        self.size = model.spec.default_size
        """(height, width) at which the network sees images, pixels."""
        self.source = f'{path} (sha256 {digest[:_DIGITS_SHOWN]}...)'
        """The file, for the report."""

    @torch.inference_mode()
    def predict(self, image_hwc_u8: Uint8Array) -> NDArray[np.int64]:
        """Predict the class of each pixel.

        Args:
            image_hwc_u8: [H, W, 3] RGB.

        Returns:
            [H, W] Cityscapes train ids 0..18.
        """
        height, width = image_hwc_u8.shape[:2]
        images = torch.from_numpy(image_hwc_u8).permute(2, 0, 1)[None].float() / 255.0
        if (height, width) != self.size:
            images = F.interpolate(images, self.size, mode='bilinear', antialias=True)
        logits = F.interpolate(self.network(images), (height, width), mode='bilinear')
        classes: NDArray[np.int64] = logits[0].argmax(dim=0).numpy()
        return classes
