# SPDX-License-Identifier: Apache-2.0
"""What the node costs beside its backend, next to two references in the same run.

    python -m test.benchmarks.node_speed --usual FOLDER --json node_speed.json

One frame, from the arrival of the image to the return of the last publish, with a backend that
answers a constant at once and a listener in another process. `floor` publishes the messages of the
node again as they are: one copy of every byte through the same middleware. `usual` is a node as
most are written: cv_bridge, cv2.resize, and a structured array through sensor_msgs_py. FOLDER
holds both packages, the folders `cv_bridge` and `sensor_msgs_py` of their sources; the compiled
part of cv_bridge is not needed: the numbers of types that are asked of it are given here. Without
FOLDER that column is empty. The three take turns; medians of `--runs` runs of `--frames` frames.
Before them, in turns too: what a cloud of 1280x720 with colours costs beside a copy of its bytes.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from types import ModuleType
from typing import Any, Final

import cv2
import numpy as np
from rclpy.lifecycle import LifecycleNode, LifecycleState
from sensor_msgs.msg import PointField

from depth_core.contracts import DepthKind, Float32Array, InputSpec, OutputSpec
from depth_core.manifest import Manifest
from depth_core.processes import keep_freed_memory
from depth_core.runtime import Predictor
from depth_ros.frames.answer import Frame, FrameAnswerer
from depth_ros.frames.outputs import CAMERA_INFO, CONFIDENCE, DEPTH, POINTS, SIGMA, Outputs
from depth_ros.frames.statistics import FrameStatistics
from depth_ros.frames.together import AnswersTogether
from depth_ros.messages.camera_info import CameraInfoStore
from depth_ros.messages.point_cloud import CloudMemory, RayCache, point_cloud
from depth_ros.middleware.publishers import Publishers
from depth_ros.options.output import CloudOptions
from depth_ros.settings import Settings
from test.depth_ros.ros_processes import RosSession, ros_session
from test.depth_ros.sample_messages import camera_info, header, image

NETWORK: Final = (256, 320)
WARM_UP: Final = 5
PAUSE_S: Final = 0.03
"""Between two frames: the listener reads meanwhile."""
CV_TYPES: Final = {'rgb8': 16, '32FC1': 5}
"""OpenCV's numbers of 8UC3 and 32FC1."""
POINT_BYTES: Final = 16
"""x, y, z and colour."""

LISTENER: Final = """
import sys
import rclpy
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
rclpy.init()
node = rclpy.create_node('listener')
for topic in sys.argv[1:]:
    kind = {'points': PointCloud2, 'camera_info': CameraInfo}.get(topic.split('/')[-1], Image)
    node.create_subscription(kind, topic, lambda data: None, QoSProfile(depth=1), raw=True)
try:
    rclpy.spin(node)
except (KeyboardInterrupt, rclpy.executors.ExternalShutdownException, RuntimeError):
    pass  # the signal that ends it may come at any moment
"""

Answer = Callable[[Frame], None]


@dataclass(frozen=True, kw_only=True)
class Case:
    """An image size, what is listened to, and what one frame may cost."""

    width: int
    height: int
    topics: tuple[str, ...]
    budget_ms: float

    @property
    def name(self) -> str:
        """For people."""
        return f'{self.width}x{self.height}, {len(self.topics)} outputs'


TWO: Final = (DEPTH, CAMERA_INFO)
ALL: Final = (*TWO, SIGMA, CONFIDENCE, POINTS)
CASES: Final = (
    Case(width=640, height=480, topics=TWO, budget_ms=3.0),
    Case(width=1280, height=720, topics=TWO, budget_ms=6.0),
    Case(width=1280, height=720, topics=ALL, budget_ms=22.0),
    Case(width=1242, height=375, topics=ALL, budget_ms=11.0),
)


class NullBackend:
    """Answers a constant at once."""

    manifest = Manifest(
        name='null',
        input=InputSpec(height=NETWORK[0], width=NETWORK[1]),
        output=OutputSpec(kind=DepthKind.METRIC, min_depth=0.1, max_depth=80.0),
    )

    def __init__(self) -> None:
        self.depth = np.full((1, *NETWORK), 5.0, np.float32)
        self.sigma = np.full((1, *NETWORK), 0.5, np.float32)

    def run(self, image: Any) -> tuple[Any, Any]:  # noqa: ARG002 a backend takes an image
        """Return depth and sigma."""
        return self.depth, self.sigma


class Recorded:
    """Outputs that keep the last message of each topic."""

    def __init__(self, outputs: Outputs) -> None:
        self.messages: dict[str, Any] = {}
        for topic, publisher in outputs._publishers.items():
            publisher.publish = self._keeping(topic, publisher.publish)

    def _keeping(self, topic: str, publish: Callable[[Any], None]) -> Callable[[Any], None]:
        def keep(message: Any) -> None:
            self.messages[topic] = message
            publish(message)

        return keep


