# SPDX-License-Identifier: Apache-2.0
"""Who may import whom: the rooms of depth_core, and the thin ROS layer above them."""

from __future__ import annotations

import ast
import graphlib
import itertools
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[2]

FLOORS: tuple[set[str], ...] = (
    {'interrupts', 'names', 'telemetry'},
    {'processes'},
    {'errors'},
    {
        '__init__',
        'arguments',
        'contracts',
        'documents',
        'files',
        'named',
        'protobuf',
        'shipped',
        'terminal',
    },
    {'distortion', 'geometry', 'onnx_file', 'precision', 'yaml_text'},
    {'camera', 'losses', 'manifest', 'metrics', 'preview', 'scale', 'tensor_files'},
    {'images', 'presets'},
    {'focal_options', 'models'},
    {'weights'},
    {'data', 'runtime'},
    {'evaluate', 'export', 'sources', 'train'},
    {'bench', 'convert', 'inspect', 'predict'},
    {'compare'},
)
"""The rooms of depth_core, modules and folders, from the ground up: a room imports from the floors
below its own. A room that is not there yet may stand here already."""

NEVER: dict[str, set[str]] = {
    'models': {'losses', 'metrics', 'scale'},
    'weights': {'losses', 'metrics', 'scale'},
    'data': {'losses', 'models', 'weights'},
    'runtime': {'losses', 'scale'},
    'export': {'losses', 'scale'},
    'evaluate': {'losses'},
    'train': {'runtime'},
    'convert': {'data', 'evaluate', 'export', 'runtime', 'train'},
    'predict': {'models', 'train', 'weights'},
    'bench': {'models', 'train', 'weights'},
    'inspect': {'models', 'train', 'weights'},
}
"""What a room has no business with, although it is on a floor below."""

TORCH_FREE = {
    'arguments',
    'camera',
    'contracts',
    'distortion',
    'documents',
    'errors',
    'files',
    'focal_options',
    'geometry',
    'images',
    'interrupts',
    'manifest',
    'metrics',
    'named',
    'names',
    'onnx_file',
    'presets',
    'preview',
    'processes',
    'protobuf',
    'shipped',
    'telemetry',
}
HEAVY = {
    *('torch', 'torchvision', 'timm', 'onnx', 'onnxruntime', 'openvino'),
    *('tensorrt', 'tensorrt_rtx', 'pycuda', 'cuda'),
}

