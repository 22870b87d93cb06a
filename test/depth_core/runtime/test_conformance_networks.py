# SPDX-License-Identifier: Apache-2.0
"""Every backend that is here gives the numbers of the network: all families, alone and in batches.

What is compared with is the network in torch, in float64 too; TensorRT runs on the fakes.
"""

from __future__ import annotations

from functools import cache, partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from depth_core.contracts import DepthMap, Uint8Array
from depth_core.export.parity import TOLERANCE as EXPORT_TOLERANCE
from depth_core.models import DepthModel
from depth_core.runtime import Predictor
from depth_core.weights.checkpoint import save_model
from test.conformance import HERE, open_on, pictures
from test.exports import SMALL, Exports, tiny_network
from test.rounding import BothPrecisions, in_both_precisions

pytestmark = pytest.mark.numeric

BULK = 1e-4
"""Of the largest value, for 99 % of the pixels."""


@cache
def network_of(name: str) -> DepthModel:
    """The network that `exports` exports; each is built once."""
    return tiny_network(name).eval()


def by_torch(model: DepthModel, image: Uint8Array) -> BothPrecisions:
    """What the network itself says to an image of its size."""
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None] / 255.0

    def run(dtype: torch.dtype) -> dict[str, Tensor]:
        prediction = model(pixels.to(dtype))
        return {'depth': prediction.depth[0], 'sigma': prediction.sigma[0]}

    return in_both_precisions(model, run)


def check_network(model: DepthModel, answer: DepthMap, image: Uint8Array) -> None:
    beyond = ~np.isfinite(answer.depth_m)
    found = by_torch(model, image)
    depth = answer.depth_m.copy()
    # What lies at an end of the range is stated as infinite; the network gives the end, nearly.
    ends = np.clip(depth[beyond], model.spec.min_depth, model.spec.max_depth)
    exact = found.float64['depth'].numpy()[beyond]
    np.testing.assert_allclose(exact, ends, rtol=2e-3)
    depth[beyond] = exact.astype(np.float32)
    # A runtime sums in an order of its own, of which torch's rounding on this processor says
    # nothing; a wrong layout, scale or layer shows as a tenth and more.
    for name, given in (('depth', depth), ('sigma', answer.sigma_m)):
        wanted = found.float64[name].numpy()
        difference = np.abs(given - wanted) / wanted.max()
        assert np.quantile(difference, 0.99) <= BULK, name
        assert difference.max() <= EXPORT_TOLERANCE, name


@pytest.mark.parametrize('network', SMALL)
@pytest.mark.parametrize('name', [name for name in HERE if name != 'tensorrt-rtx'])
def test_a_small_network_gives_the_numbers_of_torch(
    request: pytest.FixtureRequest, exports: Exports, name: str, network: str
) -> None:
    predictor = open_on(request, exports(network), name)
    spec = predictor.manifest.input
    (image,) = pictures(1, spec.height, spec.width)
    check_network(network_of(network), predictor.predict(image), image)


@pytest.mark.parametrize('network', SMALL)
@pytest.mark.parametrize('name', [name for name in HERE if name != 'tensorrt-rtx'])
def test_a_batch_of_a_network_gives_the_numbers_of_torch(
    request: pytest.FixtureRequest, exports: Exports, name: str, network: str
) -> None:
    predictor = open_on(request, exports(network), name, max_batch=2)
    spec = predictor.manifest.input
    images = pictures(2, spec.height, spec.width)
    model = network_of(network)
    for answer, image in zip(predictor.predict_batch(images), images, strict=True):
        check_network(model, answer, image)


@pytest.mark.parametrize(
    ('name', 'network'),
    [*(('torch', network) for network in SMALL), ('torch-compiled', 'densedepth_small')],
)
def test_a_checkpoint_gives_the_numbers_of_its_network(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, network: str
) -> None:
    # All of torch's compiler but the C++ compiler behind it, which takes minutes.
    monkeypatch.setattr(torch, 'compile', partial(torch.compile, backend='eager'))
    model = network_of(network)
    path = tmp_path / 'network.ckpt'
    save_model(path, model)
    predictor = Predictor.open(path, backend=name, strict=True, threads=1)
    images = pictures(2 if name == 'torch' else 1, *model.spec.default_size)
    for answer, image in zip(predictor.predict_batch(images), images, strict=True):
        assert answer.backend == name
        check_network(model, answer, image)


@pytest.mark.parametrize('network', ['densedepth_small', 'zoedepth_small'])
def test_a_checkpoint_answers_at_chosen_sizes(tmp_path: Path, network: str) -> None:
    model = network_of(network)
    path = tmp_path / 'network.ckpt'
    save_model(path, model)
    predictor = Predictor.open(path, backend='torch', threads=1)
    height, width = model.spec.default_size
    images = [*pictures(1, height, width), *pictures(1, height // 2, width * 2)]
    for answer, image in zip(predictor.predict_batch(images), images, strict=True):
        # Nothing is resized: these sizes are what is chosen for themselves.
        check_network(model, answer, image)
