# SPDX-License-Identifier: Apache-2.0
"""Poses, projection and sampling: the authors' numbers, and cases worked by hand."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from depth_core.losses import view_synthesis as views
from depth_core.losses.photometric import shrunk
from test.rounding import in_float64

pytestmark = pytest.mark.numeric

Reference = Callable[[str], dict[str, Tensor]]
CAMERA = torch.tensor([[[10.0, 0.0, 3.5], [0.0, 10.0, 2.5], [0.0, 0.0, 1.0]]])


@pytest.fixture(scope='module')
def packnet(reference: Reference) -> dict[str, Tensor]:
    return in_float64(reference('packnet_losses'))


@pytest.fixture(scope='module')
def monodepth2(reference: Reference) -> dict[str, Tensor]:
    return in_float64(reference('monodepth2_layers'))


def near(found: Tensor, expected: Tensor, *, atol: float = 1e-5) -> None:
    # The authors' are of float32: a sampled colour moves by a coordinate's rounding.
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=atol)


def test_euler_angles_as_packnet_sfm(packnet: dict[str, Tensor]) -> None:
    near(views.euler_to_matrix(packnet['euler_in']), packnet['euler_out'])
    vector = packnet['pose_vec']
    pose = views.rigid(views.euler_to_matrix(vector[..., 3:]), vector[..., :3])
    near(pose[:, 0], packnet['pose_mat0'])
    near(pose[:, 1], packnet['pose_mat1'])


def test_axis_and_angle_and_the_way_back_as_monodepth2(monodepth2: dict[str, Tensor]) -> None:
    rotation = views.axis_angle_to_matrix(monodepth2['axisangle'][:, 0])
    pose = views.rigid(rotation, monodepth2['translation'][:, 0])
    near(pose, monodepth2['T'])
    near(views.inverse_rigid(pose), monodepth2['T_inv'])


@pytest.mark.parametrize('make', [views.euler_to_matrix, views.axis_angle_to_matrix])
def test_a_quarter_turn_about_z_takes_x_to_y(make: Callable[[Tensor], Tensor]) -> None:
    turned = make(torch.tensor([0.0, 0.0, math.pi / 2])) @ torch.tensor([1.0, 0.0, 0.0])
    torch.testing.assert_close(turned, torch.tensor([0.0, 1.0, 0.0]), rtol=0.0, atol=1e-6)


@pytest.mark.parametrize('make', [views.euler_to_matrix, views.axis_angle_to_matrix])
def test_no_rotation_has_a_finite_slope(make: Callable[[Tensor], Tensor]) -> None:
    angles = torch.zeros(2, 3, requires_grad=True)
    matrix = make(angles)
    torch.testing.assert_close(matrix, torch.eye(3).expand(2, 3, 3), rtol=0.0, atol=0.0)
    matrix[..., 0, 1].sum().backward()
    assert angles.grad is not None
    assert torch.isfinite(angles.grad).all()


def test_there_and_back_is_nowhere() -> None:
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randn(5, 6, generator=generator)
    pose = views.rigid(views.euler_to_matrix(drawn[:, 3:]), drawn[:, :3])
    unit = torch.eye(4).expand(5, 4, 4)
    torch.testing.assert_close(views.inverse_rigid(pose) @ pose, unit, rtol=0.0, atol=1e-6)


def test_a_camera_is_scaled_by_the_half_pixel_rule(packnet: dict[str, Tensor]) -> None:
    near(views.scale_camera(packnet['K'], 0.5), packnet['scale_intrinsics_half'])
    wide = views.scale_camera(CAMERA, 2.0, 1.0)
    assert wide[0].diagonal().tolist() == [20.0, 10.0, 1.0]
    assert wide[0, :2, 2].tolist() == [7.5, 2.5]


@pytest.mark.parametrize('index', [0, 1])
def test_views_as_packnet_sfm(packnet: dict[str, Tensor], index: int) -> None:
    depth = views.inverse_to_depth(packnet['inv_depth_native0'])
    points = views.back_project(depth, packnet['K'])
    near(points, packnet[f'vs{index}/points'])
    grid, _ = views.projected(points, packnet[f'pose_mat{index}'], packnet['K'], (24, 40))
    near(grid, packnet[f'vs{index}/coords'])
    reference_image = packnet[f'ref{index}']
    near(views.sampled(reference_image, grid), packnet[f'vs{index}/warped_zeros'])
    border = views.sampled(reference_image, grid, padding='border')
    near(border, packnet[f'vs{index}/warped_border'])


def test_a_coarse_view_as_packnet_sfm(packnet: dict[str, Tensor]) -> None:
    view, _ = views.synthesised(
        shrunk(packnet['ref0'], (12, 20)),
        views.inverse_to_depth(packnet['inv_depth_native1']),
        views.scale_camera(packnet['K'], 0.5),
        packnet['pose_mat0'],
    )
    near(view, packnet['vs_native1/warped'])


def test_views_as_monodepth2_before_and_after_torch_1_3(monodepth2: dict[str, Tensor]) -> None:
    points = views.back_project(monodepth2['depth'], monodepth2['K3'])
    near(points.flatten(2), monodepth2['cam_points'][:, :3])
    grid, _ = views.projected(points, monodepth2['T'], monodepth2['K3'], (24, 40))
    near(grid, monodepth2['pix_coords'])
    image = monodepth2['ref0']
    since = views.sampled(image, grid, padding='border', align_corners=False)
    near(since, monodepth2['warped_border_alignFalse(default)'])
    before = views.sampled(image, grid, padding='border', align_corners=True)
    near(before, monodepth2['warped_border_alignTrue(torch<1.3 behaviour)'])


def test_a_step_to_the_right_moves_a_wall_to_the_left() -> None:
    # 1 m to the right of a wall 10 m away, focal length 10 px: one pixel.
    image = torch.arange(8.0).expand(1, 3, 6, 8) / 10.0
    pose = torch.eye(4)[None].clone()
    pose[0, 0, 3] = -1.0  # what was at x is now at x - 1
    view, seen = views.synthesised(image, torch.full((1, 1, 6, 8), 10.0), CAMERA, pose)
    torch.testing.assert_close(view[..., 1:], image[..., :-1], rtol=0.0, atol=1e-6)
    assert not seen[..., 0].any()
    assert seen[..., 1:].all()
    torch.testing.assert_close(view[..., 0], torch.zeros(1, 3, 6), rtol=0.0, atol=1e-5)


def test_what_lies_behind_is_not_seen() -> None:
    pose = torch.eye(4)[None].clone()
    pose[0, 2, 3] = -20.0
    depth = torch.full((1, 1, 6, 8), 10.0, requires_grad=True)
    view, seen = views.synthesised(torch.rand(1, 3, 6, 8), depth, CAMERA, pose)
    assert not seen.any()
    view.sum().backward()
    assert depth.grad is not None
    assert torch.isfinite(depth.grad).all()


def test_depth_learns_from_the_view() -> None:
    image = torch.arange(8.0).expand(1, 3, 6, 8) / 10.0
    pose = torch.eye(4)[None].clone()
    pose[0, 0, 3] = -1.0
    depth = torch.full((1, 1, 6, 8), 9.0, requires_grad=True)
    view, _ = views.synthesised(image, depth, CAMERA, pose)
    view[..., 4].sum().backward()
    assert depth.grad is not None
    # The view reads at u - f t / z: its slope by z is (10 px * 1 m / 81 m^2) * 0.1 a pixel.
    expected = torch.full((6,), 3 * 0.1 * 10.0 / 81.0)
    torch.testing.assert_close(depth.grad[0, 0, :, 4], expected, rtol=1e-4, atol=0.0)
