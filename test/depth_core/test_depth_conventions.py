# SPDX-License-Identifier: Apache-2.0
"""From the codes of an NYU file to the training target of DenseDepth, as its authors have it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from depth_core.data.published.nyu import NyuDataset
from depth_core.data.sample import Sample
from depth_core.losses import reciprocal_target

pytestmark = pytest.mark.numeric

Reference = Callable[[str], dict[str, Tensor]]


def _sample(folder: Path, codes: np.ndarray) -> Sample:
    colour = np.zeros((1, codes.size, 3), np.uint8)
    Image.fromarray(colour).save(folder / 'rgb_1.png')
    Image.fromarray(codes.reshape(1, -1)).save(folder / 'sync_depth_1.png')
    return NyuDataset(folder)[0]


def test_eight_bit_training_codes(reference: Reference, tmp_path: Path) -> None:
    arrays = reference('dd_depth_conventions')
    sample = _sample(tmp_path, arrays['u8'].numpy())
    # Code 0 is the difference: the authors train on 0 cm, here it is a hole.
    assert arrays['u8'].tolist().index(0) == 0
    assert not sample.valid[0, 0]
    centimetres = 100.0 * sample.depth_m[0, 1:].double()
    # float32 metres: 6e-8 relative.
    torch.testing.assert_close(centimetres, arrays['keras_train_cm'][1:], rtol=1e-6, atol=0.0)
    for name, min_depth in (('keras', None), ('torch', 0.1)):
        y, valid = reciprocal_target(
            sample.depth_m[None], sample.valid[None], max_depth=10.0, min_depth=min_depth, factor=1
        )
        expected = arrays[f'{name}_train_target'][1:].to(y.dtype)
        torch.testing.assert_close(y.flatten()[1:], expected, rtol=1e-6, atol=0.0)
        assert valid.flatten().tolist() == [False] + [True] * 7
    clipped = 100.0 * sample.depth_m[0, 1:].clamp(0.1, 10.0)
    torch.testing.assert_close(clipped, arrays['torch_train_cm'][1:], rtol=1e-6, atol=0.0)


def test_sixteen_bit_validation_codes(reference: Reference, tmp_path: Path) -> None:
    arrays = reference('dd_depth_conventions')
    sample = _sample(tmp_path, arrays['test_mm'].numpy().astype(np.uint16))
    assert not sample.valid[0, 0]
    centimetres = 100.0 * sample.depth_m[0, 1:].double()
    torch.testing.assert_close(centimetres, arrays['keras_val_cm'][1:], rtol=1e-6, atol=0.0)
