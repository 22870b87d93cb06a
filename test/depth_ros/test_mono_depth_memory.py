# SPDX-License-Identifier: Apache-2.0
"""Models that the node does not serve any more leave the memory."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path

import pytest
import rclpy

from depth_core.runtime import Predictor
from depth_ros.middleware.session import start_ros
from depth_ros.mono_depth_node import MonoDepthNode
from test.depth_ros.ros_processes import domain_id_of_this_worker, ros_environment
from test.standin import write_standin_onnx

pytestmark = pytest.mark.ros


def test_a_model_goes_when_another_takes_its_place_and_with_cleanup(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = write_standin_onnx(tmp_path / 'standin.onnx')
    for name, value in ros_environment(domain_id_of_this_worker(), tmp_path).items():
        monkeypatch.setenv(name, value)
    given = {'model': model, 'backend': 'onnxruntime', 'threads': 1, 'autostart': 'false'}
    words = [word for name, value in given.items() for word in ('-p', f'{name}:={value}')]
    start_ros(['node', '--ros-args', '--disable-external-lib-logs', *words])
    node = MonoDepthNode()
    try:
        node.trigger_configure()
        node.trigger_activate()
        cameras = node._active
        assert cameras is not None
        first = weakref.ref(node._predictor)
        cameras.pause()
        cameras._worker._thread.join()
        node._predictor = Predictor.open(model, backend='onnxruntime', threads=1)
        cameras.resume(node._predictor, node._settings)
        second = weakref.ref(node._predictor)
        gc.collect()
        assert first() is None
        del cameras
        node.trigger_deactivate()
        node.trigger_cleanup()
        gc.collect()
        assert second() is None
    finally:
        node.destroy_node()
        rclpy.try_shutdown()
