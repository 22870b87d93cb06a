# SPDX-License-Identifier: Apache-2.0
"""Pixel-adaptive convolution gives the original's numbers, its gradients, and a lean graph."""

from __future__ import annotations

from collections import Counter
from functools import cache
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  torch's own name for it

from depth_core.errors import ConfigError, ModelError
from depth_core.models.selfsup.pixel_adaptive import (
    PixelAdaptiveConv2d,
    inverse_kernel,
    pixel_adaptive_conv2d,
    pixel_adaptive_conv_transpose2d,
)
from test.depth_core.packnet_official import arrays
from test.rounding import assert_within_rounding, in_both_precisions, in_float64

pytestmark = pytest.mark.numeric

TOLERANCE = 1e-5
"""Absolute, on values of about 3: the original's float32 sums of up to 150 products; ours are of
float64."""

VARIANTS: dict[str, dict[str, Any]] = {
    'k3': {'padding': 1},
    'k5': {'padding': 2},
    'k3_norm': {'padding': 1, 'normalize_kernel': True},
    'k3_dil2': {'padding': 2, 'dilation': 2},
    'k3_stride2': {'padding': 1, 'stride': 2},
    'k3_nobias': {'padding': 1},
    'k3_shared': {'padding': 1},
}


@cache
def _arrays() -> dict[str, Tensor]:
    return in_float64(arrays('pac_conv'))


def _inputs() -> tuple[Tensor, Tensor]:
    return _arrays()['x'], _arrays()['guide']


def _assert_close(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=0.0, atol=TOLERANCE)


@pytest.mark.parametrize('variant', VARIANTS)
def test_each_variant_of_the_original(variant: str) -> None:
    expected = _arrays()
    found = pixel_adaptive_conv2d(
        *_inputs(),
        expected[f'{variant}/sd/weight'],
        expected.get(f'{variant}/sd/bias'),
        **VARIANTS[variant],
    )
    _assert_close(found, expected[f'{variant}/out'])


def test_the_inverse_kernel() -> None:
    expected = _arrays()
    layer = PixelAdaptiveConv2d(6, 5, 3, padding=1, kernel='inverse', learn_sigma=False).double()
    state = {
        'weight': expected['k3_inv/sd/weight'],
        'bias': expected['k3_inv/sd/bias'],
        'alpha': expected['k3_inv/sd/inv_alpha'],
        'power': expected['k3_inv/sd/inv_lambda'],
    }
    layer.load_state_dict(state)
    _assert_close(layer(*_inputs()), expected['k3_inv/out'])
    # By hand: alpha + (d^2 + 1e-4)^(power / 2) at d^2 = 1 - 1e-4 is alpha + 1.
    weight = inverse_kernel(torch.tensor(-0.5 * 0.9999), torch.tensor(0.2), torch.tensor(2.0))
    torch.testing.assert_close(weight, torch.tensor(1.2))


@pytest.mark.parametrize('sigma', [0.5, 1.0, 2.0])
def test_one_sigma_for_all_filters(sigma: float) -> None:
    expected = _arrays()
    weights = expected['k3/sd/weight'], expected['k3/sd/bias']
    found = pixel_adaptive_conv2d(
        *_inputs(), *weights, sigma=torch.tensor([sigma]).double(), padding=1
    )
    _assert_close(found, expected[f'sigma_{sigma}/out'])


@torch.no_grad()
def test_a_sigma_for_each_filter() -> None:
    expected = _arrays()
    layer = PixelAdaptiveConv2d(6, 5, 3, padding=1).double()
    state = {
        'weight': expected['k3/sd/weight'],
        'bias': expected['k3/sd/bias'],
        'log_sigma': expected['per_filter_sigma/sigma'].log(),
    }
    layer.load_state_dict(state)
    _assert_close(layer(*_inputs()), expected['per_filter_sigma/out'])


def test_sigma_starts_at_one_and_stays_positive() -> None:
    layer = PixelAdaptiveConv2d(6, 5, 3, padding=1).double()
    assert layer.sigma is not None
    assert torch.equal(layer.sigma, torch.ones(5).double())
    optimizer = torch.optim.SGD([layer.get_parameter('log_sigma')], lr=1e3)
    layer(*_inputs()).sum().backward()
    optimizer.step()
    assert (layer.sigma >= 0.0).all()
    assert not torch.equal(layer.sigma, torch.ones(5).double())


def test_the_transposed_form() -> None:
    expected = _arrays()
    found = pixel_adaptive_conv_transpose2d(
        expected['x'],
        expected['transpose/guide'],
        expected['transpose/sd/weight'],
        expected['transpose/sd/bias'],
        stride=2,
        padding=2,
        output_padding=1,
    )
    _assert_close(found, expected['transpose/out'])


@pytest.mark.parametrize(('value', 'field'), [(1.0, 'const_guide'), (0.5, 'const_guide_half')])
def test_a_constant_guide_makes_an_ordinary_convolution(value: float, field: str) -> None:
    expected = _arrays()
    x, guide = _inputs()
    weight, bias = expected['k3/sd/weight'], expected['k3/sd/bias']
    found = pixel_adaptive_conv2d(x, torch.full_like(guide, value), weight, bias, padding=1)
    _assert_close(found, expected[f'{field}/out'])
    _assert_close(found, F.conv2d(x, weight, bias, padding=1))


