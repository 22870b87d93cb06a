# SPDX-License-Identifier: Apache-2.0
"""Depth is exact: against hand-worked numbers, and against a slow ray caster in float64."""

from __future__ import annotations

import math
from dataclasses import replace
from random import Random

import numpy as np
import pytest
import torch

from depth_core.contracts import Intrinsics
from depth_core.data.synthetic.motion import camera_pose, place
from depth_core.data.synthetic.places.room import make_room
from depth_core.data.synthetic.places.street import make_street
from depth_core.data.synthetic.rendering.raster import local_rays, rasterise
from depth_core.data.synthetic.rendering.shading import render
from depth_core.data.synthetic.scene import (
    Body,
    GroundZone,
    Label,
    Lighting,
    Material,
    Motion,
    Scene,
    Shape,
)

pytestmark = pytest.mark.numeric

CPU = torch.device('cpu')
CAMERA = Intrinsics(fx_px=100.0, fy_px=100.0, cx_px=64.0, cy_px=32.0, height=64, width=128)
GREY = Material(colour=(0.5, 0.5, 0.5))


def plain_scene(**motion: float) -> Scene:
    scene = Scene(motion=Motion(height_m=1.5, **motion))
    scene.add_material(GREY)
    return scene


def add_floor(scene: Scene) -> None:
    scene.add(Shape.BOX, (0.0, 1.0, 0.0), (500.0, 1.0, 500.0), 0, label=Label.ROAD, casts=False)


def test_depth_of_a_box_and_of_the_ground_by_hand() -> None:
    scene = plain_scene()
    add_floor(scene)
    # 2 m wide, from the ground to 3 m, its front 4 m ahead.
    scene.add(Shape.BOX, (0.0, -1.5, 5.0), (1.0, 1.5, 1.0), 0, label=Label.WALL)
    frame = render(scene, CAMERA, 0.0, CPU)
    # The front spans x in [-1, 1] at z = 4: columns 64 - 25 to 64 + 25.
    assert frame.depth_m[32, 39:90].tolist() == pytest.approx([4.0] * 51, rel=1e-6)
    assert math.isinf(float(frame.depth_m[32, 38]))
    assert math.isinf(float(frame.depth_m[32, 90]))
    # z-depth, not the length of the ray: the same at the edge as in the middle.
    assert float(frame.depth_m[32, 39]) == pytest.approx(float(frame.depth_m[32, 64]))
    # The ground at row v lies at 1.5 * 100 / (v - 32).
    for row in (40, 52, 63):
        assert float(frame.depth_m[row, 5]) == pytest.approx(150.0 / (row - 32), rel=1e-5)
    assert int(frame.label[40, 5]) == Label.ROAD
    assert int(frame.label[32, 64]) == Label.WALL
    assert int(frame.label[5, 5]) == Label.SKY


def test_depth_of_a_ball_and_of_a_pole_by_hand() -> None:
    scene = plain_scene()
    scene.add(Shape.ELLIPSOID, (0.0, -1.5, 10.0), (2.0, 2.0, 2.0), 0)
    frame = render(scene, CAMERA, 0.0, CPU)
    assert float(frame.depth_m[32, 64]) == pytest.approx(8.0, rel=1e-6)
    # The outline of a sphere: tan of asin(2 / 10).
    edge = 100.0 * math.tan(math.asin(0.2))
    assert math.isfinite(float(frame.depth_m[32, 64 + int(edge)]))
    assert math.isinf(float(frame.depth_m[32, 64 + int(edge) + 1]))
    pole = plain_scene()
    pole.add(Shape.CYLINDER, (0.0, -1.5, 5.0), (0.1, 9.0, 0.1), 0)
    column = render(pole, CAMERA, 0.0, CPU).depth_m[:, 64]
    assert column.tolist() == pytest.approx([4.9] * 64, rel=1e-5)


