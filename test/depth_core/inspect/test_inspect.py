# SPDX-License-Identifier: Apache-2.0
"""What the command says of a graph, and what its draft needs to become a manifest."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from depth_core.errors import ConfigError, ModelError
from depth_core.inspect import BLANK
from depth_core.inspect.__main__ import main
from depth_core.manifest import Manifest
from depth_core.runtime import Predictor
from depth_core.shipped import shipped_models
from test.foreign import NEAREST, STANDINS, UNIT, Standin, camera_guess, plane, points_first, sky


def said_of(path: Path, capsys: pytest.CaptureFixture[str], *options: str) -> str:
    main([str(path), *options])
    return capsys.readouterr().out


def content_of(path: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(said_of(path, capsys, '--json'))
    return content


def test_it_shows_names_types_ranks_and_free_sizes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = STANDINS['depth_anything_3_metric'].write(tmp_path / 'graph.onnx')
    said = said_of(path, capsys)
    assert 'opset 17' in said
    assert "input     'image' float32 [?, 3, 504, 504], rank 4, free axes 0\n" in said
    assert "output    'sky' float32 [?, 1, 504, 504], rank 4, free axes 0\n" in said
    assert 'manifest  none inside or beside' in said
    assert BLANK not in said, 'a preset fits'


@pytest.mark.parametrize('name', sorted(STANDINS))
def test_the_preset_of_a_graph_fits_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    content = content_of(STANDINS[name].write(tmp_path / 'graph.onnx'), capsys)
    assert name in content['presets']
    assert content['opset'] == STANDINS[name].opset


def test_the_preset_that_knows_all_outputs_comes_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = STANDINS['metric3d_v2_onnx_community'].write(tmp_path / 'graph.onnx')
    fitting = content_of(path, capsys)['presets']
    assert fitting[0] == 'metric3d_v2_onnx_community'
    assert 'depth_anything_v2_small' in fitting, 'it has the same names'
    assert 'The same names mean different things' in said_of(path, capsys)


def test_the_size_of_the_file_tells_variants_apart(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = STANDINS['depth_anything_v2_large'].write(tmp_path / 'graph.onnx')
    model = onnx.load(path)
    large = np.zeros(2_500_000, np.float32)  # 10 MB are nearest to the 99 MB of the small one
    model.graph.initializer.append(onnx.numpy_helper.from_array(large, 'weights'))
    onnx.save(model, path)
    named = [name for name in content_of(path, capsys)['presets'] if 'v2_' in name]
    assert named.index('depth_anything_v2_small') < named.index('depth_anything_v2_large')


@pytest.mark.parametrize(
    ('standin', 'difference'),
    [
        (Standin(image='image', head=plane('depth', rank=3, further=[sky()]), size=(504, 504)),
         'has 3 axes, the manifest says depth.rank_hint is 4'),
        (Standin(image='image', head=plane('depth'), size=(504, 504)),
         "the manifest says masks[0].output is 'sky'"),
        (Standin(image='image', head=plane('depth', further=[sky()]), size=(280, 280)),
         "the graph takes 'image' float32 [1, 3, 280, 280], the manifest says"),
        (Standin(image='image', head=plane('depth', further=[sky()]), size=(504, 504),
                 dtype=onnx.TensorProto.FLOAT16), "the graph takes 'image' float16"),
        (Standin(image='images', head=plane('depth', further=[sky()]), size=(504, 504)),
         "the graph takes 'images' float32"),
        (Standin(image='image', head=plane('depth', further=[sky()]), size=(504, 504),
                 further={'K': ((1, 3, 3), onnx.TensorProto.FLOAT)}),
         "nobody fills 'K'"),
    ],
)  # fmt: skip
def test_what_differs_from_a_preset_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], standin: Standin, difference: str
) -> None:
    content = content_of(standin.write(tmp_path / 'graph.onnx'), capsys)
    assert difference in '; '.join(content['differences']['depth_anything_3_metric'])


def test_weights_beside_the_graph_are_looked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = STANDINS['zipdepth'].write(tmp_path / 'graph.onnx')
    model = onnx.load(path)
    model.graph.initializer.append(
        onnx.numpy_helper.from_array(np.zeros(2000, np.float32), 'weights')
    )
    onnx.save(model, path, save_as_external_data=True, location='graph.onnx_data')
    assert 'graph.onnx_data beside it, there' in said_of(path, capsys)
    (tmp_path / 'graph.onnx_data').unlink()
    assert 'graph.onnx_data beside it, missing' in said_of(path, capsys)
    assert content_of(path, capsys)['external_data'] == [
        {'file': 'graph.onnx_data', 'found': False}
    ]


UNKNOWN = Standin(
    image='frame',
    head=plane('range', further=[camera_guess]),
    pixels=UNIT,
    size=(48, 64),
    further={'intrinsics_in': ((1, 3, 3), onnx.TensorProto.FLOAT)},
)
"""Like no preset."""


def test_a_graph_that_nothing_fits_is_answered_with_a_draft(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = said_of(UNKNOWN.write(tmp_path / 'graph.onnx'), capsys)
    assert 'No preset fits; the nearest are' in said
    draft = json.loads(said[said.index('\n{\n') :])
    assert draft['version'] == 2
    assert draft['input']['size'] == {'fixed': [48, 64]}
    assert draft['extra_inputs'][0]['kind'] == 'K3x3'
    assert draft['input']['mean'].startswith(BLANK)


def filled(draft: dict[str, Any]) -> dict[str, Any]:
    """The draft with everything in its blanks that no file says."""
    draft['input'] |= {
        'colour': 'RGB', 'scale': 1.0 / 255.0, 'mean': [0, 0, 0], 'std': [1, 1, 1],
        'resize': 'stretch',
    }  # fmt: skip
    draft['extra_inputs'][0]['at'] = 'network'
    draft['depth'] |= {
        'output': 'range', 'kind': 'up_to_scale', 'unit_m': 1, 'min_m': 0.1, 'max_m': 100,
    }  # fmt: skip
    return draft


def test_a_graph_with_its_manifest_needs_no_other(capsys: pytest.CaptureFixture[str]) -> None:
    said = said_of(next(iter(shipped_models().values())), capsys)
    assert 'needs no preset' in said
    assert BLANK not in said


def test_a_filled_draft_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    standin = Standin(image='frame', head=plane('range'), pixels=UNIT, size=(48, 64))
    path = standin.write(tmp_path / 'graph.onnx')
    main([str(path), '--draft', str(tmp_path / 'graph.json')])
    assert 'is written: fill it in' in capsys.readouterr().err
    draft = json.loads((tmp_path / 'graph.json').read_text())
    draft['extra_inputs'] = [{}]
    draft = filled(draft)
    del draft['extra_inputs']
    (tmp_path / 'graph.json').write_text(json.dumps(draft))
    predictor = Predictor.open(path, backend='onnxruntime')
    grey = np.full((48, 64, 3), 51, np.uint8)
    # 4 + 4 * 51 / 255, see test.foreign
    np.testing.assert_allclose(predictor.predict(grey).depth_m, 4.8, rtol=1e-5)


def test_a_preset_is_adapted_to_another_export(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    standin = Standin(image='image', head=plane('depth', rank=4), size=(280, 518))
    path = standin.write(tmp_path / 'graph.onnx')
    name = 'depth_anything_v2_small_fabio_sim'
    differences = content_of(path, capsys)['differences'][name]
    size, rank = differences
    assert "'image' float32 [1, 3, 280, 518], of one size" in size
    assert (
        "'depth' float32 [1, 1, 280, 518] has 4 axes, the manifest says depth.rank_hint is 3"
        in rank
    )
    main([str(path), '--preset', name, '--draft', str(tmp_path / 'graph.json')])
    said = json.loads((tmp_path / 'graph.json').read_text())
    assert said['input']['size'] == {'fixed': [280, 518]}
    assert said['input']['resize'] == 'stretch'
    assert said['depth']['rank_hint'] == 4
    assert said['depth']['kind'] == 'inverse_affine'
    predictor = Predictor.open(path, backend='onnxruntime')
    black = np.zeros((30, 40, 3), np.uint8)
    np.testing.assert_allclose(predictor.predict(black).depth_m, NEAREST, rtol=1e-5)


def test_a_preset_is_adapted_to_half_precision(tmp_path: Path) -> None:
    standin = replace(STANDINS['dpt_large'], dtype=onnx.TensorProto.FLOAT16)
    path = standin.write(tmp_path / 'graph.onnx')
    with pytest.raises(ModelError, match="the graph takes 'pixel_values' float16"):
        Predictor.open(path, manifest='dpt_large', backend='onnxruntime')
    main([str(path), '--preset', 'dpt_large', '--draft', str(tmp_path / 'graph.json')])
    predictor = Predictor.open(path, backend='onnxruntime')
    grey = np.full((30, 40, 3), 51, np.uint8)
    np.testing.assert_allclose(predictor.predict(grey).depth_m, 4.8, rtol=2e-3)


def test_a_preset_loses_inputs_that_an_export_lacks(tmp_path: Path) -> None:
    standin = Standin(image='rgbs', head=points_first, size=(462, 630))
    path = standin.write(tmp_path / 'graph.onnx')
    draft = tmp_path / 'graph.json'
    main([str(path), '--preset', 'unidepth_v2_camera', '--draft', str(draft)])
    assert 'extra_inputs' not in json.loads(draft.read_text())


def blanks_of(content: Any, where: str = '') -> list[str]:
    """Dotted keys of the blanks."""
    if isinstance(content, dict):
        return [
            key for name, value in content.items() for key in blanks_of(value, f'{where}.{name}')
        ]
    if isinstance(content, list):
        return [
            key for at, value in enumerate(content) for key in blanks_of(value, f'{where}[{at}]')
        ]
    return [where[1:]] if isinstance(content, str) and content.startswith(BLANK) else []


def test_each_blank_that_is_left_is_refused_in_words(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    draft = content_of(UNKNOWN.write(tmp_path / 'graph.onnx'), capsys)['draft']
    blanks = blanks_of(draft)
    assert {'input.mean', 'input.colour', 'depth.kind', 'depth.min_m'} <= set(blanks)
    done = filled(json.loads(json.dumps(draft)))
    assert blanks_of(done) == []
    Manifest.from_json(json.dumps(done))
    for key in blanks:
        left = json.loads(json.dumps(done))
        section: Any = left
        source: Any = draft
        *way, last = key.replace('[0]', '.0').split('.')
        for name in way:
            place: Any = int(name) if name.isdigit() else name
            section, source = section[place], source[place]
        section[last] = source[last]
        with pytest.raises(ConfigError, match=BLANK) as refused:
            Manifest.from_json(json.dumps(left))
        assert key in str(refused.value)


def test_what_is_no_graph_is_refused(tmp_path: Path) -> None:
    (tmp_path / 'graph.onnx').write_bytes(b'no graph')
    with pytest.raises(ModelError, match='is not a whole ONNX file'):
        main([str(tmp_path / 'graph.onnx')])
