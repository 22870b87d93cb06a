# SPDX-License-Identifier: Apache-2.0
"""Which rows a command line asks for, and what each is compared with."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pytest

from depth_core.bench.raw import open_raw
from depth_core.bench.rows import Rows, choose_rows
from depth_core.errors import ConfigError
from depth_core.runtime import Predictor
from depth_core.runtime.backends import default_chain
from test.standin import write_standin_onnx


@pytest.fixture(scope='module')
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_standin_onnx(tmp_path_factory.mktemp('model') / 'standin.onnx')


def chosen(model: Path, **options: object) -> Rows:
    defaults: dict[str, object] = {
        'backends': ('openvino', 'onnxruntime'),
        'precision': ('fp32',),
        'threads': (1,),
        'batch': 1,
        'device': None,
        'cuda_graph': False,
        'manifest': None,
        'image_height': 48,
        'focal_px': None,
        'hfov_deg': None,
        'image_width': 64,
        'frames': 1,
        'reference': None,
        'checkpoint': None,
    }
    return choose_rows(model, argparse.Namespace(**(defaults | options)))


def labels(rows: Rows) -> list[str]:
    return [request.label for request in rows.requests]


def test_each_combination_is_a_row(model: Path) -> None:
    rows = chosen(model, precision=('fp32', 'bf16'), threads=(1, 2), backends=('openvino',))
    assert labels(rows) == [
        'openvino/1t',
        'openvino/2t',
        'openvino/bf16/1t',
        'openvino/bf16/2t',
    ]
    assert rows.references == {}
    assert not rows.automatic


def test_a_batch_comes_beside_single_images(model: Path) -> None:
    assert labels(chosen(model, backends=('openvino',), batch=4)) == [
        'openvino/1t',
        'openvino/1t/x4',
    ]


def test_without_names_the_chain_is_tried_as_far_as_it_knows_the_precision(model: Path) -> None:
    rows = chosen(model, backends=None, precision=('bf16',))
    assert rows.automatic
    assert labels(rows) == ['openvino/bf16/1t']
    assert [row.backend for row in chosen(model, backends=None).requests] == list(
        default_chain(model)
    )


def test_each_row_has_its_own_raw_loop(model: Path) -> None:
    rows = chosen(model, reference='raw')
    assert rows.references == {
        'openvino/1t': 'raw openvino/1t',
        'onnxruntime/1t': 'raw onnxruntime/1t',
    }
    assert [row.loop for row in rows.requests] == ['predictor', 'predictor', 'raw', 'raw']


def test_torch_is_one_row_for_each_number_of_threads_at_the_size_of_the_graph(
    model: Path,
) -> None:
    checkpoint = Path('same.ckpt')
    rows = chosen(model, threads=(1, 2), reference='torch', checkpoint=checkpoint)
    assert rows.references == {
        'openvino/1t': 'torch/1t',
        'openvino/2t': 'torch/2t',
        'onnxruntime/1t': 'torch/1t',
        'onnxruntime/2t': 'torch/2t',
    }
    eager = [row for row in rows.requests if row.backend == 'torch']
    assert len(eager) == 2
    assert {row.model for row in eager} == {checkpoint}
    assert {row.network_size for row in eager} == {(64, 96)}


@pytest.mark.parametrize('name', ['openvino/1t', 'openvino'])
def test_a_row_is_a_reference_by_its_label_or_its_backend(model: Path, name: str) -> None:
    assert chosen(model, reference=name).references == {'onnxruntime/1t': 'openvino/1t'}


def test_a_backend_of_several_rows_is_no_reference(model: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"unknown reference 'openvino'; did you mean 'openvino/[12]t"
    ):
        chosen(model, reference='openvino', threads=(1, 2))


@pytest.mark.parametrize(
    ('image', 'inside'),
    [((48, 64), (64, 96)), ((60, 200), (48, 144)), ((90, 160), (64, 112))],
)
def test_the_raw_loop_sees_what_the_predictor_sees(
    tmp_path: Path, image: tuple[int, int], inside: tuple[int, int]
) -> None:
    # 6144 pixels: 4:3 is 67.9 x 90.5, 3.33:1 is 42.9 x 143.1, 16:9 is 58.8 x 104.5.
    path = write_standin_onnx(tmp_path / 'free.onnx', free_multiple=16)
    rows = chosen(path, reference='raw', image_height=image[0], image_width=image[1])
    for row in rows.requests:
        if row.loop == 'raw':
            spec = row.sized.manifest_of(path).input
            assert (spec.height, spec.width) == inside
            open_raw(row)()
        else:
            predictor = Predictor.open(path, backend=row.backend, threads=1)
            predictor.predict(np.zeros((*image, 3), np.uint8))
            assert predictor.input_size == inside
