# SPDX-License-Identifier: Apache-2.0
"""Putting the fakes in the place of the real packages, here and in child processes.

    with installed(version='11.4.0', absent=('pycuda',)):
        ...                                     # `import tensorrt` finds the fake

Fixture `fake_gpu` of test/conftest.py does so for one test with the defaults.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import pytest

from test.fakes.gpu import GPU, Gpu

FAKES = Path(__file__).resolve().parent
ROOT = FAKES.parents[1]

REPLACED = ('cuda', 'pycuda', 'tensorrt', 'tensorrt_rtx')
"""Packages that the fakes stand for."""
BOUND = (
    'depth_core.runtime.engine.pycuda_device',
    'depth_core.runtime.engine.cuda_python_device',
)
"""Modules that import them by statement, and must be imported anew to see others."""


def child_environment(*, version: str = '10.3.0', absent: tuple[str, ...] = ()) -> dict[str, str]:
    """Variables for a child process that is to find the fakes; the arguments are `installed`'s."""
    own = [str(FAKES), str(FAKES / 'rtx'), str(ROOT)]
    inherited = os.environ.get('PYTHONPATH')
    return {
        'PYTHONPATH': os.pathsep.join([*own, *([inherited] if inherited else [])]),
        'FAKE_TENSORRT_VERSION': version,
        'FAKE_ABSENT': ' '.join(absent),
    }


@contextmanager
def installed(*, version: str = '10.3.0', absent: tuple[str, ...] = ()) -> Iterator[Gpu]:
    """Have this process, and the children it starts, find the fakes.

    Args:
        version: Of TensorRT: 8.6.1, 10.3.0, 11.4.0; TensorRT-RTX is always 1.7.1.
        absent: What cannot be imported at all, from `REPLACED`.

    Yields:
        The GPU, as new.
    """
    before = _take_modules()
    GPU.reset()
    try:
        with pytest.MonkeyPatch.context() as patch:
            for name, value in child_environment(version=version, absent=absent).items():
                patch.setenv(name, value)
            for folder in (FAKES / 'rtx', FAKES):
                patch.syspath_prepend(str(folder))
            yield GPU
    finally:
        _take_modules()
        sys.modules.update(before)


def write_package(folder: Path, name: str, version: str) -> None:
    """Have a folder of the path hold what tells that a package is installed, and no more."""
    place = folder / f'{name.replace("-", "_")}-{version}.dist-info'
    place.mkdir()
    text = f'Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n'
    (place / 'METADATA').write_text(text, encoding='utf-8')


def _take_modules() -> dict[str, ModuleType]:
    """Take what the fakes stand for out of the imported modules."""
    names = [name for name in sys.modules if name.split('.')[0] in REPLACED or name in BOUND]
    return {name: sys.modules.pop(name) for name in names}