def test_a_room_is_seen_from_inside() -> None:
    scene = plain_scene()
    scene.add(Shape.BOX, (0.0, -1.5, 2.0), (3.0, 1.5, 5.0), 0, casts=False)
    depth = render(scene, CAMERA, 0.0, CPU).depth_m
    assert float(depth[32, 64]) == pytest.approx(7.0, rel=1e-6)
    assert float(depth[63, 64]) == pytest.approx(150.0 / 31.0, rel=1e-5)


def test_a_car_at_the_speed_of_the_camera_has_no_parallax() -> None:
    scene = plain_scene(speed_m_s=12.0)
    add_floor(scene)
    for speed, arc in ((12.0, 10.0), (0.0, 30.0)):
        body = scene.add_body(Body(arc_m=arc, speed_m_s=speed))
        scene.add(Shape.BOX, (0.0, -0.7, 0.0), (0.8, 0.7, 2.0), 0, label=Label.CAR, body=body)
    frames = [render(scene, CAMERA, time, CPU) for time in (0.0, 0.5)]
    cars = [frame.label == Label.CAR for frame in frames]
    near = [frame.depth_m < 9.0 for frame in frames]
    assert torch.equal(cars[0] & near[0], cars[1] & near[1])
    assert int((cars[0] & near[0]).sum()) > 100
    assert float(frames[0].depth_m[36, 64]) == pytest.approx(8.0, rel=1e-6)
    assert float(frames[1].depth_m[36, 64]) == pytest.approx(8.0, rel=1e-6)
    assert frames[1].pose[2, 3] == pytest.approx(6.0)


def test_a_curved_path_carries_camera_and_bodies_alike() -> None:
    scene = replace(plain_scene(speed_m_s=10.0), curvature_1_m=0.01)
    scene.add_material(GREY)
    body = scene.add_body(Body(arc_m=12.0, speed_m_s=10.0))
    scene.add(Shape.BOX, (0.0, -1.0, 0.0), (0.9, 1.0, 2.0), 0, label=Label.CAR, body=body)
    first, later = (render(scene, CAMERA, time, CPU) for time in (0.0, 3.0))
    assert torch.allclose(first.depth_m, later.depth_m, rtol=1e-4)
    # 30 m on a circle of radius 100 m.
    assert later.pose[0, 3] == pytest.approx(100.0 * (1.0 - math.cos(0.3)))
    assert later.pose[2, 3] == pytest.approx(100.0 * math.sin(0.3))


def test_ground_zones_have_their_labels() -> None:
    scene = plain_scene()
    scene.zones = [
        GroundZone(right_m=-2.0, material=GREY, label=Label.TERRAIN),
        GroundZone(right_m=2.0, material=GREY, label=Label.ROAD),
        GroundZone(right_m=9.0, material=GREY, label=Label.SIDEWALK),
    ]
    scene.add(Shape.BOX, (0.0, 1.0, 0.0), (500.0, 1.0, 500.0), 0, casts=False, ground=True)
    label = render(scene, CAMERA, 0.0, CPU).label[47]
    # At row 47 the ground is 10 m ahead, where a metre is 10 pixels.
    assert int(label[64 - 22]) == Label.TERRAIN
    assert int(label[64 - 18]) == Label.ROAD
    assert int(label[64 + 18]) == Label.ROAD
    assert int(label[64 + 22]) == Label.SIDEWALK


def test_the_sun_casts_a_shadow_where_it_should() -> None:
    scene = plain_scene()
    scene.lighting = Lighting(direction=(1.0, -1.0, 0.0), ambient=(0.1, 0.1, 0.1))
    add_floor(scene)
    bare = render(scene, CAMERA, 0.0, CPU).radiance
    # A plate 3 m up at x = 3; light from the right at 45 degrees throws its shadow to x = 0.
    scene.add(Shape.BOX, (3.0, -3.0, 10.0), (0.8, 0.02, 2.0), 0)
    shaded = render(scene, CAMERA, 0.0, CPU).radiance
    ratio = (shaded / bare)[0, 47]
    assert float(ratio[64]) < 0.5
    assert float(ratio[64 + 20]) == pytest.approx(1.0, abs=1e-3)
    assert float(ratio[64 - 20]) == pytest.approx(1.0, abs=1e-3)


