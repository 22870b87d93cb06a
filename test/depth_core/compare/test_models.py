# SPDX-License-Identifier: Apache-2.0
"""Models compared: evaluated here, drawn side by side, and timed."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest

from depth_core.bench.machine import describe_machine
from depth_core.compare import Subject
from depth_core.compare.command import main
from depth_core.compare.speed import speeds
from depth_core.errors import ConfigError, DataError, ModelError
from test.standin import NEAREST_M, SPAN_M, write_standin_onnx

HEIGHT, WIDTH = 64, 96


@pytest.fixture(scope='module')
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """One that is right on the images of `data`, and one that is a metre too far."""
    folder = tmp_path_factory.mktemp('models')
    right = write_standin_onnx(folder / 'right.onnx', height=HEIGHT, width=WIDTH)
    graph = onnx.load(right)
    (nearest,) = (item for item in graph.graph.initializer if item.name == 'nearest')
    nearest.CopyFrom(
        onnx.numpy_helper.from_array(np.array(NEAREST_M + 1.0, np.float32), 'nearest')
    )
    far = folder / 'far.onnx'
    onnx.save(graph, far)
    return right, far


@pytest.fixture(scope='module')
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six grey ramps whose truth is what the stand-in answers, in millimetres."""
    folder = tmp_path_factory.mktemp('data')
    for name in ('images', 'depth'):
        (folder / name).mkdir()
    for index in range(6):
        ramp = np.linspace(10 * index, 200, WIDTH, dtype=np.uint8)
        image = np.tile(ramp[None, :, None], (HEIGHT, 1, 3))
        truth_m = NEAREST_M + SPAN_M * image[..., 0] / 255.0
        cv2.imwrite(str(folder / f'images/{index}.png'), image)
        cv2.imwrite(str(folder / f'depth/{index}.png'), np.round(truth_m * 1e3).astype(np.uint16))
    return folder


def rule(data: Path) -> list[str]:
    return ['--data', str(data), '--depth_unit_m', '0.001', '--protocol', 'none']


