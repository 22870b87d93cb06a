# SPDX-License-Identifier: Apache-2.0
"""The kernel's source, compiled as C and run on the processor; compiled for GPUs, and not run."""

from __future__ import annotations

import ctypes
import ctypes.util
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from depth_core.contracts import DepthKind, InputSpec, OutputSpec
from depth_core.errors import BackendError
from depth_core.manifest import Manifest
from depth_core.runtime.engine import kernel, nvrtc
from depth_core.runtime.preprocessing import Preprocessor, channel_affine
from test.fakes.kernels import resize

Resize = Callable[[NDArray[np.uint8], InputSpec], NDArray[Any]]

ON_PROCESSOR = """
#define KERNEL static
#define DEVICE static
static int column_of_thread, row_of_thread;
#define COLUMN column_of_thread
#define ROW row_of_thread
"""
LOOP = """
void run(
    const unsigned char *image, void *output, int image_height, int image_width, int height,
    int width, int as_float, int planes, int bgr, const float *gain, const float *offset)
{
    /* As a grid of blocks: more threads than pixels. */
    for (row_of_thread = 0; row_of_thread < height + 7; ++row_of_thread)
        for (column_of_thread = 0; column_of_thread < width + 31; ++column_of_thread)
            resize_image(image, output, image_height, image_width, height, width, as_float, planes,
                         bgr, gain[0], gain[1], gain[2], offset[0], offset[1], offset[2]);
}
"""

SIZES = [
    # image height and width, then those of the graph
    (480, 640, 192, 256),
    (480, 640, 240, 320),
    (96, 128, 96, 128),
    (375, 1242, 192, 640),
    (720, 1280, 192, 640),
    (61, 83, 17, 29),
    (100, 90, 100, 45),
    (30, 40, 96, 128),
    (30, 200, 64, 100),
    (200, 30, 64, 100),
    (1, 1, 8, 8),
    (2, 3, 7, 5),
    (97, 131, 96, 130),
]


@pytest.fixture(scope='module')
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Resize:
    """The kernel as a C compiler understands it, looped over its threads."""
    compiler = shutil.which('cc') or shutil.which('gcc') or shutil.which('clang')
    if compiler is None:
        pytest.skip('no C compiler: the transcription in NumPy is compared with OpenCV only')
    folder = tmp_path_factory.mktemp('kernel')
    (folder / 'kernel.c').write_text(ON_PROCESSOR + kernel.SOURCE + LOOP, encoding='utf-8')
    command = [compiler, '-std=c99', '-O1', '-Wall', '-Werror', '-ffp-contract=off', '-fPIC']
    subprocess.run([*command, '-shared', 'kernel.c', '-o', 'kernel.so'], cwd=folder, check=True)
    run = ctypes.CDLL(str(folder / 'kernel.so')).run

    def answer(image: NDArray[np.uint8], spec: InputSpec) -> NDArray[Any]:
        planes = spec.layout == 'NCHW'
        shape = (3, spec.height, spec.width) if planes else (spec.height, spec.width, 3)
        output = np.full(shape, 77, spec.dtype)
        gain, offset = (np.ascontiguousarray(item) for item in channel_affine(spec))
        flags = (spec.dtype == 'float32', planes, spec.channels == 'BGR')
        sizes = (*image.shape[:2], spec.height, spec.width, *map(int, flags))
        pointers = [ctypes.c_void_p(item.ctypes.data) for item in (image, output, gain, offset)]
        run(*pointers[:2], *sizes, *pointers[2:])
        return output

    return answer


def pixels(height: int, width: int) -> NDArray[np.uint8]:
    rng = np.random.default_rng(height * 1000 + width)
    return rng.integers(0, 256, (height, width, 3), np.uint8)


def manifest_of(spec: InputSpec) -> Manifest:
    output = OutputSpec(kind=DepthKind.METRIC, min_depth=0.1, max_depth=10.0)
    return Manifest(name='any', input=spec, output=output)


@pytest.mark.parametrize('sizes', SIZES)
def test_it_resizes_as_the_processor_within_one_code(sizes: tuple[int, int, int, int]) -> None:
    image = pixels(*sizes[:2])
    spec = InputSpec(height=sizes[2], width=sizes[3])
    expected = Preprocessor(manifest_of(spec))([image])[0].astype(int)
    found = resize(image, *sizes[2:]).astype(int)
    assert np.abs(found - expected).max() <= 1
    assert np.mean(found != expected) < 0.1  # halves and weights of float, no shift


@pytest.mark.parametrize('sizes', SIZES)
def test_the_source_is_what_numpy_computes(
    compiled: Resize, sizes: tuple[int, int, int, int]
) -> None:
    image = pixels(*sizes[:2])
    found = compiled(image, InputSpec(height=sizes[2], width=sizes[3]))
    np.testing.assert_array_equal(found, resize(image, *sizes[2:]))