def slow_depth(scene: Scene, camera: Intrinsics, u: int, v: int) -> float:
    """Nearest hit of one pixel, in float64, over all primitives, with no screen rectangles."""
    arrays = scene.arrays()
    where = place(scene, arrays, 0.0)
    pose = camera_pose(scene, 0.0)
    ray = pose[:3, :3] @ ((u - camera.cx_px) / camera.fx_px, (v - camera.cy_px) / camera.fy_px, 1)
    best = math.inf
    for index in range(len(arrays.shape)):
        turn = where.rotation[index].T
        origin = turn @ (pose[:3, 3] - where.centre[index]) / where.half[index]
        direction = turn @ ray / where.half[index]
        shape = Shape(arrays.shape[index])
        flat = {Shape.BOX: (0, 1, 2), Shape.CYLINDER: (1,)}.get(shape, ())
        curved = [axis for axis in range(3) if axis not in flat]
        spans = [
            sorted((side - origin[axis]) / direction[axis] for side in (-1.0, 1.0))
            for axis in flat
        ]
        if curved:
            a = (direction[curved] ** 2).sum()
            b = (direction[curved] * origin[curved]).sum()
            root = b * b - a * ((origin[curved] ** 2).sum() - 1.0)
            if root < 0.0:
                continue
            spans.append([(-b - math.sqrt(root)) / a, (-b + math.sqrt(root)) / a])
        near, far = max(span[0] for span in spans), min(span[1] for span in spans)
        if near <= far and far > 0.05:
            best = min(best, near if near > 0.05 else far)
    return best


@pytest.mark.parametrize('name', ['street_city', 'street_boulevard', 'kitchen', 'office'])
def test_fast_and_slow_ray_casters_agree(name: str) -> None:
    source = Random(3)  # noqa: S311 - scenes are drawn, no secrets
    scene = (make_street if name.startswith('street') else make_room)(name, source)
    # The holes of foliage are noise, which the slow caster does not know.
    scene.primitives = [item for item in scene.primitives if item.shape is not Shape.FOLIAGE]
    camera = Intrinsics(fx_px=150.3, fy_px=149.1, cx_px=90.7, cy_px=47.2, height=96, width=180)
    depth = render(scene, camera, 0.0, CPU).depth_m
    pixels = [(source.randrange(180), source.randrange(96)) for _ in range(60)]
    fast = [float(depth[v, u]) for u, v in pixels]
    slow = [slow_depth(scene, camera, u, v) for u, v in pixels]
    assert fast == pytest.approx(slow, rel=2e-4)


@pytest.mark.parametrize('name', ['street_highway', 'street_residential', 'basement'])
def test_screen_rectangles_lose_nothing(name: str) -> None:
    source = Random(8)  # noqa: S311 - scenes are drawn, no secrets
    scene = (make_street if name.startswith('street') else make_room)(name, source)
    arrays = scene.arrays()
    rays = local_rays(place(scene, arrays, 0.0), camera_pose(scene, 0.0), CAMERA)
    full = replace(
        rays,
        low_px=np.zeros_like(rays.low_px),
        high_px=np.broadcast_to((CAMERA.width - 1, CAMERA.height - 1), rays.high_px.shape),
    )
    tight = rasterise(arrays.shape, rays, CAMERA, CPU)
    loose = rasterise(arrays.shape, full, CAMERA, CPU)
    assert torch.equal(tight.depth_m, loose.depth_m)


def test_an_empty_scene_is_all_sky() -> None:
    scene = plain_scene()
    scene.add(Shape.BOX, (0.0, 0.0, -9.0), (1.0, 1.0, 1.0), 0)
    frame = render(scene, CAMERA, 0.0, CPU)
    assert bool(torch.isposinf(frame.depth_m).all())
    assert bool(torch.isfinite(frame.radiance).all())