def node_answer(node: LifecycleNode, outputs: Outputs, case: Case) -> Answer:
    """The node as it is."""
    infos = CameraInfoStore(Publishers('camera_info', kind='sensor_msgs/msg/CameraInfo'))
    infos.add(camera_info(0, height=case.height, width=case.width))

    def warn(text: str) -> None:
        raise AssertionError(text)

    predictor = Predictor(NullBackend(), name='null', path=Path('null'))
    together = AnswersTogether(predictor)
    answerer = FrameAnswerer(
        settings=Settings(),
        predictor=predictor,
        outputs=outputs,
        infos=infos,
        statistics=FrameStatistics(),
        image_topic='image',
        clock=node.get_clock(),
        log=str,
        warn=warn,
    )
    return lambda frame: together([answerer(frame)])


def floor_answer(outputs: Outputs, messages: dict[str, Any]) -> Answer:
    """One copy of every byte of the same messages."""

    def answer(_: Frame) -> None:
        for topic, message in messages.items():
            outputs._publishers[topic].publish(message)

    return answer


def usual_answer(folder: Path, outputs: Outputs, case: Case) -> Answer:
    """The usual node, with `cv_bridge` and `sensor_msgs_py` of a folder."""
    bridge, clouds = usual_packages(folder)
    backend, info = NullBackend(), camera_info(0, height=case.height, width=case.width)
    rows, columns = np.mgrid[: case.height, : case.width].astype(np.float32)
    x = (columns - np.float32(info.k[2])) / np.float32(info.k[0])
    y = (rows - np.float32(info.k[5])) / np.float32(info.k[4])
    names = ('x', 'y', 'z', 'rgb')
    fields = [
        PointField(name=name, offset=4 * place, datatype=PointField.FLOAT32, count=1)
        for place, name in enumerate(names)
    ]
    publish = {topic: outputs._publishers[topic].publish for topic in case.topics}
    size = (case.width, case.height)

    def answer(frame: Frame) -> None:
        message = frame.message
        rgb = bridge.imgmsg_to_cv2(message, desired_encoding='passthrough')
        seen = cv2.resize(rgb, NETWORK[::-1], interpolation=cv2.INTER_AREA)
        depth, sigma = (cv2.resize(plane[0], size) for plane in backend.run(seen))
        info.header = message.header
        publish[CAMERA_INFO](info)
        publish[DEPTH](bridge.cv2_to_imgmsg(depth, '32FC1', header=message.header))
        if POINTS not in publish:
            return
        confidence = np.exp(-sigma / depth).astype(np.float32)
        publish[SIGMA](bridge.cv2_to_imgmsg(sigma, '32FC1', header=message.header))
        publish[CONFIDENCE](bridge.cv2_to_imgmsg(confidence, '32FC1', header=message.header))
        points = np.empty(depth.size, [(name, np.float32) for name in names])
        points['x'], points['y'], points['z'] = (
            (x * depth).ravel(),
            (y * depth).ravel(),
            depth.ravel(),
        )
        codes = rgb.astype(np.uint32)
        points['rgb'] = (
            (codes[..., 0] << 16 | codes[..., 1] << 8 | codes[..., 2]).view(np.float32).ravel()
        )
        publish[POINTS](clouds.create_cloud(message.header, fields, points))

    return answer


def usual_packages(folder: Path) -> tuple[Any, Any]:
    """Import `CvBridge` and `point_cloud2` from a folder of their sources."""
    sys.path.insert(0, str(folder))
    compiled = ModuleType('cv_bridge.boost.cv_bridge_boost')
    vars(compiled).update(
        getCvType=CV_TYPES.__getitem__,
        CV_MAT_CNWrap=lambda number: (number >> 3) + 1,
        CV_MAT_DEPTHWrap=lambda number: number & 7,
    )
    sys.modules['cv_bridge.boost'] = ModuleType('cv_bridge.boost')
    sys.modules['cv_bridge.boost.cv_bridge_boost'] = compiled
    bridge = importlib.import_module('cv_bridge.core').CvBridge()
    return bridge, importlib.import_module('sensor_msgs_py.point_cloud2')


def measure(
    ros: RosSession, case: Case, usual: Path | None, *, runs: int, frames: int
) -> dict[str, Any]:
    """Return the medians of wall time and of CPU time of this thread, milliseconds."""
    node = LifecycleNode(f'speed_{case.width}_{len(case.topics)}', context=ros.node.context)
    outputs = Outputs(node, reliability='reliable')
    node.on_activate(LifecycleState('inactive', 2))
    listener = ros.start('-c', LISTENER, *case.topics)
    ros.until(
        lambda: {output.topic for output in outputs.wanted()} == set(case.topics), 'the listener'
    )
    pixels = np.random.default_rng(0).integers(0, 256, (case.height, case.width, 3))
    message = image(0, pixels.astype(np.uint8))
    answers: dict[str, Answer] = {'node': node_answer(node, outputs, case)}
    recorded = Recorded(outputs)
    answers['node'](Frame(message, time.monotonic()))
    assert set(recorded.messages) == set(case.topics), 'the node answers on every topic'
    answers['floor'] = floor_answer(outputs, dict(recorded.messages))
    if usual is not None:
        answers['usual'] = usual_answer(usual, outputs, case)
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in answers}
    for _ in range(runs):
        for name, answer in answers.items():
            found[name].append(one_run(answer, message, frames))
    listener.process.terminate()
    listener.wait()
    ros.processes.remove(listener)
    outputs.destroy()
    node.destroy_node()
    return {
        'case': case.name,
        'budget_ms': case.budget_ms,
        **{
            name: {'wall_ms': median(run[0] for run in of), 'cpu_ms': median(run[1] for run in of)}
            for name, of in found.items()
        },
    }


