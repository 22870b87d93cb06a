# SPDX-License-Identifier: Apache-2.0
"""The command that scores recordings, in code and through the live node."""

from __future__ import annotations

import json
import os
import signal
import threading
from pathlib import Path

import numpy as np
import pytest
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from depth_core.contracts import Float32Array
from depth_core.data.bag.dataset import BagDataset
from depth_core.data.bag.messages import depth_of, header_stamp_ns
from depth_core.data.bag.opener import open_bag
from depth_core.data.bag.reading import messages_of
from depth_core.errors import ConfigError, DataError
from depth_core.metrics import PROTOCOLS
from depth_ros import running_error
from depth_ros.evaluate_bag.__main__ import main
from depth_ros.evaluate_bag.running import RunningError
from depth_ros.messages.conversions import image_message
from test.depth_ros.bags import CAMERA, PERIOD_NS, START_NS, picture, write_bag
from test.depth_ros.ros_processes import PATIENCE_S, RELIABLE, ros_session
from test.standin import NEAREST_M, SPAN_M, write_standin_onnx


def sparse_truth_m(index: int) -> Float32Array:
    """A lidar that sees every third pixel of every fourth row, a tenth farther than the model."""
    grey = picture(index).astype(np.float32).mean(axis=2)
    truth_m: Float32Array = np.full_like(grey, np.nan)
    truth_m[::4, ::3] = (NEAREST_M + SPAN_M * grey[::4, ::3] / 255.0) / 0.9
    return truth_m


@pytest.fixture(scope='module')
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_standin_onnx(tmp_path_factory.mktemp('model') / 'standin.onnx')


@pytest.fixture(scope='module')
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp('bag') / 'street'
    return write_bag(path, frames=3, lidar_depth_m=sparse_truth_m)


def arguments(bag: Path, model: Path, output: Path, *more: str) -> list[str]:
    given = [str(bag), '--model', str(model), '--backend', 'onnxruntime', '--protocol', 'none']
    return [*given, '--output', str(output), '--pictures', '1', *more]


def test_the_command_writes_a_report(
    bag: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / 'report'
    main(arguments(bag, model, output))
    printed = capsys.readouterr().out
    assert 'Under none, depth is off by 10.0% on average (AbsRel 0.100)' in printed
    content = json.loads((output / 'metrics.json').read_text(encoding='utf-8'))
    assert content['metrics']['mean']['abs_rel'] == pytest.approx(0.1, abs=1e-4)
    assert content['counts']['images_scored'] == 3
    assert content['is_partial'] is False
    rows = (output / 'frames.csv').read_text(encoding='utf-8').splitlines()
    assert len(rows) == 1 + 3
    page = (output / 'report.html').read_text(encoding='utf-8')
    for title in ('Verdict', 'Recordings', 'Worst image', 'Best image'):
        assert f'<h2>{title}</h2>' in page


def test_a_bag_that_cannot_be_read_is_said_and_marked(
    bag: Path, model: Path, tmp_path: Path
) -> None:
    output = tmp_path / 'report'
    with pytest.raises(DataError, match='1 of 2 recordings were not evaluated whole'):
        main([str(tmp_path / 'gone'), *arguments(bag, model, output)])
    content = json.loads((output / 'metrics.json').read_text(encoding='utf-8'))
    assert content['is_partial'] is True
    assert 'there is no bag' in content['recordings'][0]['error']
    with pytest.raises(ConfigError, match='leave out --workers'):
        main(arguments(bag, model, output, '--through_ros', '--workers', '2'))


def test_what_was_scored_can_be_watched(bag: Path, model: Path, tmp_path: Path) -> None:
    recording = tmp_path / 'out.mcap'
    main(arguments(bag, model, tmp_path / 'report', '--record', str(recording)))
    with open_bag(recording) as opened:
        found = {
            topic: [message for _, message in messages_of(opened, f'/evaluation/{topic}')]
            for topic in ('image', 'depth', 'truth', 'error', 'sigma', 'camera_info')
        }
    assert {topic: len(messages) for topic, messages in found.items()} == dict.fromkeys(found, 3)
    stamps = [header_stamp_ns(message) for message in found['depth']]
    assert stamps == [START_NS + index * PERIOD_NS for index in range(3)]
    cameras = [(header_stamp_ns(info), info.width, info.p[0]) for info in found['camera_info']]
    assert cameras == [(stamp_ns, CAMERA.width, CAMERA.fx_px) for stamp_ns in stamps]
    error = depth_of(found['error'][0], source='error')
    assert np.nanmedian(error) == pytest.approx(0.1, abs=1e-4)
    with pytest.raises(ConfigError, match=r'ends in \.mcap'):
        main(arguments(bag, model, tmp_path / 'report', '--record', str(tmp_path / 'out.bag')))


def test_the_error_is_told_while_a_bag_plays(bag: Path) -> None:
    error = RunningError(BagDataset(bag), PROTOCOLS['none'])
    assert error.total().startswith('no depth was compared with the truth of 3 images')
    truth_m = sparse_truth_m(1)
    answer = np.where(np.isnan(truth_m), np.float32(5.0), truth_m * np.float32(1.2))
    header = Header()
    header.stamp.sec, header.stamp.nanosec = divmod(START_NS + PERIOD_NS, 10**9)
    line = error(image_message(answer, '32FC1', header))
    assert line is not None
    assert line.startswith('image 2 of 3: AbsRel 0.200, delta1 1.000; 1 images so far')
    header.stamp.sec += 100
    assert error(image_message(answer, '32FC1', header)) is None, 'no image of that stamp'
    total = '1 images with truth were compared (the recording has 3): AbsRel 0.200, RMSE'
    assert error.total().startswith(total)


@pytest.mark.ros
def test_ctrl_c_ends_the_running_error_when_nothing_comes(bag: Path, tmp_path: Path) -> None:
    with ros_session(tmp_path) as ros:
        publisher = ros.node.create_publisher(Image, 'depth/image_raw', RELIABLE)

        def interrupt() -> None:
            ros.until(lambda: publisher.get_subscription_count() > 0, 'a subscriber')
            os.kill(os.getpid(), signal.SIGINT)
            if not ended.wait(PATIENCE_S):
                publisher.publish(Image())  # wakes one that only a message can end

        ended = threading.Event()
        peer = threading.Thread(target=interrupt)
        peer.start()
        running_error.main([str(bag)])
        ended.set()
        peer.join()


@pytest.mark.ros
def test_the_live_node_gives_the_same_numbers_frame_by_frame(
    bag: Path, model: Path, tmp_path: Path
) -> None:
    main(arguments(bag, model, tmp_path / 'code'))
    main(arguments(bag, model, tmp_path / 'node', '--through_ros'))
    frames = [(tmp_path / name / 'frames.csv').read_bytes() for name in ('code', 'node')]
    assert frames[0] == frames[1]
    contents = [
        json.loads((tmp_path / name / 'metrics.json').read_text(encoding='utf-8'))
        for name in ('code', 'node')
    ]
    assert contents[0]['metrics'] == contents[1]['metrics']
    assert contents[1]['model']['backend'] == 'mono_depth over ROS'