@pytest.fixture(scope='module')
def compared(
    models: tuple[Path, Path], data: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Both models compared, in a folder."""
    output = tmp_path_factory.mktemp('compared') / 'out'
    options = ['--pictures', '2', '--metrics', 'abs_rel', '--output', str(output)]
    main([*map(str, models), *rule(data), *options])
    return output


def numbers(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / 'compare.json').read_text(encoding='utf-8'))
    return content


def test_models_are_evaluated_and_compared(compared: Path, data: Path) -> None:
    right, far = numbers(compared)['differences']
    assert (right['report'], right['verdict']) == ('right.onnx', 'first')
    assert right['mean'] < 1e-3, 'half a millimetre of rounding'
    truths = [cv2.imread(str(path), cv2.IMREAD_UNCHANGED) for path in data.glob('depth/*')]
    expected = np.mean([np.mean(1e3 / np.asarray(truth)) for truth in truths])
    assert far['mean'] == pytest.approx(expected, abs=1e-3)
    assert far['verdict'] == 'worse'
    assert (compared / numbers(compared)['reports']['far.onnx'] / 'report.html').is_file()


def test_the_page_stands_alone_and_the_sheet_has_one_range_of_colours(compared: Path) -> None:
    page = (compared / 'compare.html').read_text(encoding='utf-8')
    assert page.count('data:image/png;base64,') == 2
    assert 'http' not in page
    sheet = cv2.imread(str(compared / 'compare.png'))
    assert sheet is not None
    block = sheet[: len(sheet) // 2].astype(np.int64)
    truth, right, far = (middle(block, place) for place in ((1, 0), (0, 1), (0, 2)))
    assert np.abs(truth - right).mean() < 2.0, 'the same depth has the same colour'
    assert np.abs(truth - far).mean() > 5.0
    wrong = middle(block, (1, 2))
    assert middle(block, (1, 1)).max() < wrong.mean(), 'errors: black is none'


def middle(block: np.ndarray, place: tuple[int, int]) -> np.ndarray:
    """Part of a tile, of two rows of three: without its title and its bar."""
    rows, columns = block.shape[0] // 2, block.shape[1] // 3
    top, left = place[0] * rows, place[1] * columns
    return block[top + rows // 3 : top + 2 * rows // 3, left + 20 : left + columns // 2]


def test_a_model_is_evaluated_as_the_report_beside_it(
    compared: Path, models: tuple[Path, Path], tmp_path: Path
) -> None:
    beside = compared / 'reports' / 'right.onnx'
    other = shutil.copy(models[1], tmp_path / 'other.onnx')
    main([str(beside), str(other), '--metrics', 'abs_rel', '--output', str(tmp_path / 'n.json')])
    content = json.loads((tmp_path / 'n.json').read_text(encoding='utf-8'))
    before = numbers(compared)['differences']
    assert [item['mean'] for item in content['differences']] == [item['mean'] for item in before]


def test_a_model_that_is_gone_is_left_out_of_the_pictures(
    compared: Path, models: tuple[Path, Path], tmp_path: Path
) -> None:
    right, far = models
    reports = [str(compared / 'reports' / name) for name in ('far.onnx', 'right.onnx')]
    options = ['--metrics', 'abs_rel', '--pictures', '1', '--output', str(tmp_path / 'out')]
    before = far.read_bytes()
    shutil.copy(right, far)
    try:
        main([*reports, *options])
    finally:
        far.write_bytes(before)
    page = (tmp_path / 'out' / 'compare.html').read_text(encoding='utf-8')
    assert 'far.onnx is not in the pictures' in page
    assert 'is not the file that' in page
    assert page.count('data:image/png;base64,') == 1


@pytest.mark.parametrize(
    ('arguments', 'error', 'message'),
    [
        ('MODEL OTHER', ConfigError, r'right.onnx is a model.*give\s+--data and --protocol'),
        ('MODEL OTHER --protocol none', ConfigError, r'needs\s+--data and --protocol'),
        ('MODEL missing.ckpt --data x --protocol none', ModelError, 'does not exist as a file'),
        ('REPORT OTHER --output DATA', DataError, 'is not a comparison of this command'),
        ('BAG OTHER', DataError, 'does not say how depth_core.evaluate wrote it'),
        ('REPORT REPORT --speed guess', ConfigError, 'invalid choice'),
        ('REPORT REPORT --pictures -1', ConfigError, 'at least 0'),
    ],
)
def test_what_cannot_be_compared_is_refused(  # noqa: PLR0917  fixtures and a table
    compared: Path,
    models: tuple[Path, Path],
    data: Path,
    tmp_path: Path,
    arguments: str,
    error: type[Exception],
    message: str,
) -> None:
    bag = tmp_path / 'bag'
    shutil.copytree(compared / 'reports' / 'right.onnx', bag)
    content = json.loads((bag / 'report.json').read_text(encoding='utf-8'))
    content['command'] = 'python -m depth_ros.evaluate_bag monday.mcap --output report'
    (bag / 'report.json').write_text(json.dumps(content), encoding='utf-8')
    known = {
        'MODEL': models[0],
        'OTHER': models[1],
        'REPORT': compared / 'reports' / 'right.onnx',
        'DATA': data,
        'BAG': bag,
    }
    with pytest.raises(error, match=message):
        main([str(known.get(word, word)) for word in arguments.split()])


def test_speed_is_measured_as_the_bench_does_and_not_while_others_compute(compared: Path) -> None:
    subject = Subject(name='right', report=compared / 'reports' / 'right.onnx')
    here = dataclasses.replace(subject, name='here', evaluated_here=True)
    busy = dataclasses.replace(describe_machine(), load_1min=99.0, cpus=2)
    words = 'not measured: load 99.0 on 2 CPUs'
    assert speeds([subject], 'measure', machine=busy)['right'].words == words
    stated = speeds([subject, here], 'report', machine=busy)
    assert stated['right'].ms is not None, 'measured some other time'
    assert (stated['here'].ms, stated['here'].words) == (None, words)
    found = speeds([subject], 'measure', machine=dataclasses.replace(busy, load_1min=0.0))
    assert found['right'].ms is not None
    assert found['right'].ms > 0.0
    assert found['right'].words.startswith(f'{found["right"].ms:.1f}')
