# SPDX-License-Identifier: Apache-2.0
"""Networks and a batch for the tests of training without depth."""

from __future__ import annotations

import pytest
import torch

from depth_core.data.sample import Sample
from depth_core.models import create_model
from depth_core.models.base import DepthModel
from test.depth_core.train.selfsup.sequence_batch import sequence_batch


@pytest.fixture(scope='module')
def model() -> DepthModel:
    torch.manual_seed(0)
    return create_model('selfsup_resnet18')


@pytest.fixture(scope='module')
def metric_model() -> DepthModel:
    torch.manual_seed(0)
    return create_model('selfsup_resnet18', metric=True)


@pytest.fixture
def sample() -> Sample:
    return sequence_batch()