def one_run(answer: Answer, message: Any, frames: int) -> tuple[float, float]:
    """Median wall and CPU time of one frame, milliseconds."""
    wall_ms, cpu_ms = [], []
    for number in range(WARM_UP + frames):
        time.sleep(PAUSE_S)
        message.header = header(number)
        begun_s, begun_cpu_s = time.monotonic(), time.thread_time()
        answer(Frame(message, begun_s))
        wall_ms.append((time.monotonic() - begun_s) * 1e3)
        cpu_ms.append((time.thread_time() - begun_cpu_s) * 1e3)
    return median(wall_ms[WARM_UP:]), median(cpu_ms[WARM_UP:])


def cloud_costs(*, times: int = 100) -> dict[str, float]:
    """Median CPU time of a cloud of 1280x720 with colours and of a copy of its bytes, ms.

    As in a frame, other memory is written in between.
    """
    height, width = 720, 1280
    generator = np.random.default_rng(0)
    rgb = generator.integers(0, 256, (height, width, 3)).astype(np.uint8)
    rays = RayCache()(camera_info(0, height=height, width=width), rectified=True, stride=1)
    network = 5.0 + generator.random(NETWORK, np.float32)
    uneven = np.asarray(cv2.resize(network, (width, height)), np.float32)
    even = np.full((height, width), 5.0, np.float32)
    memory, usual = CloudMemory(), CloudOptions(color=True)

    def cloud(depth_m: Float32Array, options: CloudOptions) -> Callable[[], object]:
        return lambda: point_cloud(
            depth_m, rays, header=header(0), options=options, rgb=rgb, memory=memory
        )

    points = np.full(height * width * POINT_BYTES, 1, np.uint8)
    ways: dict[str, Callable[[], object]] = {
        'copy': points.copy,
        'cloud, edges not sought': cloud(uneven, replace(usual, edge_ratio=0.0)),
        'cloud of even depth': cloud(even, usual),
        'cloud of uneven depth': cloud(uneven, usual),
    }
    other = np.zeros(points.size, np.uint8)
    found: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(times):
        for name, way in ways.items():
            other += 1
            begun_s = time.thread_time()
            way()
            found[name].append((time.thread_time() - begun_s) * 1e3)
    return {name: median(costs) for name, costs in found.items()}


def lines(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    """The table."""
    yield '| frame | budget | floor | node | usual | node / floor | usual / node |'
    yield '|---|---|---|---|---|---|---|'
    for row in rows:
        for what in ('wall_ms', 'cpu_ms'):
            floor, node = row['floor'][what], row['node'][what]
            usual = row['usual'][what] if 'usual' in row else float('nan')
            yield (
                f'| {row["case"]}, {what} | {row["budget_ms"]:g} | {floor:.2f} | {node:.2f} | '
                f'{usual:.2f} | {node / floor:.2f} | {usual / node:.2f} |'
            )


def main() -> None:
    """Measure, print the table, and write it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--usual', type=Path, help='folder of cv_bridge and sensor_msgs_py')
    parser.add_argument('--runs', type=int, default=5, help='runs, of which medians are taken')
    parser.add_argument('--frames', type=int, default=60, help='frames a run')
    parser.add_argument('--json', type=Path, help='file for the same as JSON')
    options = parser.parse_args()
    assert keep_freed_memory()
    load = os.getloadavg()
    clouds_ms = cloud_costs()
    with tempfile.TemporaryDirectory() as folder, ros_session(Path(folder)) as ros:
        rows = [
            measure(ros, case, options.usual, runs=options.runs, frames=options.frames)
            for case in CASES
        ]
    for line in lines(rows):
        print(line)
    for name, cost_ms in clouds_ms.items():
        print(f'{name}: {cost_ms:.2f} ms, {cost_ms / clouds_ms["copy"]:.2f} copies')
    print(f'load {load[0]:.1f} before, {os.getloadavg()[0]:.1f} after')
    if options.json is not None:
        options.json.write_text(
            json.dumps({'load': load, 'clouds_ms': clouds_ms, 'rows': rows}, indent=2)
        )


if __name__ == '__main__':
    main()
