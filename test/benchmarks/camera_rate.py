# SPDX-License-Identifier: Apache-2.0
"""The rate of four cameras in one node, next to that of the predictor on batches of four.

    python -m test.benchmarks.camera_rate

Four images of 640x480 arrive together. `node` takes them from their messages to depth and
camera_info at a listener in another process; `predictor` asks for the same depths as a batch. Both
take turns in one process; CPU time is that of all its threads.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Final

import numpy as np
from rclpy.lifecycle import LifecycleNode, LifecycleState

from depth_core.contracts import Uint8Array
from depth_core.processes import keep_freed_memory
from depth_core.runtime import Predictor
from depth_ros.frames.answer import Frame, FrameAnswerer
from depth_ros.frames.outputs import CAMERA_INFO, DEPTH, Outputs
from depth_ros.frames.statistics import FrameStatistics
from depth_ros.frames.together import AnswersTogether
from depth_ros.messages.camera_info import CameraInfoStore, intrinsics_of
from depth_ros.middleware.publishers import Publishers
from depth_ros.settings import Settings
from test.benchmarks.node_speed import LISTENER
from test.depth_ros.ros_processes import RosSession, ros_session
from test.depth_ros.sample_messages import camera_info, image

CAMERAS: Final = ('front', 'rear', 'left', 'right')
HEIGHT, WIDTH = 480, 640
WARM_UP: Final = 3


def node_rate(ros: RosSession, predictor: Predictor) -> Callable[[], None]:
    """The node with its four cameras, each of them listened to."""
    node = LifecycleNode('cameras', context=ros.node.context)
    together = AnswersTogether(predictor)
    answerers = []
    for name in CAMERAS:
        outputs = Outputs(node, reliability='reliable', camera=name)
        infos = CameraInfoStore(
            Publishers(f'{name}/camera_info', kind='sensor_msgs/msg/CameraInfo')
        )
        infos.add(camera_info(0, height=HEIGHT, width=WIDTH))
        answerers.append((outputs, _answerer(node, predictor, outputs, infos)))
    node.on_activate(LifecycleState('inactive', 2))
    topics = (f'{name}/{topic}' for name in CAMERAS for topic in (DEPTH, CAMERA_INFO))
    ros.start('-c', LISTENER, *topics)
    ros.until(lambda: all(len(outputs.wanted()) == 2 for outputs, _ in answerers), 'listeners')
    frames = [image(0, pixels) for pixels in pictures()]

    def answer() -> None:
        now_s = time.monotonic()
        together(
            [
                answerer(Frame(frame, now_s))
                for (_, answerer), frame in zip(answerers, frames, strict=True)
            ]
        )

    return answer


def _answerer(
    node: LifecycleNode, predictor: Predictor, outputs: Outputs, infos: CameraInfoStore
) -> FrameAnswerer:
    def warn(text: str) -> None:
        raise AssertionError(text)

    return FrameAnswerer(
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


def pictures() -> list[Uint8Array]:
    """One for each camera."""
    generator = np.random.default_rng(0)
    return [generator.integers(0, 256, (HEIGHT, WIDTH, 3)).astype(np.uint8) for _ in CAMERAS]


def spent_ms(answer: Callable[[], object]) -> tuple[float, float]:
    """Wall and CPU time of one batch, milliseconds."""
    begun_s, begun_cpu_s = time.monotonic(), time.process_time()
    answer()
    return (time.monotonic() - begun_s) * 1e3, (time.process_time() - begun_cpu_s) * 1e3


def main() -> None:
    """Measure, and print both rates and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--batches', type=int, default=30, help='of four images, of each kind')
    options = parser.parse_args()
    assert keep_freed_memory()
    predictor = Predictor.open('densedepth_small', backend='onnxruntime', threads=1)
    with tempfile.TemporaryDirectory() as folder, ros_session(Path(folder)) as ros:
        images = pictures()
        cameras = [
            intrinsics_of(camera_info(0, height=HEIGHT, width=WIDTH), rectified=False)
        ] * len(images)
        ways = {
            'node': node_rate(ros, predictor),
            'predictor': lambda: predictor.predict_batch(images, cameras),
        }
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
        for _ in range(WARM_UP + options.batches):
            for name, answer in ways.items():
                found[name].append(spent_ms(answer))
    for place, what in enumerate(('wall', 'CPU')):
        node_ms, predictor_ms = (
            median(run[place] for run in found[name][WARM_UP:]) for name in ways
        )
        print(
            f'{what}: node {node_ms:.1f} ms, predictor {predictor_ms:.1f} ms a batch of four; '
            f'rate of the node {predictor_ms / node_ms:.2f} of that of the predictor'
        )
    print(f'load {os.getloadavg()[0]:.1f}')


if __name__ == '__main__':
    main()
