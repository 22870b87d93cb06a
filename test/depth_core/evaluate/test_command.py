# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from depth_core.errors import ConfigError, DataError, DepthError, ModelError
from depth_core.evaluate.__main__ import main
from depth_core.evaluate.arguments import open_model, parse
from depth_core.evaluate.run import Run, evaluate_dataset
from depth_core.files import sha256_of
from depth_core.models import create_model
from depth_core.runtime import Predictor
from depth_core.weights.checkpoint import save_model


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network that was never trained."""
    path = tmp_path_factory.mktemp('model') / 'untrained.ckpt'
    torch.manual_seed(0)
    save_model(path, create_model('densedepth_small', max_depth=10.0))
    return path


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Three images of 60 x 80, the last without depth."""
    for folder in ('images', 'depth'):
        (tmp_path / 'data' / folder).mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name in 'abc':
        image = rng.integers(0, 255, (60, 80, 3)).astype(np.uint8)
        assert cv2.imwrite(str(tmp_path / f'data/images/{name}.png'), image)
    for name in 'ab':
        codes = rng.integers(0, 9000, (60, 80)).astype(np.uint16)
        assert cv2.imwrite(str(tmp_path / f'data/depth/{name}.png'), codes)
    return tmp_path / 'data'


@pytest.fixture
def given(tmp_path: Path, checkpoint: Path, images: Path) -> dict[str, str]:
    """Arguments that work."""
    return {
        '--checkpoint': str(checkpoint),
        '--data': str(images),
        '--depth_unit_m': '0.001',
        '--protocol': 'none',
        '--output': str(tmp_path / 'report'),
    }


