# SPDX-License-Identifier: Apache-2.0
"""Who may import whom: the rooms of depth_core, and the thin ROS layer above them."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[2]

GROUND = {'contracts', 'errors', 'files'}
PICTURES = {'images', 'preview'}
DATA = GROUND | {'camera', 'geometry', 'images', 'manifest', 'metrics', 'data'}
SERVING = GROUND | PICTURES | {'geometry', 'manifest', 'metrics', 'models', 'weights', 'runtime'}
COMMAND = {'arguments', 'shipped'}
"""What a room with a command line adds."""

MAY_IMPORT: dict[str, set[str]] = {
    '__init__': {'errors', 'telemetry'},
    'errors': set(),
    'telemetry': set(),
    'arguments': {'errors'},
    'contracts': {'errors'},
    'files': {'errors'},
    'geometry': GROUND,
    'camera': GROUND | {'geometry'},
    'images': GROUND,
    'preview': GROUND,
    'metrics': GROUND | {'geometry'},
    'scale': GROUND | {'geometry'},
    'onnx_file': GROUND,
    'shipped': {'errors'},
    'manifest': GROUND | {'onnx_file'},
    'losses': GROUND | {'geometry'},
    'models': GROUND | {'geometry', 'manifest', 'weights'},
    'weights': GROUND | {'geometry', 'manifest', 'models'},
    'data': DATA,
    'runtime': SERVING | {'onnx_file', 'shipped'},
    'export': SERVING | DATA | COMMAND | {'onnx_file'},
    'evaluate': SERVING | DATA | COMMAND | {'scale'},
    'train': DATA | COMMAND | {'losses', 'models', 'scale', 'weights'},
    'convert': GROUND | COMMAND | {'manifest', 'models', 'weights'},
    'predict': SERVING | DATA | COMMAND,
    'bench': SERVING | DATA | COMMAND,
}
"""Each room of depth_core, a module or a folder, and the rooms that it may import."""

TORCH_FREE = {
    'arguments',
    'camera',
    'contracts',
    'errors',
    'files',
    'geometry',
    'images',
    'manifest',
    'metrics',
    'onnx_file',
    'preview',
    'shipped',
    'telemetry',
}
HEAVY = {'torch', 'torchvision', 'timm', 'onnx', 'onnxruntime', 'openvino', 'tensorrt'}

ROS_MAY_IMPORT = (
    GROUND | COMMAND | PICTURES | {'camera', 'geometry', 'manifest', 'metrics', 'runtime'}
)
ROS_EXCEPTIONS = {
    'evaluate_bag': 'depth_core.evaluate',  # it scores a whole bag as a dataset
    'play_bag': 'depth_core.data.bag',  # the one opener of bags
    'synthetic_camera': 'depth_core.data.synthetic',  # it is the rendered camera
}

ROS_LIBRARIES = {
    'ament_index_python',
    'builtin_interfaces',
    'cv_bridge',
    'launch',
    'launch_ros',
    'message_filters',
    'rcl_interfaces',
    'rclpy',
    'sensor_msgs_py',
    'tf2_ros',
}


class Import(NamedTuple):
    """One import statement, wherever in the file."""

    path: Path
    line: int
    module: str
    """Dotted name, that of the imported object included."""

    @property
    def top(self) -> str:
        return self.module.split('.')[0]

    @property
    def importer(self) -> str:
        """The room that imports: `data` for depth_core/data/kitti/dataset.py."""
        return self.path.relative_to(ROOT).parts[1].removesuffix('.py')

    @property
    def imported(self) -> str:
        """The room that is imported: `data` for depth_core.data.kitti.dataset."""
        return self.module.split('.')[1]

    def __str__(self) -> str:
        return f'{self.path.relative_to(ROOT)}:{self.line} imports {self.module}'


def imports_of(package: str) -> Iterator[Import]:
    for path in sorted((ROOT / package).rglob('*.py')):
        for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
            if isinstance(node, ast.Import):
                for name in node.names:
                    yield Import(path, node.lineno, name.name)
            elif isinstance(node, ast.ImportFrom):
                for name in node.names:
                    yield Import(path, node.lineno, f'{node.module}.{name.name}')


CORE = list(imports_of('depth_core'))
ROS = list(imports_of('depth_ros'))


def test_imports_were_found() -> None:
    assert any(one.module == 'depth_core.errors.DepthError' for one in CORE)
    assert any(one.top == 'rclpy' for one in ROS)


def test_every_room_has_its_line_in_the_table() -> None:
    entries = {path.name.removesuffix('.py') for path in (ROOT / 'depth_core').iterdir()}
    assert entries - {'__pycache__'} == set(MAY_IMPORT)


def test_a_room_imports_only_what_the_table_grants() -> None:
    assert [
        str(one)
        for one in CORE
        if one.top == 'depth_core'
        and one.imported != one.importer
        and one.imported not in MAY_IMPORT.get(one.importer, set())
    ] == []


def test_depth_core_knows_nothing_of_ros() -> None:
    assert [
        str(one)
        for one in CORE
        if one.top in ROS_LIBRARIES or one.top.endswith('_msgs') or one.top == 'depth_ros'
    ] == []


def test_the_nouns_need_no_torch() -> None:
    assert [str(one) for one in CORE if one.importer in TORCH_FREE and one.top in HEAVY] == []


def test_the_ros_layer_stays_thin() -> None:
    assert [
        str(one)
        for one in ROS
        if one.top == 'depth_core'
        and one.imported not in ROS_MAY_IMPORT
        and not one.module.startswith(ROS_EXCEPTIONS.get(one.importer, 'nothing'))
    ] == []


def test_the_ros_layer_leaves_networks_to_the_runtime() -> None:
    assert [str(one) for one in ROS if one.top in HEAVY] == []


@pytest.mark.parametrize(
    ('module', 'unwanted'),
    [
        ('depth_core', {'numpy', 'cv2', *HEAVY}),
        ('depth_core.contracts', {'cv2', *HEAVY}),
        ('depth_core.metrics', HEAVY),
        ('depth_core.runtime', HEAVY),
        ('depth_core.data', HEAVY),
        ('depth_core.data.bag.opener', {'cv2', *HEAVY}),
        ('depth_ros', {'rclpy', 'sensor_msgs', 'cv2', *HEAVY}),
        ('depth_ros.executables', {'rclpy', 'sensor_msgs', 'numpy', 'cv2', *HEAVY}),
    ],
)
def test_importing_a_room_loads_no_heavy_library(module: str, unwanted: set[str]) -> None:
    program = f'import sys, {module}; print(*sorted({unwanted!r} & set(sys.modules)))'
    finished = subprocess.run(
        [sys.executable, '-c', program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.split() == []
