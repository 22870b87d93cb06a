# SPDX-License-Identifier: Apache-2.0
"""Each layer of ZoeDepth gives the numbers of the authors' code."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import get_args

import pytest
import torch
from timm.models.beit import gen_relative_position_index
from torch import Tensor, nn

from depth_core.models.zoedepth.dpt_encoders import (
    relative_position_index,
    resize_relative_positions,
)
from depth_core.models.zoedepth.metric_bins import (
    Aggregation,
    Attraction,
    AttractorLayer,
    Bins,
    ConditionalLogBinomial,
    PointwiseMlp,
    SeedRegressor,
    SpreadCalibration,
    exponential_attraction,
    inverse_attraction,
    log_binomial,
    stirling_log_binomial,
)
from depth_core.models.zoedepth.options import BinOptions
from depth_core.models.zoedepth.routing import (
    PatchTransformer,
    domain_of_batch,
    domain_of_each,
    position_code,
)
from test.rounding import in_float64

pytestmark = pytest.mark.numeric

Reference = Callable[[str], dict[str, Tensor]]

TOLERANCE = 1e-5
"""Relative and absolute, of the authors' float32 sums; ours are of float64."""


@pytest.fixture(scope='module')
def arrays(reference: Reference) -> dict[str, Tensor]:
    return in_float64(reference('zoe_layers'))


def _load(layer: nn.Module, arrays: dict[str, Tensor], tag: str) -> nn.Module:
    """Give `layer` the weights of a tag; both list theirs in the same order of use."""
    theirs = {
        key.removeprefix(f'{tag}/sd/'): value
        for key, value in arrays.items()
        if key.startswith(f'{tag}/sd/') and 'log_binomial_transform' not in key
    }
    ours = {re.sub(r'hidden\.', '0.', re.sub(r'out\.', '2.', key)): key
            for key in layer.state_dict()}  # fmt: skip
    layer.double().load_state_dict(
        {
            ours[re.sub(r'^(?:_net|mlp)\.', '', key)]
            if re.sub(r'^(?:_net|mlp)\.', '', key) in ours
            else ours['net.' + key.removeprefix('_net.')]: value
            for key, value in theirs.items()
        }
    )
    return layer.eval()


def _close(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=TOLERANCE, atol=TOLERANCE)


def test_attraction_has_alpha_300_whatever_the_configuration_says(
    arrays: dict[str, Tensor],
) -> None:
    distance = arrays['inv_attractor/dx']
    _close(inverse_attraction(distance), arrays['inv_attractor/default(alpha=300,gamma=2)'])
    _close(inverse_attraction(distance, alpha=1000.0), arrays['inv_attractor/alpha=1000,gamma=2'])
    distance = arrays['inv_attractor/dx']
    _close(exponential_attraction(distance), arrays['exp_attractor/default(alpha=300,gamma=2)'])
    _close(
        exponential_attraction(distance, alpha=5.0, gamma=1),
        arrays['exp_attractor/alpha=5,gamma=1'],
    )


@torch.no_grad()
@pytest.mark.parametrize('attraction', get_args(Attraction))
@pytest.mark.parametrize('aggregation', get_args(Aggregation))
@pytest.mark.parametrize('kind', ['normed', 'unnormed'])
def test_attractors_of_every_kind(
    arrays: dict[str, Tensor], kind: str, aggregation: Aggregation, attraction: Attraction
) -> None:
    tag = f'attractor_{kind}_{aggregation}_{attraction}'
    layer = AttractorLayer(
        32,
        4,
        hidden_channels=24,
        depth_range=(1e-3, 80.0) if kind == 'normed' else None,
        aggregation=aggregation,
        attraction=attraction,
    )
    _load(layer, arrays, tag)
    inputs = (arrays[f'{tag}/in_{name}'] for name in ('x', 'b_prev', 'prev_b_embedding'))
    moved, metres = layer(*inputs)
    _close(moved, arrays[f'{tag}/out0'])
    _close(metres, arrays[f'{tag}/out1'])


