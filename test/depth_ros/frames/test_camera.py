# SPDX-License-Identifier: Apache-2.0
"""Which camera an image is predicted with, and when there is none."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from sensor_msgs.msg import CameraInfo, RegionOfInterest

from depth_core.contracts import DepthKind, InputSpec, Intrinsics, OutputSpec
from depth_core.manifest import DomainSection, Manifest
from depth_ros.frames.camera import FrameCameras, initial_state
from depth_ros.frames.drops import DropReason, FrameError
from depth_ros.messages.camera_info import CameraInfoStore
from depth_ros.middleware.publishers import Publishers
from depth_ros.settings import Settings, settings_from
from test.depth_ros.sample_messages import header

METRIC = Manifest(
    name='net',
    input=InputSpec(height=64, width=96),
    output=OutputSpec(kind=DepthKind.METRIC, min_depth=0.5, max_depth=80.0),
)
CANONICAL = replace(
    METRIC, output=replace(METRIC.output, kind=DepthKind.CANONICAL, canonical_focal_px=300.0)
)
OWN_FOCAL = replace(METRIC, output=replace(METRIC.output, own_focal_output='focal'))
RAW = settings_from({'image_geometry': 'raw'})
EXACT = settings_from({'image_geometry': 'raw', 'camera_info_pairing': 'exact'})


def lens(number: int = 1, **changes: Any) -> CameraInfo:
    """A distorted lens whose K and P differ."""
    info = CameraInfo(header=header(number), height=120, width=160, distortion_model='plumb_bob')
    info.d = [0.1, 0.0, 0.0, 0.0, 0.0]
    info.k = np.array([100.0, 0, 79.5, 0, 110.0, 59.5, 0, 0, 1])
    info.p = np.array([90.0, 0, 80.0, 0, 0, 95.0, 60.0, 0, 0, 0, 1, 0])
    for name, value in changes.items():
        setattr(info, name, value)
    return info


class Bench:
    """The cameras of one model, and what is logged of them."""

    def __init__(self, manifest: Manifest, *infos: CameraInfo) -> None:
        self.infos = CameraInfoStore(Publishers('/camera_info', kind='sensor_msgs/msg/CameraInfo'))
        for info in infos:
            self.infos.add(info)
        self.log: list[str] = []
        self.cameras = FrameCameras(
            manifest=manifest, infos=self.infos, image_topic='/image', log=self.log.append
        )

    def __call__(
        self, settings: Settings = RAW, *, number: int = 1, height: int = 120, width: int = 160
    ) -> Intrinsics | None:
        return self.cameras(header(number), settings, height=height, width=width)


def test_a_raw_image_obeys_k_and_a_rectified_one_p() -> None:
    bench = Bench(CANONICAL, lens())
    assert bench() == Intrinsics(
        fx_px=100.0, fy_px=110.0, cx_px=79.5, cy_px=59.5, height=120, width=160
    )
    rectified = bench(settings_from({'image_geometry': 'rectified'}))
    assert rectified == Intrinsics(
        fx_px=90.0, fy_px=95.0, cx_px=80.0, cy_px=60.0, height=120, width=160
    )
    assert bench.cameras.state == 'metric, by the focal length of camera_info'
    assert bench.log == ['depth is now metric, by the focal length of camera_info']
    bench.infos.add(lens(k=np.array([50.0, 0, 79.5, 0, 55.0, 59.5, 0, 0, 1])))
    zoomed = bench()
    assert zoomed is not None
    assert (zoomed.fx_px, zoomed.fy_px) == (50.0, 55.0)


def test_region_and_binning_are_taken_into_account() -> None:
    region = RegionOfInterest(x_offset=40, y_offset=30, width=80, height=60)
    camera = Bench(CANONICAL, lens(roi=region))(height=30, width=40)
    assert camera == Intrinsics(  # c = (79.5 - 40 + 0.5) / 2 - 0.5
        fx_px=50.0, fy_px=55.0, cx_px=19.5, cy_px=14.5, height=30, width=40
    )


@pytest.mark.parametrize(
    ('changes', 'reason'),
    [
        ({'k': np.zeros(9), 'p': np.zeros(12)}, DropReason.UNCALIBRATED),
        ({'k': np.full(9, np.nan)}, DropReason.UNCALIBRATED),
        ({'width': 320}, DropReason.CAMERA_INFO_SIZE),
    ],
)
def test_a_camera_info_that_cannot_be_used_loses_frames_of_models_that_need_it(
    changes: dict[str, Any], reason: DropReason
) -> None:
    bench = Bench(CANONICAL, lens(**changes))
    with pytest.raises(FrameError) as caught:
        bench()
    assert caught.value.reason is reason
    assert bench.cameras.state == f'no metres: {reason}'
    assert Bench(METRIC, lens(**changes))() is None
    assert Bench(OWN_FOCAL, lens(**changes))() is None


def test_nothing_is_assumed_unless_it_is_said() -> None:
    with pytest.raises(FrameError, match='no camera_info yet: this model needs the focal length'):
        Bench(CANONICAL)()
    assumed = replace(CANONICAL, domain=DomainSection(assumed_hfov_deg=60.0))
    bench = Bench(assumed)
    assert bench() is None, 'the predictor assumes it'
    assert '60 degrees' in bench.cameras.state
    bench.infos.add(lens())
    assert bench() is not None
    wrong = Bench(assumed, lens(width=320))
    with pytest.raises(FrameError):
        wrong()


def test_a_focal_length_that_the_model_estimates_gives_way_to_the_camera() -> None:
    bench = Bench(OWN_FOCAL)
    assert bench() is None
    assert bench.cameras.state == 'metric, by the focal length that the model estimates'
    bench.infos.add(lens())
    assert bench() is not None
    assert bench.cameras.state == 'metric, by the focal length of camera_info'
    assert initial_state(METRIC) == 'metric'


def test_the_camera_info_of_an_image_may_come_a_moment_after_it() -> None:
    bench = Bench(CANONICAL, lens(1))
    late = threading.Timer(0.005, bench.infos.add, [lens(2)])
    late.start()
    camera = bench(EXACT, number=2)
    late.join()
    assert camera is not None
    with pytest.raises(FrameError, match='has the stamp 1003') as caught:
        bench(EXACT, number=3)
    assert caught.value.reason is DropReason.NO_CAMERA_INFO
    assert bench(RAW, number=3) is not None