def test_by_hand() -> None:
    """Two pixels whose guides differ by 2: the neighbour counts exp(-2^2 / 2 sigma^2)."""
    x = torch.tensor([[[[3.0, 5.0]]]])
    guide = torch.tensor([[[[0.0, 2.0]]]])
    found = pixel_adaptive_conv2d(
        x, guide, torch.ones(1, 1, 3, 3), sigma=torch.tensor([2.0]), padding=1
    )
    alike = float(np.exp(-0.5))
    _assert_close(found, torch.tensor([[[[3.0 + 5.0 * alike, 5.0 + 3.0 * alike]]]]))


@pytest.mark.parametrize('recompute', [False, True])
def test_gradients_of_the_original(recompute: bool) -> None:
    expected = _arrays()
    leaves = [
        value.clone().requires_grad_()
        for value in (*_inputs(), expected['k3/sd/weight'], expected['k3/sd/bias'])
    ]
    loss = pixel_adaptive_conv2d(*leaves, padding=1, recompute=recompute).square().sum()
    torch.testing.assert_close(loss, expected['grad/loss'], rtol=1e-5, atol=0.0)
    loss.backward()
    for leaf, name in zip(leaves, ('dx', 'dguide', 'dW', 'db'), strict=True):
        assert leaf.grad is not None
        # Relative to the largest: sums over all pixels in another order.
        scale = float(expected[f'grad/{name}'].abs().max())
        torch.testing.assert_close(
            leaf.grad, expected[f'grad/{name}'], rtol=0.0, atol=1e-6 * scale
        )


@pytest.mark.parametrize(
    'options',
    [
        {'padding': 1},
        {'padding': 1, 'recompute': True},
        {'padding': 1, 'normalize_kernel': True},
        {'stride': 2, 'dilation': 2, 'padding': 2},
        {'kernel': lambda d: inverse_kernel(d, torch.tensor(0.2), torch.tensor(1.5))},
    ],
)
def test_gradients_in_float64(options: dict[str, Any]) -> None:
    generator = torch.Generator().manual_seed(0)

    def leaf(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64, requires_grad=True)

    sigma = (leaf(2).detach().abs() + 0.5).requires_grad_()
    leaves = (leaf(1, 2, 5, 6), leaf(1, 2, 5, 6), leaf(2, 2, 3, 3), leaf(2), sigma)
    assert torch.autograd.gradcheck(
        lambda x, guide, weight, bias, sigma: pixel_adaptive_conv2d(
            x, guide, weight, bias, sigma=sigma, **options
        ),
        leaves,
        fast_mode=True,
    )


def test_training_and_evaluation_answer_alike() -> None:
    layer = PixelAdaptiveConv2d(6, 5, 3, padding=1).double()
    trained = layer.train()(*_inputs())
    assert trained.grad_fn is not None
    with torch.no_grad():
        _assert_close(trained, layer.eval()(*_inputs()))


def test_distances_are_float32_under_autocast() -> None:
    layer = PixelAdaptiveConv2d(6, 5, 3, padding=1).eval()
    x, guide = (value.float() for value in _inputs())
    with torch.no_grad(), torch.autocast('cpu', dtype=torch.bfloat16):
        found = layer(x, guide.bfloat16())
        expected = layer(x, guide.bfloat16().float())
    assert found.dtype == torch.float32
    assert torch.equal(found, expected)


@torch.no_grad()
def test_the_exported_graph_gathers_nothing() -> None:
    torch.manual_seed(0)
    layer = PixelAdaptiveConv2d(64, 48, 3, padding=1).eval()  # too large to be folded away
    inputs = torch.rand(1, 64, 7, 9), torch.rand(1, 16, 7, 9)
    program = torch.onnx.export(layer, inputs, opset_version=18, dynamo=True, verbose=False)
    assert program is not None
    graph = program.model_proto.graph
    operators = Counter(node.op_type for node in graph.node)
    assert operators['Conv'] == 9
    allowed = {'Add', 'ConstantOfShape', 'Conv', 'Exp', 'Mul', 'Pad', 'Pow', 'ReduceSum'}
    assert operators.keys() <= allowed | {'Slice', 'Sub', 'Unsqueeze', 'Constant'}
    # No map is larger than the padded input.
    shapes = (value.type.tensor_type.shape.dim for value in graph.value_info)
    largest = max(int(np.prod([dim.dim_value for dim in shape])) for shape in shapes)
    assert largest <= max(64 * 9 * 11, 64 * 48 * 3 * 3)
    session = onnxruntime.InferenceSession(program.model_proto.SerializeToString())
    names = [item.name for item in session.get_inputs()]
    feed = dict(zip(names, (value.numpy() for value in inputs), strict=True))
    found = in_both_precisions(
        layer, lambda dtype: {'out': layer(*(value.to(dtype) for value in inputs))}
    )
    answer = torch.from_numpy(session.run(None, feed)[0])
    assert_within_rounding(found, {'out': answer}, ceiling=TOLERANCE)


def test_what_does_not_fit_is_refused() -> None:
    x, guide = (value.float() for value in _inputs())
    with pytest.raises(ModelError, match='2x2 has no centre'):
        pixel_adaptive_conv2d(x, guide, torch.ones(5, 6, 2, 2))
    with pytest.raises(ModelError, match=r'need one of \[2, G, 7, 9\]; resize it'):
        pixel_adaptive_conv2d(x, guide[..., :-1], torch.ones(5, 6, 3, 3))
    with pytest.raises(ConfigError, match="did you mean 'gaussian'"):
        PixelAdaptiveConv2d(6, 5, 3, kernel='gausian')  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match='not 5 of 6; make the two equal'):
        PixelAdaptiveConv2d(6, 5, 3, shared_filters=True)