def test_by_hand(compiled: Resize) -> None:
    # Three columns into two: each takes one whole pixel and half of the next.
    image = np.zeros((1, 3, 3), np.uint8)
    image[0, :, 0] = (0, 30, 90)
    found = compiled(image, InputSpec(height=1, width=2))
    np.testing.assert_array_equal(found[0, :, 0], [10, 70])
    # Two into four: centres at -1/4, 1/4, 3/4 and 5/4 of the way from the first to the second.
    image = np.zeros((1, 2, 3), np.uint8)
    image[0, :, 2] = (0, 200)
    found = compiled(image, InputSpec(height=1, width=4))
    np.testing.assert_array_equal(found[0, :, 2], [0, 50, 150, 200])


@pytest.mark.parametrize('dtype', ['uint8', 'float32'])
@pytest.mark.parametrize('layout', ['NHWC', 'NCHW'])
@pytest.mark.parametrize('channels', ['RGB', 'BGR'])
def test_every_kind_of_input(compiled: Resize, dtype: Any, layout: Any, channels: Any) -> None:
    normalised = dtype == 'float32'
    spec = InputSpec(
        height=12,
        width=20,
        dtype=dtype,
        layout=layout,
        channels=channels,
        mean=(0.485, 0.456, 0.406) if normalised else (0.0, 0.0, 0.0),
        std=(0.229, 0.224, 0.225) if normalised else (1.0, 1.0, 1.0),
    )
    image = pixels(24, 40)
    expected = Preprocessor(manifest_of(spec))([image])[0]
    found = compiled(image, spec)
    assert found.dtype == expected.dtype
    assert found.shape == expected.shape
    one_code = 1.01 / 255 / 0.224 if normalised else 1
    assert np.abs(found.astype(np.float64) - expected).max() <= one_code


@pytest.fixture(scope='session')
def has_nvrtc() -> None:
    try:
        nvrtc.compile_cubin('extern "C" __global__ void nothing() {}', (8, 6))
    except BackendError as error:
        pytest.skip(str(error))


@pytest.mark.usefixtures('has_nvrtc')
@pytest.mark.parametrize(
    'compute_capability', [(7, 5), (8, 0), (8, 6), (8, 7), (8, 9), (9, 0), (10, 0), (12, 0)]
)
def test_it_compiles_for_gpus(compute_capability: tuple[int, int]) -> None:
    cubin = nvrtc.compile_cubin(kernel.ON_GPU + kernel.SOURCE, compute_capability)
    assert cubin.startswith(b'\x7fELF')
    assert kernel.KERNEL_NAME.encode() in cubin


@pytest.mark.usefixtures('has_nvrtc')
def test_what_cannot_be_compiled_is_said() -> None:
    with pytest.raises(BackendError, match=r'NVRTC cannot compile for sm_86: .*nonsense'):
        nvrtc.compile_cubin('nonsense', (8, 6))
    with pytest.raises(BackendError, match=r'cannot compile for sm_35: .*gpu-architecture'):
        nvrtc.compile_cubin(kernel.ON_GPU + kernel.SOURCE, (3, 5))


def test_the_arguments_are_those_of_the_source() -> None:
    signature = kernel.SOURCE.partition('KERNEL void resize_image(')[2].partition(')')[0]
    letters = ''.join(
        'P' if '*' in item else {'int': 'i', 'float': 'f'}[item.split()[0]]
        for item in signature.split(',')
    )
    assert ''.join(kernel.ARGUMENTS) == letters


def test_the_library_is_looked_for_where_it_may_be(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    no_nvrtc = ctypes.util.find_library('c') or 'libc.so.6'  # it loads, and has no such functions
    monkeypatch.setattr(nvrtc, '_NAMES', (str(tmp_path / 'libnvrtc.so'), no_nvrtc))
    monkeypatch.setattr(nvrtc, '_installed_with_python', lambda: str(tmp_path / 'other.so'))
    with pytest.raises(BackendError, match=r'NVRTC is not installed: .*pip install'):
        nvrtc.compile_cubin('', (8, 6))


def test_where_one_library_is_too_old_for_the_gpu_the_next_compiles(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def compile_with(library: str, source: str, compute_capability: tuple[int, int]) -> bytes:
        if library == 'old':
            message = f'NVRTC cannot compile for {compute_capability}'
            raise BackendError(message)
        return f'{library} {source}'.encode()

    monkeypatch.setattr(nvrtc, '_libraries', lambda: iter(['old', 'new']))
    monkeypatch.setattr(nvrtc, '_compile', compile_with)
    assert nvrtc.compile_cubin('a text', (12, 0)) == b'new a text'
    monkeypatch.setattr(nvrtc, '_libraries', lambda: iter(['old']))
    with pytest.raises(BackendError, match=r'cannot compile for \(12, 1\)'):
        nvrtc.compile_cubin('a text', (12, 1))
