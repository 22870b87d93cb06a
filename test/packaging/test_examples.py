# SPDX-License-Identifier: Apache-2.0
"""Every example runs as its docstring says."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from sensor_msgs.msg import Image

from test.depth_ros.ros_processes import ros_session
from test.standin import NEAREST_M, write_standin_onnx


def test_no_example_is_without_a_test(repository: Path) -> None:
    examples = {path.name for path in (repository / 'examples').glob('*.py')}
    assert examples == {
        *('depth_of_an_image.py', 'search_settings.py', 'warn_of_obstacles.py'),
        'laserscan.launch.py',  # in test_navigation_examples.py
    }


def test_depth_of_an_image(repository: Path, tmp_path: Path) -> None:
    model = write_standin_onnx(tmp_path / 'standin.onnx')
    cv2.imwrite(str(tmp_path / 'black.png'), np.zeros((48, 64, 3), np.uint8))
    finished = subprocess.run(
        [sys.executable, 'examples/depth_of_an_image.py', model, tmp_path / 'black.png', '65'],
        cwd=repository,
        env={**os.environ, 'PYTHONPATH': '.'},
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    assert f'depth       {NEAREST_M:.2f} m' in finished.stdout


def test_warn_of_obstacles(repository: Path, tmp_path: Path) -> None:
    with ros_session(tmp_path) as session:
        example = repository / 'examples' / 'warn_of_obstacles.py'
        process = session.start(str(example), '--ros-args', '-p', 'limit_m:=1.5')
        depth = session.publisher(Image, 'depth/image_raw')
        confidence = session.publisher(Image, 'confidence/image_raw')

        show(depth, 1.2, stamp_s=1)
        show(confidence, 0.1, stamp_s=1)  # near, but not to be trusted
        show(depth, 1.3, stamp_s=2)
        show(confidence, 0.9, stamp_s=2)
        session.until(lambda: 'obstacle at' in process.output, 'a warning')
        assert 'obstacle at 1.3 m' in process.output
        assert '1.2 m' not in process.output
        process.signal(signal.SIGTERM)
        assert process.wait() == 0
        assert 'Traceback' not in process.output


def show(publisher: Any, value: float, *, stamp_s: int) -> None:
    """Publish an image of one value."""
    image = Image(height=30, width=40, encoding='32FC1', step=160)
    image.header.stamp.sec = stamp_s
    image.data = np.full((30, 40), value, np.float32).tobytes()
    publisher.publish(image)
