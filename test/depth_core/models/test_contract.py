# SPDX-License-Identifier: Apache-2.0
"""What every network of the registry keeps, on a small input.

They run in the small form of the same wiring that their family states, where it states one;
test_paper_size.py holds the published one.
"""

from __future__ import annotations

import math
from pathlib import Path

import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor

from depth_core.errors import ConfigError, ModelError
from depth_core.export.onnx import weights_sha256
from depth_core.losses import l1, laplace_nll
from depth_core.manifest import read_manifest
from depth_core.models import FAMILIES, NETWORKS, DepthModel, create_model, list_models
from depth_core.weights.checkpoint import load_model, save_model
from test.exports import Exports, tiny_network, tiny_size
from test.rounding import assert_within_rounding, in_both_precisions


@pytest.fixture(scope='module', params=list_models())
def model(request: pytest.FixtureRequest) -> DepthModel:
    torch.manual_seed(0)
    return create_model(request.param, **NETWORKS[request.param].tiny).eval()


def _images(model: DepthModel, count: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    divisor = model.spec.divisor
    return torch.rand(count, 3, 2 * divisor, 3 * divisor, generator=generator)


@torch.no_grad()
def test_depth_and_sigma_are_finite_positive_and_at_the_size_of_the_input(
    model: DepthModel,
) -> None:
    images = _images(model)
    prediction = model(images)
    for output in (prediction.depth, prediction.sigma):
        assert output.shape == (2, *images.shape[-2:])
        assert output.dtype == torch.float32
        assert torch.isfinite(output).all()
        assert (output > 0.0).all()
    assert prediction.depth.min() >= model.spec.min_depth
    assert prediction.depth.max() <= model.spec.max_depth


@torch.no_grad()
@pytest.mark.parametrize('colour', [0.0, 1.0])
def test_a_black_or_white_image_is_answered(model: DepthModel, colour: float) -> None:
    prediction = model(torch.full_like(_images(model, 1), colour))
    assert torch.isfinite(prediction.depth).all()
    assert (prediction.sigma > 0.0).all()


@torch.no_grad()
def test_metres_are_float32_under_autocast(model: DepthModel) -> None:
    with torch.autocast('cpu', dtype=torch.bfloat16):
        prediction = model(_images(model, 1))
    for output in (prediction.depth, prediction.sigma):
        assert output.dtype == torch.float32
        assert torch.isfinite(output).all()


@torch.no_grad()
def test_eval_mode_is_deterministic(model: DepthModel) -> None:
    images = _images(model)
    first, second = model(images), model(images)
    assert torch.equal(first.depth, second.depth)
    assert torch.equal(first.sigma, second.sigma)


@pytest.mark.numeric
@torch.no_grad()
def test_an_image_alone_is_answered_as_in_a_batch(model: DepthModel) -> None:
    images = _images(model).double()
    model.double()
    try:
        batch = model(images)
        alone = [model(images[index : index + 1]) for index in range(len(images))]
    finally:
        model.float()
    for index, prediction in enumerate(alone):
        # Kernels may split a batch of another size otherwise: float64 sums in another order.
        for found, expected in ((prediction.depth, batch.depth), (prediction.sigma, batch.sigma)):
            torch.testing.assert_close(found[0], expected[index], rtol=1e-9, atol=0.0)


def test_every_parameter_gets_a_gradient(model: DepthModel) -> None:
    images = _images(model)
    state = {key: value.clone() for key, value in model.state_dict().items()}
    model.train()
    try:
        prediction = model(images)
        outputs = model.official_forward(images)
        target = torch.full_like(prediction.depth, 3.0)
        loss = l1(prediction.depth, target)
        loss = loss + laplace_nll(prediction.depth, prediction.sigma, target)
        # Depth may be clipped everywhere at random weights; the raw outputs are not.
        loss = loss + sum(output.square().mean() for output in outputs.values())
        loss.backward()
        trained = {key: weight for key, weight in model.named_parameters() if weight.requires_grad}
        without = [key for key, weight in trained.items() if weight.grad is None]
        broken = [
            key
            for key, weight in model.named_parameters()
            if weight.grad is not None and not torch.isfinite(weight.grad).all()
        ]
        untouched = [
            key
            for key, weight in model.named_parameters()
            if weight.grad is not None and not weight.grad.any()
        ]
    finally:
        model.zero_grad()
        model.load_state_dict(state)
        model.eval()
    assert without == []
    assert broken == []
    assert untouched == []


def test_a_size_that_does_not_fit_is_answered_with_the_nearest(model: DepthModel) -> None:
    divisor = model.spec.divisor
    images = torch.rand(1, 3, 2 * divisor + 1, 3 * divisor)
    with pytest.raises(ModelError) as error:
        model(images)
    for text in (f'{2 * divisor + 1}x{3 * divisor}', f'{2 * divisor}x', f'{3 * divisor}x'):
        assert text in str(error.value)


def test_an_image_without_pixels_is_refused(model: DepthModel) -> None:
    for height, width in ((0, 64), (64, 0)):
        with pytest.raises(ModelError, match=f'{height}x{width} pixels'):
            model(torch.rand(1, 3, height, width))


@pytest.mark.parametrize('shape', [(3, 64, 64), (1, 1, 64, 64), (1, 64, 64, 3)])
def test_a_tensor_that_is_no_batch_of_rgb_is_refused(
    model: DepthModel, shape: tuple[int, ...]
) -> None:
    with pytest.raises(ModelError, match=r'\[B, 3, H, W\]'):
        model(torch.rand(shape))


@torch.no_grad()
def test_a_checkpoint_brings_the_same_network_back(model: DepthModel, tmp_path: Path) -> None:
    path = tmp_path / 'model.ckpt'
    save_model(path, model)
    loaded = load_model(path)
    path.unlink()  # up to 180 MB, and pytest keeps the folders of three runs
    images = _images(model, 1)
    assert loaded.spec == model.spec
    assert dict(loaded.options) == dict(model.options)
    assert torch.equal(loaded(images).depth, model(images).depth)
    assert torch.equal(loaded(images).sigma, model(images).sigma)


@pytest.mark.numeric
@torch.no_grad()
def test_the_onnx_graph_answers_the_same(model: DepthModel, exports: Exports) -> None:
    path = exports(model.spec.name)
    network = tiny_network(model.spec.name)
    assert read_manifest(path).weights_sha256 == weights_sha256(network)
    height, width = tiny_size(network)
    pixels = torch.randint(
        0,
        256,
        (1, height, width, 3),
        dtype=torch.uint8,
        generator=torch.Generator().manual_seed(1),
    )
    session = onnxruntime.InferenceSession(path)
    names = ('depth', 'sigma')
    answers = [torch.from_numpy(x) for x in session.run(names, {'image': pixels.numpy()})]

    def run(dtype: torch.dtype) -> dict[str, Tensor]:
        prediction = network(pixels.permute(0, 3, 1, 2).to(dtype) / 255.0)
        return {'depth': prediction.depth, 'sigma': prediction.sigma}

    found = in_both_precisions(network, run)
    # Fused layers round otherwise, in float32.
    assert_within_rounding(found, dict(zip(names, answers, strict=True)), ceiling=1e-3)


def _idle_weights(model: DepthModel) -> set[str]:
    """Weights that only training uses: no gradient reaches them, and no layer of theirs runs.

    A layer that chooses, such as a router, runs and has no gradient.
    """
    ran: set[str] = set()
    hooks = [
        layer.register_forward_hook(lambda *_, name=name: ran.add(name))
        for name, layer in model.named_modules()
    ]
    prediction = model(_images(model, 1))
    (prediction.depth.mean() + prediction.sigma.mean()).backward()
    for hook in hooks:
        hook.remove()
    idle = {
        key
        for key, weight in model.named_parameters()
        if weight.requires_grad and weight.grad is None and key.rpartition('.')[0] not in ran
    }
    model.zero_grad()
    return idle


def test_the_onnx_graph_holds_what_it_needs_and_nothing_that_only_trains(
    model: DepthModel, exports: Exports
) -> None:
    initializers = onnx.load(exports(model.spec.name)).graph.initializer
    held = {item.name.removeprefix('model.') for item in initializers}
    idle = _idle_weights(model)
    trained = {key for key, weight in model.named_parameters() if weight.requires_grad}
    assert model.spec.family != 'urcdc' or any(key.startswith('cnn.') for key in idle)
    assert held & (trained - idle)
    assert not held & idle
    if idle:  # under other names neither: folded shapes and masks are small beside them
        held_values = sum(math.prod(item.dims) for item in initializers)
        sizes = {key: weight.numel() for key, weight in model.named_parameters()}
        idle_values = sum(sizes[key] for key in idle)
        assert held_values < sum(sizes.values()) - 0.5 * idle_values


def test_an_unknown_model_is_answered_with_the_known_ones() -> None:
    with pytest.raises(ConfigError) as error:
        create_model('densdepth')
    assert "did you mean 'densedepth'" in str(error.value)
    for name in list_models():
        assert name in str(error.value)


@pytest.mark.parametrize('name', list_models())
def test_an_unknown_option_is_answered_with_the_known_ones(name: str) -> None:
    with pytest.raises(ConfigError) as error:
        create_model(name, max_dept=10.0)
    assert 'max_dept' in str(error.value)
    assert "did you mean 'max_depth'" in str(error.value)


def test_options_name_every_option_of_the_network() -> None:
    with torch.device('meta'):
        model = create_model('densedepth', max_depth=80.0)
    assert model.options['max_depth'] == 80.0
    assert model.options['min_depth'] == 0.1
    assert model.options['upsampling'] == 'align_corners'
    assert model.spec.max_depth == 80.0


def test_every_network_is_of_the_family_that_states_it() -> None:
    for family in FAMILIES:
        for network in family.networks:
            with torch.device('meta'):
                spec = create_model(network.name).spec
            assert (spec.name, spec.family) == (network.name, family.name)
