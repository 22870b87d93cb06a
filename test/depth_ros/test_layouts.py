# SPDX-License-Identifier: Apache-2.0
"""What the layouts for RViz and Foxglove show is what the node publishes, and as they need it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2

from depth_core.contracts import DepthMap
from depth_ros.frames.outputs import OUTPUTS, Output
from depth_ros.frames.result import FrameResult
from depth_ros.messages.point_cloud import PixelRays
from depth_ros.settings import Settings
from test.depth_ros.sample_messages import camera_info, header, picture

BY_TOPIC = {output.topic: output for output in OUTPUTS}
RVIZ_KINDS = {
    'rviz_default_plugins/PointCloud2': PointCloud2,
    'rviz_default_plugins/Image': Image,
}
RVIZ_OWN = {'rviz_default_plugins/Grid'}
"""Displays without a topic."""

POLICIES = {
    'Durability Policy': {'Volatile'},
    'History Policy': {'Keep Last'},
    'Reliability Policy': {'Best Effort', 'Reliable'},
}
"""What a subscriber of the outputs may ask for."""


def made(output: Output) -> Any:
    """A message of an output with the default parameters."""
    result = FrameResult(
        header=header(1),
        rgb=picture(0, height=6, width=8),
        settings=Settings(),
        rays=lambda _: PixelRays.of(np.ones((2, 6, 8), np.float32)),
        depth=DepthMap(
            depth_m=np.full((6, 8), 5.0, np.float32),
            sigma_m=np.full((6, 8), 0.5, np.float32),
            depth_range=(0.5, 80.0),
        ),
        camera_info=camera_info(1, height=6, width=8),
    )
    return output.make(result)


def fields_of_the_cloud() -> set[str]:
    return {item.name for item in made(BY_TOPIC['points']).fields}


@pytest.fixture(scope='module')
def displays(repository: Path) -> list[dict[str, Any]]:
    """The displays of the RViz file that show a topic."""
    text = (repository / 'rviz' / 'mono_depth.rviz').read_text(encoding='utf-8')
    found = yaml.safe_load(text)['Visualization Manager']['Displays']
    assert {item['Class'] for item in found if 'Topic' not in item} == RVIZ_OWN
    return [item for item in found if 'Topic' in item]


def test_rviz_shows_topics_of_the_node_by_relative_names(displays: list[dict[str, Any]]) -> None:
    shown = {item['Topic']['Value'] for item in displays}
    assert shown == {'points', 'depth/color', 'confidence/image_raw', 'sigma/image_raw'}
    for item in displays:
        assert BY_TOPIC[item['Topic']['Value']].kind is RVIZ_KINDS[item['Class']]


def test_rviz_asks_for_what_the_outputs_offer(displays: list[dict[str, Any]]) -> None:
    for item in displays:
        for policy, allowed in POLICIES.items():
            assert item['Topic'][policy] in allowed


def test_rviz_finds_the_fields_it_colours_by(displays: list[dict[str, Any]]) -> None:
    (cloud,) = (item for item in displays if item['Class'].endswith('/PointCloud2'))
    assert (cloud['Color Transformer'], cloud['Position Transformer']) == ('RGB8', 'XYZ')
    assert fields_of_the_cloud() >= {'rgb', 'x', 'y', 'z'}
    (confidence,) = (item for item in displays if item['Name'] == 'Confidence')
    assert (confidence['Min Value'], confidence['Max Value']) == (0, 1)
    values = np.frombuffer(made(BY_TOPIC['confidence/image_raw']).data, np.float32)
    assert (values >= 0.0).all()
    assert (values <= 1.0).all()


@pytest.fixture(scope='module')
def layout(repository: Path) -> dict[str, Any]:
    text = (repository / 'foxglove' / 'mono_depth.json').read_text(encoding='utf-8')
    found: dict[str, Any] = json.loads(text)
    return found


def panels_of(mosaic: Any) -> Iterator[str]:
    """The panels of a mosaic, which is one or a pair of mosaics."""
    if isinstance(mosaic, str):
        yield mosaic
        return
    assert mosaic['direction'] in {'row', 'column'}
    yield from panels_of(mosaic['first'])
    yield from panels_of(mosaic['second'])


def test_foxglove_places_every_panel_once(layout: dict[str, Any]) -> None:
    assert sorted(panels_of(layout['layout'])) == sorted(layout['configById'])


def test_foxglove_shows_topics_of_the_node(layout: dict[str, Any]) -> None:
    seen = set()
    for name, panel in layout['configById'].items():
        match name.partition('!')[0]:
            case 'Image':
                mode = panel['imageMode']
                output = BY_TOPIC[mode['imageTopic'].removeprefix('/')]
                assert output.kind in {Image, CompressedImage}
                if 'calibrationTopic' in mode:
                    info = BY_TOPIC[mode['calibrationTopic'].removeprefix('/')]
                    assert info.kind is CameraInfo
                if 'minValue' in mode:
                    assert made(output).encoding == '32FC1', 'others have no values to scale'
                    assert mode['minValue'] < mode['maxValue']
            case '3D':
                assert set(panel['topics']) == {'/points'}
                assert 'rgb' in fields_of_the_cloud(), 'which Foxglove colours by when it is there'
                output = BY_TOPIC['points']
            case 'DiagnosticSummary' | 'DiagnosticStatusPanel':
                assert panel['topicToRender'] == '/diagnostics'
                continue
            case other:
                pytest.fail(f'{other} is checked by nothing')
        seen.add(output.topic)
    assert seen == {
        *('points', 'depth/color/compressed', 'depth/image_raw'),
        *('sigma/image_raw', 'confidence/image_raw'),
    }


def test_the_frame_is_the_one_the_command_of_the_readme_replaces(
    repository: Path, layout: dict[str, Any]
) -> None:
    """What foxglove/README.md replaces: every topic but /diagnostics, and the frame."""
    readme = (repository / 'foxglove' / 'README.md').read_text(encoding='utf-8')
    pattern = re.search(r's#"(/\([^#]+)#', readme)
    assert pattern is not None
    text = json.dumps(layout)
    topics = set(re.findall(r'"(/[\w/]+)"', text))
    missed = {topic for topic in topics if not re.match(pattern[1], topic)}
    assert missed == {'/diagnostics'}
    assert text.count('camera_optical_frame') == 1
    assert 's#camera_optical_frame#' in readme
