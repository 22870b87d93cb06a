# SPDX-License-Identifier: Apache-2.0
"""What becomes of models and threads that the node does not need any more, seen from inside it."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from collections.abc import Iterator

import pytest
import rclpy

from depth_core.runtime import Predictor
from depth_ros import mono_depth_node
from depth_ros.cameras import WORKER
from depth_ros.middleware.session import start_ros
from depth_ros.mono_depth_node import MonoDepthNode
from test.depth_ros.ros_processes import domain_id_of_this_worker, ros_environment
from test.standin import write_standin_onnx

pytestmark = pytest.mark.ros
PATIENCE_S = 240.0


@pytest.fixture(scope='module')
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MonoDepthNode]:
    folder = tmp_path_factory.mktemp('reopening')
    model = write_standin_onnx(folder / 'standin.onnx')
    given = {'model': model, 'backend': 'onnxruntime', 'threads': 1, 'autostart': 'false'}
    words = [word for name, value in given.items() for word in ('-p', f'{name}:={value}')]
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ros_environment(domain_id_of_this_worker(), folder).items():
            patch.setenv(name, value)
        start_ros(['node', '--ros-args', '--disable-external-lib-logs', *words])
        made = MonoDepthNode()
        try:
            yield made
        finally:
            made.destroy_node()
            rclpy.try_shutdown()


def test_a_model_goes_when_another_takes_its_place_and_with_cleanup(node: MonoDepthNode) -> None:
    node.trigger_configure()
    node.trigger_activate()
    cameras = node._active
    assert cameras is not None
    first = weakref.ref(node._predictor)
    cameras.pause()
    cameras._worker._thread.join()
    node._predictor = Predictor.open(node._settings.model_file(), backend='onnxruntime', threads=1)
    cameras.resume(node._predictor, node._settings)
    second = weakref.ref(node._predictor)
    gc.collect()
    assert first() is None
    del cameras
    node.trigger_deactivate()
    node.trigger_cleanup()
    gc.collect()
    assert second() is None


def test_a_node_that_is_activated_while_its_backend_is_opened_again_waits_for_it(
    node: MonoDepthNode,
) -> None:
    node.trigger_configure()
    node.trigger_activate()
    assert node._active is not None
    assert node._watchdog is not None
    node._active.pause()
    node._watchdog.report('trouble')
    node.trigger_deactivate()
    node.trigger_activate()
    worker = node._active._worker
    worker._thread.join(PATIENCE_S)
    assert not worker.is_alive, 'nothing is asked of the backend that is in trouble'
    while node._watchdog.is_busy:
        node._watch()
    assert node._active._worker is not worker
    node.trigger_deactivate()
    node.trigger_cleanup()
    assert not node.left_behind
    assert WORKER not in [thread.name for thread in threading.enumerate()]


def test_a_backend_that_is_being_opened_is_left_behind_by_cleanup(
    node: MonoDepthNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    node.trigger_configure()
    node.trigger_activate()
    assert node._active is not None
    assert node._watchdog is not None
    opened = threading.Event()
    monkeypatch.setattr(mono_depth_node, 'open_model', lambda *_: opened.wait(PATIENCE_S))
    node._active.pause()
    node._watchdog.report('trouble')
    node._watch()
    node.trigger_deactivate()
    node.trigger_cleanup()
    assert node.left_behind, 'native code may be at work there when Python ends'
    opened.set()
    end_s = time.monotonic() + PATIENCE_S
    while node.left_behind and time.monotonic() < end_s:
        time.sleep(0.01)
    assert not node.left_behind
