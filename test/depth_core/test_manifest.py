# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import dataclasses
import json
import logging
from pathlib import Path
from typing import Any

import onnx
import pytest

from depth_core.contracts import DepthKind, InputSpec, OutputSpec
from depth_core.errors import ConfigError, ModelError
from depth_core.manifest import (
    EXAMPLE,
    METADATA_KEY,
    ErrorSpread,
    Manifest,
    Parity,
    PrecisionError,
    manifest_path,
    read_manifest,
    write_manifest,
)
from depth_core.onnx_file import read_metadata
from test.standin import write_standin_onnx

FULL = Manifest(
    name='densedepth_small',
    family='densedepth',
    options={'decoder_channels': (128, 64), 'encoder': 'mobilenetv3_large_075', 'rate': 0.5},
    divisor=32,
    input=InputSpec(
        height=256, width=320, mean=(0.1, 0.2, 0.3), layout='NCHW', dtype='float32', batch=0
    ),
    output=OutputSpec(kind=DepthKind.UP_TO_SCALE, min_depth=0.1, max_depth=80.0, sigma=None),
    licence='Apache-2.0',
    weights_sha256='ab' * 32,
    training={'command': 'train ü', 'paths': [Path('a'), None], 'steps': 10},
    parity=Parity(
        images=5,
        seed=1,
        inputs_sha256='cd' * 32,
        depth_max_abs=1e-6,
        depth_max_rel=1e-7,
        sigma_max_abs=0.0,
        sigma_max_rel=0.0,
        tolerance=1e-3,
    ),
    precision='int8',
    precision_target='tensorrt',
    calibration='32 images of a',
    precision_error=PrecisionError(
        reference='densedepth_small.onnx',
        reference_sha256='ef' * 32,
        method='rounded emulation',
        images='5 drawn images of seed 1',
        image_count=5,
        depth=ErrorSpread(mean=1e-4, p999=2e-3, max=2e-2),
        noise_depth=ErrorSpread(mean=1e-3, p999=2e-2, max=0.1),
        abs_rel_change=-0.001,
        abs_rel_set='4 images of b under nyu_eigen',
        max_p999=1e-2,
        max_max=0.1,
    ),
    versions={'torch': '2.6.0'},
)


VERSION_1 = """{
  "name": "my_network",
  "input": {"name": "input", "height": 256, "width": 320, "layout": "NCHW", "dtype": "float32",
            "channels": "RGB", "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]},
  "output": {"depth": "output", "sigma": null, "kind": "metric", "min_depth": 0.1,
             "max_depth": 80.0, "unit_m": 1.0}
}"""


def minimal(**changes: Any) -> str:
    """A manifest of version 1 as JSON, with dotted keys changed."""
    content = json.loads(VERSION_1)
    for key, value in changes.items():
        *groups, name = key.split('__')
        target = content
        for group in groups:
            target = target[group]
        target[name] = value
    return json.dumps(content)


def test_round_trip_keeps_everything() -> None:
    assert Manifest.from_json(FULL.to_json()) == FULL


def test_options_become_what_json_gives_back() -> None:
    assert FULL.options['decoder_channels'] == [128, 64]
    assert FULL.training['paths'] == ['a', None]


def test_the_json_is_strict_and_ends_in_a_newline() -> None:
    text = dataclasses.replace(FULL, training={'loss': float('nan')}).to_json()
    assert text.endswith('}\n')
    assert json.loads(text, parse_constant=pytest.fail)['training']['loss'] == 'nan'


def test_a_manifest_written_before_precisions_is_of_fp32() -> None:
    content = json.loads(FULL.to_json())
    for key in ('precision', 'precision_target', 'calibration', 'precision_error'):
        del content[key]
    manifest = Manifest.from_json(json.dumps(content))
    assert (manifest.precision, manifest.precision_target, manifest.calibration) == (
        'fp32',
        '',
        '',
    )
    assert manifest.precision_error is None


def test_the_error_of_a_precision_is_read_as_strictly() -> None:
    content = json.loads(FULL.to_json())
    content['precision_error']['depth']['p99'] = 0.1
    with pytest.raises(ConfigError, match=r"precision_error\.depth\.p99'; did you mean .*p999"):
        Manifest.from_json(json.dumps(content))
    content['precision'] = 'fp8'
    with pytest.raises(ConfigError, match=r"precision is \"fp8\"; give one of 'fp32', 'fp16'"):
        Manifest.from_json(json.dumps(content | {'precision_error': None}))


def test_version_1_and_the_example_of_the_messages_say_the_same() -> None:
    manifest = Manifest.from_json(EXAMPLE)
    assert Manifest.from_json(VERSION_1) == manifest
    assert manifest.input.mean == (0.485, 0.456, 0.406)
    assert manifest.output.sigma is None
    assert manifest.output.kind is DepthKind.METRIC
    assert manifest.input.batch == 1


