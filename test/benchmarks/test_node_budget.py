# SPDX-License-Identifier: Apache-2.0
"""What the node costs beside the backend, against the budget it is designed to.

Median of one frame, from the arrival of the image to the return of the last publish, with a
backend that answers at once and listeners in another process. The budget is for two free cores.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rclpy.lifecycle import LifecycleNode, LifecycleState
from sensor_msgs.msg import Image

from depth_core.contracts import DepthKind, InputSpec, OutputSpec
from depth_core.manifest import Manifest
from depth_core.runtime import Predictor
from depth_ros.frames.answer import Frame, FrameAnswerer
from depth_ros.frames.outputs import Outputs
from depth_ros.frames.statistics import FrameStatistics
from depth_ros.frames.together import AnswersTogether
from depth_ros.messages.camera_info import CameraInfoStore
from depth_ros.middleware.memory import keep_freed_memory
from depth_ros.settings import Settings
from test.depth_ros.ros_processes import RosSession, ros_session
from test.depth_ros.sample_messages import camera_info, header, image, picture

HEIGHT, WIDTH = 256, 320

LISTENER = """
import sys
import rclpy
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
rclpy.init()
node = rclpy.create_node('listener')
for topic in sys.argv[1:]:
    kind = {'points': PointCloud2, 'depth/camera_info': CameraInfo}.get(topic, Image)
    node.create_subscription(kind, topic, lambda data: None, QoSProfile(depth=1), raw=True)
try:
    rclpy.spin(node)
except (KeyboardInterrupt, rclpy.executors.ExternalShutdownException, RuntimeError):
    pass  # the signal that ends it may come at any moment
"""

DEPTH = ('depth/image_raw', 'depth/camera_info')
ALL = (*DEPTH, 'sigma/image_raw', 'confidence/image_raw', 'points')


class NullBackend:
    """Answers a constant at once."""

    manifest = Manifest(
        name='null',
        input=InputSpec(height=HEIGHT, width=WIDTH),
        output=OutputSpec(kind=DepthKind.METRIC, min_depth=0.1, max_depth=80.0),
    )

    def __init__(self) -> None:
        self._depth = np.full((HEIGHT, WIDTH), 5.0, np.float32)
        self._sigma = np.full((HEIGHT, WIDTH), 0.5, np.float32)

    def run(self, image: Any) -> tuple[Any, Any]:  # noqa: ARG002  a backend takes an image
        return self._depth, self._sigma


@pytest.fixture(scope='module')
def ros(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RosSession]:
    assert keep_freed_memory()
    with ros_session(tmp_path_factory.mktemp('budget')) as session:
        yield session


def test_rate_with_the_shipped_model(ros: RosSession) -> None:
    """Frames a second of the whole node: the next image is sent when the last is answered."""
    ros.start_node('depth_ros.mono_depth_node', parameters={'diagnostics_period_s': 0.2})
    images = ros.publisher(Image, '/image')
    depths = ros.outputs({'depth/image_raw': Image})['depth/image_raw']
    pixels = picture(0, height=480, width=640)
    frames = 200
    begun_s = time.monotonic()
    for number in range(frames):
        images.publish(image(number, pixels))
        while len(depths) <= number:
            ros.executor.spin_once(timeout_sec=1.0)
    rate_hz = frames / (time.monotonic() - begun_s)
    time.sleep(0.5)
    said = ros.diagnostics(lambda values: bool(values['latency_p50_ms']), 'latencies')
    print(
        f'\n640x480, {said["model"]} on {said["backend"]}: {rate_hz:.1f} frames/s, '
        f'latency p50 {said["latency_p50_ms"]} p95 {said["latency_p95_ms"]} ms, '
        f'inference p50 {said["inference_p50_ms"]} ms'
    )


@dataclass(frozen=True)
class Case:
    """An image size, what is listened to, and what one frame may cost."""

    width: int
    height: int
    topics: tuple[str, ...]
    budget_ms: float


@pytest.mark.parametrize(
    'case',
    [
        Case(640, 480, DEPTH, 3.0),
        Case(1280, 720, DEPTH, 6.0),
        Case(1280, 720, ALL, 22.0),
        Case(1242, 375, ALL, 11.0),
    ],
    ids=lambda case: f'{case.width}x{case.height}_{len(case.topics)}_outputs',
)
def test_one_frame(ros: RosSession, benchmark: Any, case: Case) -> None:
    width, height, topics = case.width, case.height, case.topics
    node = LifecycleNode(f'budget_{width}_{len(topics)}', context=ros.node.context)
    outputs = Outputs(node, reliability='reliable')
    state = LifecycleState('inactive', 2)
    node.on_activate(state)
    statistics = FrameStatistics()
    infos = CameraInfoStore('camera_info')
    infos.add(camera_info(0, height=height, width=width))
    predictor = Predictor(NullBackend(), name='null', path=Path('null'))
    together = AnswersTogether(predictor)
    steps = FrameAnswerer(
        settings=Settings(),
        predictor=predictor,
        outputs=outputs,
        infos=infos,
        sparse=None,
        statistics=statistics,
        image_topic='image',
        clock=node.get_clock(),
        log=pytest.fail,
        warn=pytest.fail,
    )
    listener = ros.start('-c', LISTENER, *topics)
    ros.until(lambda: {output.topic for output in outputs.wanted()} == set(topics), 'the listener')
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 256, (height, width, 3)).astype(np.uint8)

    def arrived() -> tuple[tuple[Frame], dict[str, Any]]:
        time.sleep(0.03)  # a camera of about 30 Hz; the listener reads meanwhile
        message: Image = image(0, pixels)
        message.header = header(0)
        return (Frame(message, time.monotonic()),), {}

    cpu_s: list[float] = []

    def timed(frame: Frame) -> None:
        begun_s = time.thread_time()
        together([steps(frame)])
        cpu_s.append(time.thread_time() - begun_s)

    try:
        benchmark.pedantic(timed, setup=arrived, rounds=60, warmup_rounds=5)
    finally:
        listener.process.terminate()
        listener.wait()
        ros.processes.remove(listener)
        outputs.destroy()
        node.destroy_node()
    assert statistics.snapshot().frames_out >= 60
    median_ms = float(np.median(benchmark.stats.stats.data)) * 1e3
    cpu_ms = float(np.median(cpu_s)) * 1e3
    benchmark.extra_info.update(median_ms=median_ms, cpu_ms=cpu_ms, budget_ms=case.budget_ms)
    print(
        f'\n{width}x{height}, {len(topics)} outputs: {median_ms:.2f} ms of {case.budget_ms:g} ms '
        f'({cpu_ms:.2f} ms of them on the CPU in this thread)'
    )