@torch.no_grad()
def test_the_second_channel_of_a_normed_attractor_does_nothing(
    arrays: dict[str, Tensor],
) -> None:
    tag = 'attractor_normed_mean_inv'
    layer = AttractorLayer(32, 4, hidden_channels=24, depth_range=(1e-3, 80.0))
    _load(layer, arrays, tag)
    inputs = [arrays[f'{tag}/in_{name}'] for name in ('x', 'b_prev', 'prev_b_embedding')]
    before = layer(*inputs)[1]
    layer.net.out.weight[1::2] += 10.0
    assert torch.equal(layer(*inputs)[1], before)
    layer.net.out.weight[::2] += 10.0
    assert not torch.equal(layer(*inputs)[1], before)


@torch.no_grad()
def test_seeds_and_projector(arrays: dict[str, Tensor]) -> None:
    free = SeedRegressor(20, 12, hidden_channels=24, depth_range=None)
    _load(free, arrays, 'seed_unnormed')
    _close(free(arrays['seed_unnormed/in_0']), arrays['seed_unnormed/out1'])
    projector = PointwiseMlp(20, 24, 16)
    _load(projector, arrays, 'projector')
    _close(projector(arrays['projector/in_0']), arrays['projector/out0'])


@torch.no_grad()
def test_normed_seeds_part_the_range(arrays: dict[str, Tensor]) -> None:
    seeds = SeedRegressor(20, 12, hidden_channels=24, depth_range=(1e-3, 80.0))
    _load(seeds, arrays, 'seed_normed')
    centres = seeds(arrays['seed_normed/in_0'])
    _close(centres, arrays['seed_normed/out1'])
    widths = arrays['seed_normed/out0'] / arrays['seed_normed/out0'].sum(dim=1, keepdim=True)
    by_hand = 1e-3 + (80.0 - 1e-3) * (widths.cumsum(dim=1) - 0.5 * widths)
    _close(centres, by_hand)


def test_binomial_coefficients_are_stirlings(arrays: dict[str, Tensor]) -> None:
    table = stirling_log_binomial(64, torch.zeros(()).double()).flatten()
    # Differences of terms of up to 260, of which the authors' are of float32.
    torch.testing.assert_close(
        table, arrays['log_binom_stirling_K64'].flatten(), rtol=0.0, atol=1e-4
    )
    too_large = table - arrays['log_binom_exact_K64']
    assert abs(float(too_large[0])) < 1e-4
    assert float(too_large[1]) == pytest.approx(0.99, abs=0.01)
    assert float(too_large[32]) == pytest.approx(2.30, abs=0.01)


@torch.no_grad()
def test_log_binomial(arrays: dict[str, Tensor]) -> None:
    probability = arrays['logbinomial/p'].unsqueeze(1)
    temperature = arrays['logbinomial/t']
    _close(log_binomial(probability, temperature, 64), arrays['logbinomial/out_t'])
    _close(log_binomial(probability, 1.0, 64), arrays['logbinomial/out_t1'])


@torch.no_grad()
@pytest.mark.parametrize(('tag', 'main', 'factor'), [('clb_factor2', 33, 2),
                                                      ('clb_factor4_nk', 32, 4)])  # fmt: skip
def test_conditional_log_binomial(
    arrays: dict[str, Tensor], tag: str, main: int, factor: int
) -> None:
    layer = ConditionalLogBinomial(main, 16, 64, bottleneck=factor)
    _load(layer, arrays, tag)
    found = layer(arrays[f'{tag}/in_main'], arrays[f'{tag}/in_cond'])
    _close(found, arrays[f'{tag}/out0'])


@torch.no_grad()
def test_a_softmax_may_say_how_likely_each_bin_is() -> None:
    options = BinOptions(
        n_bins=5, embedding_dim=4, n_attractors=(1, 1, 1, 1), centres_type='hybrid1',
        aggregation='mean', attraction='inv', likelihood='softmax',
    )  # fmt: skip
    head = options.head(4, 3, depth_range=(0.0, 1.0), seed_hidden=4, bottleneck=2)
    x, condition = torch.rand(2, 3, 4, 6), torch.rand(2, 4, 4, 6)
    likely = head.likelihood(x, condition)
    torch.testing.assert_close(likely.sum(dim=1), torch.ones(2, 4, 6))
    scores = head.likelihood.out(torch.nn.functional.gelu(
        head.likelihood.hidden(torch.cat((x, condition), dim=1))
    ))  # fmt: skip
    torch.testing.assert_close(likely, scores.softmax(dim=1))