ROS_MAY_IMPORT = {
    'arguments',
    'camera',
    'contracts',
    'data.bag',  # the opener of recordings
    'distortion',
    'documents',
    'errors',
    'files',
    'geometry',
    'images',
    'interrupts',
    'manifest',
    'metrics',
    'names',
    'presets',
    'preview',
    'processes',
    'runtime',
    'scale',
    'shipped',
    'terminal',
    'yaml_text',  # files of parameters
}
ROS_EXCEPTIONS = {
    'evaluate_bag': 'evaluate',  # it scores a whole bag as a data set
    'kitti_to_bag': 'data.kitti',  # what a drive holds is known there
    'synthetic_camera': 'data.synthetic',  # it is the rendered camera
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


def imports_of(package: str, root: Path = ROOT) -> Iterator[Import]:
    """Every import, those inside functions and under TYPE_CHECKING too."""
    for path in sorted((root / package).rglob('*.py')):
        for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
            if isinstance(node, ast.Import):
                for name in node.names:
                    yield Import(path, node.lineno, name.name)
            elif isinstance(node, ast.ImportFrom):
                for name in node.names:
                    yield Import(path, node.lineno, f'{node.module}.{name.name}')


def module_graph(imports: list[Import], root: Path = ROOT) -> dict[str, set[str]]:
    """Each module that imports, and the modules it makes Python execute.

    Those are the imported ones and the packages they are in, but for the packages that the
    importing module is in itself: Python executes these before it.
    """
    graph: dict[str, set[str]] = {}
    for one in imports:
        relative = one.path.relative_to(root).with_suffix('')
        own = '.'.join(part for part in relative.parts if part != '__init__')
        imported = one.module if is_module(one.module, root) else one.module.rpartition('.')[0]
        needed = graph.setdefault(own, set())
        if imported != own and is_module(imported, root):
            needed.add(imported)
            packages = itertools.accumulate(imported.split('.'), '{}.{}'.format)
            needed |= {name for name in packages if not f'{own}.'.startswith(f'{name}.')}
    return graph


def is_module(name: str, root: Path) -> bool:
    path = root.joinpath(*name.split('.'))
    return path.with_suffix('.py').is_file() or (path / '__init__.py').is_file()


def circle(graph: Mapping[str, set[str]]) -> list[str]:
    """Modules of which each imports the next, and the last is the first; empty without any."""
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        found: list[str] = error.args[1]
        return found[::-1]
    return []


CORE = list(imports_of('depth_core'))
ROS = list(imports_of('depth_ros'))


def test_imports_were_found() -> None:
    assert any(one.module == 'depth_core.errors.DepthError' for one in CORE)
    assert any(one.top == 'rclpy' for one in ROS)


def test_every_room_is_on_one_floor() -> None:
    entries = {path.name.removesuffix('.py') for path in (ROOT / 'depth_core').iterdir()}
    floors = list(itertools.chain.from_iterable(FLOORS))
    assert entries - {'__pycache__'} <= set(floors)
    assert len(floors) == len(set(floors))


def test_a_room_imports_from_the_floors_below() -> None:
    below = {
        room: set[str]().union(*FLOORS[:height]) - NEVER.get(room, set())
        for height, rooms in enumerate(FLOORS)
        for room in rooms
    }
    assert [
        str(one)
        for one in CORE
        if one.top == 'depth_core'
        and one.imported != one.importer
        and one.imported not in below[one.importer]
    ] == []


def test_no_module_imports_itself_over_others() -> None:
    assert circle(module_graph(CORE + ROS)) == []


@pytest.mark.parametrize(
    ('files', 'found'),
    [
        ({'a.py': 'from house import b', 'b.py': 'import house.c', 'c.py': 'import house.a'}, 3),
        ({'a.py': 'from house.b import f', 'b.py': 'def f():\n    from house.a import g'}, 2),
        ({'a.py': 'import house.b', 'b.py': 'if TYPE_CHECKING:\n    from house.a import A'}, 2),
        # The package of a module is executed before it.
        (
            {'a.py': 'import house.room.b', 'room/__init__.py': 'import house.a', 'room/b.py': ''},
            2,
        ),
        ({'room/__init__.py': 'from house.room.b import f', 'room/b.py': 'import house.room'}, 2),
        ({'room/__init__.py': 'from house.room.b import f', 'room/b.py': 'import os'}, 0),
        ({'a.py': 'from house import b, c', 'b.py': 'from house.c import d', 'c.py': ''}, 0),
    ],
)
def test_a_made_up_circle_is_found(tmp_path: Path, files: dict[str, str], found: int) -> None:
    house = tmp_path / 'house'
    (house / 'room').mkdir(parents=True)
    for name, text in {'__init__.py': '', **files}.items():
        (house / name).write_text(text, encoding='utf-8')
    modules = circle(module_graph(list(imports_of('house', tmp_path)), tmp_path))
    assert len(set(modules)) == found


def test_depth_core_knows_nothing_of_ros() -> None:
    assert [
        str(one)
        for one in CORE
        if one.top in ROS_LIBRARIES or one.top.endswith('_msgs') or one.top == 'depth_ros'
    ] == []


def test_the_nouns_need_no_torch() -> None:
    assert [str(one) for one in CORE if one.importer in TORCH_FREE and one.top in HEAVY] == []


def test_the_ros_layer_stays_thin() -> None:
    def may_import(one: Import) -> bool:
        granted = ROS_MAY_IMPORT | {ROS_EXCEPTIONS.get(one.importer, 'errors')}
        return any(f'{one.module}.'.startswith(f'depth_core.{room}.') for room in granted)

    assert [str(one) for one in ROS if one.top == 'depth_core' and not may_import(one)] == []


def test_the_ros_layer_leaves_networks_to_the_runtime() -> None:
    assert [str(one) for one in ROS if one.top in HEAVY] == []


@pytest.mark.parametrize(
    ('module', 'unwanted'),
    [
        ('depth_core', {'numpy', 'cv2', *HEAVY}),
        ('depth_core.contracts', {'cv2', *HEAVY}),
        ('depth_core.metrics', HEAVY),
        ('depth_core.presets', {'cv2', *HEAVY}),
        ('depth_core.inspect', HEAVY),
        ('depth_core.runtime', HEAVY),
        ('depth_core.data', HEAVY),
        ('depth_core.data.bag.opener', {'cv2', *HEAVY}),
        ('depth_ros', {'rclpy', 'sensor_msgs', 'cv2', *HEAVY}),
        ('depth_ros.kitti_to_bag.__main__', {'rclpy', 'sensor_msgs', *HEAVY}),
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
