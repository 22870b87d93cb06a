# SPDX-License-Identifier: Apache-2.0
"""Photometric errors: the authors' numbers under every option, and the masks."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from depth_core.losses import photometric
from depth_core.losses.smoothness import multi_scale_smoothness
from test.rounding import assert_within_rounding, in_both_precisions, in_float64

pytestmark = pytest.mark.numeric

Reference = Callable[[str], dict[str, Tensor]]
SIZE = (24, 40)
SSIM_CEILING = 1e-3
"""Absolute: SSIM divides by small variances, which are differences of squares."""


@pytest.fixture(scope='module')
def packnet(reference: Reference) -> dict[str, Tensor]:
    return in_float64(reference('packnet_losses'))


@pytest.fixture(scope='module')
def monodepth2(reference: Reference) -> dict[str, Tensor]:
    return in_float64(reference('monodepth2_layers'))


def views(packnet: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    references = torch.stack((packnet['ref0'], packnet['ref1']), dim=1)
    poses = torch.stack((packnet['pose_mat0'], packnet['pose_mat1']), dim=1)
    return packnet['image'], references, packnet['K'], poses


def test_ssim_in_plain_windows(packnet: dict[str, Tensor], monodepth2: dict[str, Tensor]) -> None:
    def run(dtype: torch.dtype) -> dict[str, Tensor]:
        similarity = photometric.ssim_map(packnet['image'].to(dtype), packnet['ref0'].to(dtype))
        return {'packnet': similarity, 'monodepth2': (0.5 - 0.5 * similarity).clamp(0.0, 1.0)}

    expected = {'packnet': packnet['ssim_map'], 'monodepth2': monodepth2['ssim_loss']}
    assert_within_rounding(in_both_precisions(None, run), expected, ceiling=SSIM_CEILING)


def test_flat_images_by_hand() -> None:
    # No variance: SSIM = (2 * 0.5 * 0.3 + 1e-4) / (0.25 + 0.09 + 1e-4).
    first, second = torch.full((1, 3, 4, 4), 0.5), torch.full((1, 3, 4, 4), 0.3)
    similarity = 0.3001 / 0.3401
    error = 0.85 * (1.0 - similarity) / 2.0 + 0.15 * 0.2
    found = photometric.photometric_map(first, second)
    # The variances are rounding errors of 1e-8 beside C2 = 9e-4.
    torch.testing.assert_close(found, torch.full((1, 1, 4, 4), error), rtol=3e-4, atol=0.0)
    plain = photometric.photometric_map(first, second, ssim_weight=0.0)
    torch.testing.assert_close(plain, torch.full((1, 1, 4, 4), 0.2))


def test_maps_of_both_codes(packnet: dict[str, Tensor], monodepth2: dict[str, Tensor]) -> None:
    def run(dtype: torch.dtype) -> dict[str, Tensor]:
        image, references, camera, poses = (values.to(dtype) for values in views(packnet))
        inverse = packnet['inv_depth_upsampled_nearest0'].to(dtype)
        maps, _ = photometric.view_errors(image, references, inverse, camera, poses)
        view = monodepth2['warped_border_alignFalse(default)'].to(dtype)
        error = photometric.photometric_map(view, monodepth2['image'].to(dtype))
        still = photometric.still_errors(image, references, SIZE)[0]
        return {
            'view': maps[0],
            'packnet still': still,
            'monodepth2 still': still,
            'error': error,
            'smallest': photometric.reduced([error], still=[still]),
        }

    expected = {
        'view': packnet['photometric_map_scale0_ref0'],
        'packnet still': packnet['photometric_identity_map_ref0'],
        'monodepth2 still': monodepth2['identity_map'],
        'error': monodepth2['reproj_map'],
    }
    found = in_both_precisions(None, run)
    assert_within_rounding(found, expected, ceiling=SSIM_CEILING)
    torch.testing.assert_close(
        found.float64['smallest'], monodepth2['min_automask_mean(no tie-break noise)'],
        rtol=1e-5, atol=0.0,
    )  # fmt: skip


@pytest.mark.parametrize(
    ('variant', 'scales', 'options'),
    [
        ('default_upsampled', 'nearest', {}),
        ('native_multires', 'none', {}),
        ('no_automask_upsampled', 'nearest', {'automask': False}),
        ('mean_no_automask', 'nearest', {'automask': False, 'how': 'mean'}),
        ('clip0.5_upsampled', 'nearest', {'clip': 0.5}),
        ('border_upsampled', 'nearest', {'padding': 'border'}),
        ('smooth0.1_native', 'none', {'weight': 0.1}),
    ],
)
def test_the_whole_loss_of_packnet_sfm(
    packnet: dict[str, Tensor],
    variant: str,
    scales: photometric.Upsampling,
    options: dict[str, Any],
) -> None:
    image, references, camera, poses = views(packnet)
    inverse_depths = [
        photometric.at_size(packnet[f'inv_depth_native{scale}'], SIZE, scales)
        for scale in range(4)
    ]
    sizes = [(item.shape[-2], item.shape[-1]) for item in inverse_depths]
    clip = options.get('clip', 0.0)
    terms = []
    for inverse, size in zip(inverse_depths, sizes, strict=True):
        maps, _ = photometric.view_errors(
            image, references, inverse, camera, poses, clip=clip,
            padding=options.get('padding', 'zeros'),
        )  # fmt: skip
        automask = options.get('automask', True)
        still = photometric.still_errors(image, references, size, clip=clip) if automask else []
        terms.append(photometric.reduced(maps, options.get('how', 'min'), still=still))
    error = torch.stack(terms).mean()
    images = [photometric.shrunk(image, size) for size in sizes]
    smooth = options.get('weight', 1e-3) * multi_scale_smoothness(inverse_depths, images)
    expected = {
        key.rpartition('/')[2]: value
        for key, value in packnet.items()
        if key.startswith(f'loss/{variant}/')
    }
    # Means of a thousand float32 values.
    close = partial(torch.testing.assert_close, rtol=1e-6, atol=1e-6)
    close(error, expected['photometric_loss'])
    close(smooth, expected['smoothness_loss'])
    close((error + smooth).view(1), expected['total'])
    # What the authors' log calls photometric is the total; here each term is its own.
    logged = expected['photometric_loss_as_logged(includes smoothness)']
    close(error + smooth, logged)


def test_the_smallest_error_wins_and_out_of_view_takes_no_part() -> None:
    first = torch.tensor([[[[1.0, 4.0, 5.0]]]])
    second = torch.tensor([[[[2.0, 3.0, 6.0]]]])
    assert photometric.reduced([first, second]).item() == pytest.approx((1 + 3 + 5) / 3)
    assert photometric.reduced([first, second], 'mean').item() == pytest.approx(21 / 6)
    seen = [torch.tensor([[[[False, True, False]]]]), torch.tensor([[[[True, True, False]]]])]
    assert photometric.reduced([first, second], seen=seen).item() == pytest.approx((2 + 3) / 2)
    mean = photometric.reduced([first, second], 'mean', seen=seen)
    assert mean.item() == pytest.approx((4 + 2 + 3) / 3)
    still = [torch.tensor([[[[9.0, 0.5, 7.0]]]])]
    found = photometric.reduced([first, second], seen=seen, still=still)
    assert found.item() == pytest.approx((2 + 0.5 + 7) / 3)


def test_nothing_seen_costs_nothing() -> None:
    error = torch.ones(1, 1, 2, 2, requires_grad=True)
    nowhere = [torch.zeros(1, 1, 2, 2, dtype=torch.bool)]
    loss = photometric.reduced([error * 3.0], seen=nowhere)
    loss.backward()
    assert loss.item() == 0.0
    assert error.grad is not None
    assert not error.grad.any()


def test_a_tie_is_broken_by_very_little() -> None:
    image = torch.rand(1, 3, 8, 8)
    references = image[:, None]
    torch.manual_seed(0)
    (noise,) = photometric.still_errors(image, references, (8, 8), tie_break=1e-5)
    assert 0.0 < noise.abs().max().item() < 1e-4
    (none,) = photometric.still_errors(image, references, (8, 8))
    assert none.abs().max().item() < 1e-6


def test_upsampling_by_name(packnet: dict[str, Tensor]) -> None:
    for scale in range(4):
        native = packnet[f'inv_depth_native{scale}']
        upsampled = photometric.at_size(native, SIZE, 'nearest')
        assert torch.equal(upsampled, packnet[f'inv_depth_upsampled_nearest{scale}'])
        small = (native.shape[-2], native.shape[-1])
        shrunk = photometric.shrunk(packnet['ref0'], small)
        expected = packnet[f'match_scales_ref0_{scale}']
        torch.testing.assert_close(shrunk, expected, rtol=0.0, atol=1e-6)
    coarse = torch.tensor([[[[0.0, 1.0]]]])
    blended = photometric.at_size(coarse, (1, 4), 'bilinear')
    assert blended.flatten().tolist() == [0.0, 0.25, 0.75, 1.0]