def test_patch_transformer(arrays: dict[str, Tensor]) -> None:
    layer = PatchTransformer(20, 16, layers=2, heads=4, hidden_channels=24).double()
    theirs = {
        'embedding_convPxP': 'embed', 'self_attn.in_proj_': 'qkv.',
        'self_attn.out_proj': 'project', 'linear1': 'hidden', 'linear2': 'out',
        'transformer_encoder.': '',
    }  # fmt: skip
    state = {}
    for key, value in arrays.items():
        if key.startswith('patch_transformer/sd/'):
            name = key.removeprefix('patch_transformer/sd/')
            for before, after in theirs.items():
                name = name.replace(before, after)
            state[name] = value
    layer.load_state_dict(state)
    found = layer.eval()(arrays['patch_transformer/in_0'])
    _close(found.transpose(0, 1), arrays['patch_transformer/out0'])


def test_position_code(arrays: dict[str, Tensor]) -> None:
    code = position_code(7, 128)
    _close(code.double(), arrays['posenc_1d(S=7,E=128)'])
    assert code[0].tolist() == [0.0] * 64 + [1.0] * 64


@pytest.mark.parametrize('window', [(4, 4), (2, 3), (6, 1)])
def test_relative_positions_are_counted_as_in_timm(window: tuple[int, int]) -> None:
    assert torch.equal(relative_position_index(*window), gen_relative_position_index(window))


def test_relative_positions_of_another_window_by_hand() -> None:
    # One head, window 2x2: 9 offsets, whose value is the row offset, and three special rows.
    table = torch.tensor([-1.0, -1, -1, 0, 0, 0, 1, 1, 1, 7, 8, 9])[:, None]
    wider = resize_relative_positions(table, (2, 2), (2, 3))
    assert wider.flatten().tolist() == [-1.0] * 5 + [0.0] * 5 + [1.0] * 5 + [7.0, 8.0, 9.0]
    taller = resize_relative_positions(table, (2, 2), (3, 2))
    # Half-pixel centres: row i of five reads row 0.6 i - 0.2 of three, the ends held.
    expected = torch.tensor([-1.0, -0.6, 0.0, 0.6, 1.0]).repeat_interleave(3)
    torch.testing.assert_close(taller[:15, 0], expected)
    assert resize_relative_positions(table, (2, 2), (2, 2)) is table


def test_mean_and_spread_by_hand() -> None:
    bins = Bins(
        centres=torch.tensor([1.0, 3.0, 5.0]).reshape(1, 3, 1, 1),
        probabilities=torch.tensor([0.25, 0.5, 0.25]).reshape(1, 3, 1, 1),
    )
    mean = bins.mean()
    assert mean.item() == pytest.approx(3.0)
    assert bins.spread(mean).item() == pytest.approx(2.0**0.5)
    sure = Bins(centres=bins.centres, probabilities=torch.eye(3)[:1].reshape(1, 3, 1, 1))
    assert sure.spread(sure.mean()).item() == pytest.approx(1e-3)


def test_calibration_is_neutral_at_first_and_cannot_move_the_depth() -> None:
    calibration = SpreadCalibration(2)
    spread = torch.tensor([0.1, 2.0], requires_grad=True)
    depth = torch.tensor([5.0, 40.0], requires_grad=True)
    torch.testing.assert_close(calibration(spread, depth, 1), spread.detach())
    with torch.no_grad():
        calibration.log_scale[1] = torch.tensor(3.0).log()
        calibration.slope[1] = 2.0
        calibration.depth_slope[1] = 0.5
    # 3 s^2 sqrt(d / 10)
    by_hand = torch.tensor([0.03 * 0.5**0.5, 12.0 * 2.0])
    torch.testing.assert_close(calibration(spread, depth, 1), by_hand)
    torch.testing.assert_close(calibration(spread, depth, 0), spread.detach())
    calibration(spread, depth, 1).sum().backward()
    assert spread.grad is None
    assert depth.grad is None
    for weight in calibration.parameters():
        assert weight.grad is not None
        assert weight.grad[0] == 0.0
        assert weight.grad[1] != 0.0


def test_the_vote_of_a_batch_and_of_each() -> None:
    logits = torch.tensor([[2.0, 0.0], [0.0, 1.0], [0.0, 0.5]])
    assert domain_of_each(logits).tolist() == [0, 1, 1]
    assert domain_of_batch(logits).tolist() == [0, 0, 0]