@pytest.mark.parametrize(
    ('changes', 'words'),
    [
        ({'inputs': {}}, ("'inputs'", "did you mean 'input'")),
        ({'output__max_dept': 3.0}, ("'output.max_dept'", "did you mean 'output.max_depth'")),
        (
            {'output__kind': 'metrik'},
            ('output.kind', '"metrik"', "'metric', 'canonical', 'up_to_scale'"),
        ),
        ({'input__layout': 'HWC'}, ('input.layout', "'NHWC', 'NCHW'")),
        ({'input__height': '256'}, ('input.height', '"256"', 'a whole number')),
        ({'input__height': 2.5}, ('input.height', 'a whole number')),
        ({'input__height': True}, ('input.height', 'a whole number')),
        ({'input__height': 0}, ('input.height is 0', 'at least 1')),
        ({'input__batch': -1}, ('input.batch is -1', '0 where the number of images is free')),
        ({'input__batch': 1.5}, ('input.batch', 'a whole number')),
        ({'input__mean': [0.5, 0.5]}, ('input.mean', 'a list of 3 numbers')),
        ({'input__mean': [0.5, 0.5, 'x']}, ('input.mean', 'a number')),
        ({'input__std': [1.0, 1.0, float('nan')]}, ('input.std', 'a finite number')),
        ({'output__min_depth': 90.0}, ('depth.min_m is 90.0 and depth.max_m is 80.0',)),
        ({'output__depth': None}, ('output.depth', 'null', 'text in quotes')),
        ({'input': 3}, ('input is 3', 'an object')),
        ({'options': []}, ('options', 'an object')),
        ({'format': 2}, ('format is 2', 'one of 1')),
        ({'version': 3}, ('version is 3', 'one of 1, 2')),
        ({'depth': {}}, ('depth is of version 2', '"version": 2')),
    ],
)
def test_wrong_content_is_refused_by_name(changes: dict[str, Any], words: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError) as caught:
        Manifest.from_json(minimal(**changes), source='there.json')
    assert str(caught.value).startswith('there.json: ')
    for word in words:
        assert word in str(caught.value)


def test_missing_keys_are_all_named_with_an_example() -> None:
    with pytest.raises(ConfigError, match=r'key input, output is missing') as caught:
        Manifest.from_json('{"name": "a"}')
    assert ' '.join(EXAMPLE.split()) in str(caught.value)
    assert '\n' not in str(caught.value)


@pytest.mark.parametrize('text', ['', '{', 'depth', '[1]', 'null'])
def test_no_json_object_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match='there'):
        Manifest.from_json(text, source='there')


def test_the_embedded_manifest_is_read(tmp_path: Path) -> None:
    path = write_standin_onnx(tmp_path / 'a.onnx', height=32, width=48, max_depth=20.0)
    manifest = read_manifest(path)
    assert (manifest.input.height, manifest.input.width) == (32, 48)
    assert manifest.output.max_depth == 20.0


def test_our_reader_of_metadata_agrees_with_onnx(tmp_path: Path) -> None:
    path = write_standin_onnx(tmp_path / 'a.onnx')
    model = onnx.load(path)
    onnx.helper.set_model_props(model, {'a': '', 'ключ': 'значение', 'long': 'x' * 100_000})
    onnx.save(model, path)
    assert read_metadata(path) == {'a': '', 'ключ': 'значение', 'long': 'x' * 100_000}


def test_a_foreign_graph_takes_the_manifest_beside_it(tmp_path: Path) -> None:
    path = without_manifest(write_standin_onnx(tmp_path / 'a.onnx'))
    write_manifest(manifest_path(path), FULL)
    assert read_manifest(path) == FULL
    assert read_manifest(tmp_path / 'a.json') == FULL


@pytest.mark.parametrize('encoding', ['utf-8-sig', 'utf-16'])
def test_a_manifest_with_a_byte_order_mark_is_read(tmp_path: Path, encoding: str) -> None:
    path = without_manifest(write_standin_onnx(tmp_path / 'a.onnx'))
    manifest_path(path).write_text(FULL.to_json(), encoding=encoding)
    assert read_manifest(path) == FULL


def test_without_any_manifest_the_remedy_is_shown(tmp_path: Path) -> None:
    path = without_manifest(write_standin_onnx(tmp_path / 'a.onnx'))
    with pytest.raises(ModelError, match=r'Write a\.json') as caught:
        read_manifest(path)
    assert METADATA_KEY in str(caught.value)
    assert ' '.join(EXAMPLE.split()) in str(caught.value)
    assert '\n' not in str(caught.value)


def test_the_embedded_manifest_counts_and_a_difference_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_standin_onnx(tmp_path / 'a.onnx')
    write_manifest(tmp_path / 'a.json', read_manifest(path))
    with caplog.at_level(logging.WARNING):
        read_manifest(path)
    assert caplog.messages == []
    write_manifest(tmp_path / 'a.json', FULL)
    with caplog.at_level(logging.WARNING):
        assert read_manifest(path).name == 'standin'
    assert 'a.json differs' in caplog.text


@pytest.mark.parametrize('kept', [0, 1, 5, 0.1, 0.5, -1])
def test_a_truncated_graph_is_refused(tmp_path: Path, kept: float) -> None:
    path = write_standin_onnx(tmp_path / 'a.onnx')
    content = path.read_bytes()
    end = int(kept * len(content)) if isinstance(kept, float) else kept
    path.write_bytes(content[:end])
    with pytest.raises(ModelError, match=r'a\.onnx \(\d+ bytes\) is not a whole ONNX file'):
        read_manifest(path)


def test_something_else_is_no_graph(tmp_path: Path) -> None:
    path = tmp_path / 'a.onnx'
    path.write_bytes(b'\x89PNG\r\n\x1a\n' + bytes(range(256)) * 10)
    with pytest.raises(ModelError, match='not a whole ONNX file'):
        read_manifest(path)


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r'a\.onnx does not exist'):
        read_manifest(tmp_path / 'a.onnx')
    with pytest.raises(ModelError, match=r'a\.json does not exist'):
        read_manifest(tmp_path / 'a.json')
    with pytest.raises(ModelError, match='is a folder'):
        read_manifest(tmp_path)


def without_manifest(path: Path) -> Path:
    model = onnx.load(path)
    del model.metadata_props[:]
    onnx.save(model, path)
    return path


def test_provenance_may_name_a_path_that_is_no_text() -> None:
    manifest = dataclasses.replace(FULL, training={'data': 'caf\udce9'})
    text = manifest.to_json()
    assert text.encode().decode() == text
    assert Manifest.from_json(text) == manifest