def test_command_scores_a_checkpoint_and_writes_the_report(
    given: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    options = given | {'--max_depth_m': '8', '--align': 'median', '--pictures': '1'}
    main([word for pair in options.items() for word in pair] + ['--flip_average'])
    output = Path(given['--output'])
    printed = capsys.readouterr().out
    assert 'AbsRel' in printed
    assert '3 images: 2 scored, 1 without ground truth' in printed
    assert "each image's median" in printed
    content = json.loads((output / 'report.json').read_text())
    assert content['data']['dataset'] == 'folder'
    assert content['data']['options'] == {'depth_unit_m': 0.001, 'precision': 'fp32'}
    assert content['protocol']['max_depth_m'] == 8.0
    assert (content['align'], content['flip_average']) == ('median', 'mean')
    assert content['model']['backend'] == 'torch'
    assert content['model']['manifest']['name'] == 'densedepth_small'
    assert content['command'].startswith('python -m depth_core.evaluate --checkpoint')
    assert content['uncertainty']['images'] == 2
    assert '<h1>untrained.ckpt on data</h1>' in (output / 'report.html').read_text()


def test_command_renders_its_own_scenes_and_names_the_file_that_it_scored(
    tmp_path: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tmp_path / 'model.ckpt'
    shutil.copy(checkpoint, model)

    def scored(*given: Any, **options: Any) -> Run:
        model.write_bytes(b'another model')  # as an export that ends meanwhile
        return evaluate_dataset(*given, **options)

    monkeypatch.setattr('depth_core.evaluate.__main__.evaluate_dataset', scored)
    arguments = ['--checkpoint', str(model), '--data', 'synthetic', '--scenes', 'indoor']
    arguments += ['--height', '60', '--width', '80', '--limit', '2', '--protocol', 'none']
    main([*arguments, '--pictures', '1', '--output', str(tmp_path / 'report')])
    content = json.loads((tmp_path / 'report/report.json').read_text())
    assert content['counts']['images'] == 2
    assert content['data']['dataset'] == 'synthetic'
    assert content['model']['sha256'] == sha256_of(checkpoint)


def test_a_model_that_is_exchanged_while_it_is_opened_is_refused(
    given: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tmp_path / 'model.ckpt'
    shutil.copy(given['--checkpoint'], model)

    def opened(path: Path, options: Namespace) -> Predictor:
        predictor = open_model(path, options)
        shutil.copy(given['--checkpoint'], model)
        return predictor

    monkeypatch.setattr('depth_core.evaluate.__main__.open_model', opened)
    options = given | {'--checkpoint': str(model)}
    with pytest.raises(DataError, match=r'model\.ckpt was changed while it was read'):
        main([word for pair in options.items() for word in pair])
    assert not Path(given['--output']).exists()


def test_a_shipped_model_is_taken_by_name_and_any_file_name(
    images: Path, tmp_path: Path, repository: Path
) -> None:
    for folder in ('images', 'depth'):
        (images / folder / 'b.png').rename(images / folder / os.fsdecode(b'b\xe9.png'))
    arguments: list[str | Path] = [
        '--model',
        'densedepth_small',
        '--data',
        images,
        '--depth_unit_m',
        '0.001',
    ]
    arguments += [
        '--assumed_hfov_deg',
        '60',
        '--protocol',
        'none',
        '--output',
        tmp_path / 'report',
    ]
    finished = subprocess.run(
        [sys.executable, '-m', 'depth_core.evaluate', *arguments],
        cwd=tmp_path,
        env={**os.environ, 'PYTHONIOENCODING': 'ascii:strict', 'PYTHONPATH': str(repository)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    content = json.loads((tmp_path / 'report/report.json').read_text())
    assert content['model']['path'].endswith('densedepth_small.onnx')
    assert any(image['key'].endswith(r'b\xe9') for image in content['images'])


@pytest.mark.parametrize(
    ('arguments', 'complaint'),
    [
        (['--protocl', 'none'], "unknown option '--protocl'; did you mean '--protocol'"),
        (
            ['--data', 'x', '--protocol', 'none', '--output', 'y'],
            '--model --checkpoint --onnx is required',
        ),
        (['--data', 'x', '--output', 'y', '--onnx', 'z'], 'required: --protocol'),
        (['--limit', 'x'], "'x' is not a whole number of at least 1"),
        (['--onnx', 'a', '--checkpoint', 'b'], 'not allowed with argument --onnx'),
    ],
)
def test_wrong_arguments(arguments: list[str], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        parse(arguments)


@pytest.mark.parametrize(
    ('changed', 'kind', 'complaint'),
    [
        ({'--protocol': 'nyu_egen'}, ConfigError, "did you mean 'nyu_eigen'"),
        ({'--protocol': 'nyu_eigen'}, DataError, '60x80 cannot be scored in a crop .* 480x640'),
        ({'--data': 'nowhere'}, DataError, 'nowhere does not exist'),
        ({'--ground_truth': 'velodyne'}, ConfigError, "unknown option of data set 'folder'"),
        ({'--checkpoint': 'gone.ckpt'}, ModelError, 'gone.ckpt does not exist'),
        ({'--backend': 'cuda9'}, DepthError, "unknown backend 'cuda9'"),
        ({'--max_depth_m': '-1'}, ConfigError, 'has no range'),
        ({'--limit': '0'}, ConfigError, "'0' is not a whole number of at least 1"),
    ],
)
def test_wrong_input_leaves_no_report(
    given: dict[str, str], changed: dict[str, str], kind: type[DepthError], complaint: str
) -> None:
    with pytest.raises(kind, match=complaint):
        main([word for pair in (given | changed).items() for word in pair])
    beside = Path(given['--output']).parent
    assert sorted(path.name for path in beside.iterdir()) == ['data']


def test_process_answers_in_one_line_with_status_2(repository: Path, tmp_path: Path) -> None:
    command = [sys.executable, '-m', 'depth_core.evaluate', '--onnx', str(tmp_path / 'no.onnx')]
    command += ['--data', 'synthetic', '--protocol', 'none', '--output', str(tmp_path / 'report')]
    finished = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=False)
    assert finished.returncode == 2
    assert finished.stderr.startswith('error: model ')
    assert len(finished.stderr.splitlines()) == 1
    assert finished.stdout == ''


def test_help_names_units_and_protocols(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        parse(['--help'])
    assert stopped.value.code == 0
    printed = capsys.readouterr().out
    for word in ('kitti_eigen_garg_80m', 'nyu_densedepth_official', 'metres', 'pixels'):
        assert word in printed
