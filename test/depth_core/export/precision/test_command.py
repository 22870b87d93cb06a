# SPDX-License-Identifier: Apache-2.0
"""A network in every precision, and what is refused."""

from __future__ import annotations

import dataclasses
import hashlib
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from depth_core.errors import ConfigError, DataError, ExportError, ModelError
from depth_core.export.__main__ import main
from depth_core.export.precision.emulation import emulated
from depth_core.export.precision.graph import HEAVY, Graph, load_graph
from depth_core.export.precision.image_sets import image_sets
from depth_core.export.precision.measure import answers, compare
from depth_core.export.precision.mixed import to_mixed
from depth_core.export.precision.rule import nodes_in_fp32, tail
from depth_core.export.precision.sessions import ModelBackend
from depth_core.manifest import ExtraInput, manifest_path, read_manifest, write_manifest
from depth_core.models import create_model
from depth_core.runtime import Predictor
from depth_core.runtime.engine.api import load_tensorrt
from depth_core.runtime.engine.build import build_plan
from depth_core.runtime.engine.options import EngineOptions
from depth_core.weights.checkpoint import save_model
from test.depth_core.export.precision.graphs import MANIFEST, conv, model, node, weights
from test.exports import Exports
from test.fakes.installation import installed

IMAGE = np.random.default_rng(7).integers(0, 256, (12, 16, 3), dtype=np.uint8).repeat(
    20, axis=0
).repeat(20, axis=1)  # fmt: skip


@pytest.fixture(scope='module')
def small(exports: Exports, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small network, with all its precisions beside it."""
    path = tmp_path_factory.mktemp('precision') / 'm.onnx'
    shutil.copy(exports('densedepth_small'), path)
    main(['--onnx', str(path), '--precision', 'fp16'])
    main(['--onnx', str(path), '--precision', 'int8'])
    main(['--onnx', str(path), '--precision', 'int8', '--target', 'cpu'])
    return path


def test_a_graph_that_is_exchanged_while_it_is_read_is_refused(
    exports: Exports, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / 'm.onnx'
    shutil.copy(exports('densedepth_small'), path)

    def loaded(source: Path) -> onnx.ModelProto:
        graph = load_graph(source)
        shutil.copy(exports('densedepth_small'), path)  # as an export that ends meanwhile
        return graph

    monkeypatch.setattr('depth_core.export.precision.make.load_graph', loaded)
    with pytest.raises(DataError, match=r'm\.onnx was changed while it was read'):
        main(['--onnx', str(path), '--precision', 'fp16'])
    assert [file.name for file in tmp_path.iterdir()] == ['m.onnx']


@dataclass(frozen=True, kw_only=True)
class Made:
    """What is expected of a file."""

    suffix: str
    precision: str
    target: str
    method: str
    p999: float


@pytest.mark.parametrize(
    'made',
    [
        Made(suffix='fp16', precision='fp16', target='', method='rounded emulation', p999=3e-3),
        Made(
            suffix='int8', precision='int8', target='tensorrt', method='Q/DQ as written', p999=0.15
        ),
        Made(suffix='int8_cpu', precision='int8', target='cpu', method='onnxruntime', p999=0.15),
    ],
    ids=lambda made: made.suffix,
)
def test_each_file_says_what_it_is_and_what_it_costs(small: Path, made: Made) -> None:
    path = small.with_name(f'm.{made.suffix}.onnx')
    manifest, source = read_manifest(path), read_manifest(small)
    assert manifest == read_manifest(manifest_path(path))
    assert (manifest.precision, manifest.precision_target) == (made.precision, made.target)
    assert (manifest.input, manifest.output) == (source.input, source.output)
    assert manifest.weights_sha256 == source.weights_sha256
    assert manifest.calibration == '5 images drawn with seed 20240229'
    assert manifest.parity is None  # that of the fp32 graph proves nothing of this one
    error = manifest.precision_error
    assert error is not None
    assert error.reference == 'm.onnx'
    assert error.reference_sha256 == hashlib.sha256(small.read_bytes()).hexdigest()
    assert (error.method, error.image_count) == (made.method, 5)
    assert error.images == '5 images drawn with seed 20240230'
    assert error.sigma is not None
    for spread in (error.depth, error.sigma):
        assert 0.0 < spread.mean < spread.p999 <= spread.max
        assert spread.p999 < made.p999
    assert error.noise_depth is not None
    assert error.abs_rel_change is None
    graph = onnx.load(path)
    onnx.checker.check_model(graph, full_check=True)
    assert [item.version for item in graph.opset_import] == [18]
    assert path.stat().st_size < 0.62 * small.stat().st_size


def test_onnx_runtime_runs_what_is_for_processors(small: Path) -> None:
    expected = Predictor.open(small, backend='onnxruntime').predict(IMAGE)
    half = Predictor.open(small.with_name('m.fp16.onnx'), backend='onnxruntime').predict(IMAGE)
    whole = Predictor.open(small, backend='onnxruntime', precision='int8').predict(IMAGE)
    for found, allowed in ((half, 0.01), (whole, 0.25)):
        np.testing.assert_allclose(found.depth_m, expected.depth_m, rtol=allowed)
        np.testing.assert_allclose(found.sigma_m, expected.sigma_m, rtol=allowed)
        assert (found.depth_m != expected.depth_m).any()


@pytest.mark.parametrize('version', ['10.3.0', '11.4.0'])
def test_int8_for_tensorrt_is_built_compared_and_served(
    small: Path, tmp_path: Path, version: str
) -> None:
    options = EngineOptions(cache_dir=tmp_path / 'engines')
    whole = Predictor.open(small, backend='onnxruntime').predict(IMAGE)
    with installed(version=version):
        predictor = Predictor.open(
            small, backend='tensorrt', precision='int8', strict=True, engine=options
        )
        answer = predictor.predict(IMAGE)
    assert predictor.precision == 'int8'
    assert predictor.engine is not None
    assert 'of the graph on' in predictor.engine.agreement
    off = np.abs(answer.depth_m / whole.depth_m - 1.0)
    assert 1e-4 < off.mean() < 0.1


@pytest.mark.parametrize('suffix', ['fp16', 'int8'])
def test_tensorrt_builds_each_file_of_its_own(small: Path, suffix: str) -> None:
    pytest.importorskip('tensorrt_rtx', reason='TensorRT for RTX is for x86-64 machines')
    path = small.with_name(f'm.{suffix}.onnx')
    plan = build_plan(
        load_tensorrt('tensorrt-rtx'),
        path,
        read_manifest(path),
        precision='fp16' if suffix == 'fp16' else 'int8',
        options=EngineOptions(),
        targets=('8.6',),
    )
    assert len(plan) > 1_000_000


def test_the_tail_in_fp16_costs_twice_the_error_and_more(small: Path) -> None:
    graph, manifest = Graph(load_graph(small)), read_manifest(small)
    _, images = image_sets(None, manifest)
    expected = answers(ModelBackend(graph.model, manifest, optimise=True), images.inputs)

    def mean(kept: set[int]) -> float:
        mixed = emulated(to_mixed(graph, kept))
        found = answers(ModelBackend(mixed, manifest, optimise=False), images.inputs)
        return compare(expected, found, manifest.output)[0].mean

    kept = set(nodes_in_fp32(graph, {}))
    with_rule, without = mean(kept), mean(kept - tail(graph))
    assert 0.0 < with_rule < 6e-4
    assert without > 2.0 * with_rule


def test_most_of_the_work_is_in_fp16(small: Path) -> None:
    graph = load_graph(small.with_name('m.fp16.onnx'))
    halves = {
        item.name for item in graph.graph.initializer if item.data_type == onnx.TensorProto.FLOAT16
    }
    heavy = [item for item in graph.graph.node if item.op_type in HEAVY]
    assert len(heavy) == 64
    assert all(item.input[1] in halves for item in heavy)
    casts = [item for item in graph.graph.node if item.op_type == 'Cast']
    means = [item for item in graph.graph.node if item.op_type == 'ReduceMean']
    assert len(casts) <= 1 + 2 * len(means) + 8  # the image, each mean there and back, the heads
    assert not any(item.op_type == 'Identity' for item in graph.graph.node)


def test_a_difference_above_the_limit_is_refused_and_leaves_nothing(
    small: Path, tmp_path: Path
) -> None:
    path = tmp_path / 'm.onnx'
    shutil.copy(small, path)
    with pytest.raises(ExportError, match=r'm in fp16 .* within 0\.00\d+, allowed 0\.0001;'):
        main(['--onnx', str(path), '--precision', 'fp16', '--max_error', '0.0001', '0.5'])
    with pytest.raises(ExportError, match=r'depth: largest 0\.00\d+, allowed 0\.0001'):
        main(['--onnx', str(path), '--precision', 'fp16', '--max_error', '0.0001'])
    assert list(tmp_path.iterdir()) == [path]


def test_a_checkpoint_is_written_in_fp32_and_in_fp16(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.manual_seed(1)
    network = create_model(
        'densedepth_small', encoder='mobilenetv3_small_050', decoder_channels=(16, 16, 16, 8, 8)
    )
    checkpoint, output = tmp_path / 'a.ckpt', tmp_path / 'a.onnx'
    save_model(checkpoint, network, provenance={'height': 64, 'width': 96})
    asked = ['--checkpoint', str(checkpoint), '--output', str(output), '--no-free_size']
    main([*asked, '--precision', 'fp16'])
    said = capsys.readouterr().out
    assert f'{output}: densedepth_small' in said
    assert f'{tmp_path / "a.fp16.onnx"}: fp16' in said
    assert '99.9 % within' in said
    assert read_manifest(output).precision == 'fp32'
    assert read_manifest(tmp_path / 'a.fp16.onnx').precision == 'fp16'


def foreign(path: Path, nodes: list[onnx.NodeProto]) -> Path:
    """Write a graph without a manifest inside, and one beside it."""
    onnx.save(model(nodes, {'w': weights(3, 3, 1, 1), 'w1': weights(1, 3, 1, 1)}), path)
    write_manifest(manifest_path(path), MANIFEST)
    return path


def test_a_foreign_graph_with_a_manifest_beside_it_is_converted(tmp_path: Path) -> None:
    nodes = [
        conv('image', 'a'),
        node('Relu', ['a'], ['b']),
        conv('b', 'c', 'w1'),
        node('Softplus', ['c'], ['depth']),
    ]
    path = foreign(tmp_path / 'f.onnx', nodes)
    main(['--onnx', str(path), '--precision', 'fp16'])
    manifest = read_manifest(tmp_path / 'f.fp16.onnx')
    assert (manifest.name, manifest.precision) == ('small', 'fp16')
    assert manifest.precision_error is not None
    assert manifest.precision_error.sigma is None


def camera_graph(path: Path) -> Path:
    """Write a graph that takes the matrix of the camera too, and gives depth per focal length."""
    source = model(
        [
            conv('image', 'a'),
            node('Relu', ['a'], ['b']),
            conv('b', 'c', 'w3'),
            conv('c', 'd', 'w1'),
            node('Softplus', ['d'], ['e']),
            node('ReduceMax', ['K'], ['f'], keepdims=0),
            node('Mul', ['e', 'f'], ['depth']),
        ],
        {'w': weights(3, 3, 1, 1), 'w3': weights(3, 3, 1, 1, seed=1), 'w1': weights(1, 3, 1, 1)},
    )
    source.graph.input.append(
        onnx.helper.make_tensor_value_info('K', onnx.TensorProto.FLOAT, (1, 3, 3))
    )
    onnx.save(source, path)
    camera = ExtraInput(name='K', kind='K3x3')
    write_manifest(manifest_path(path), dataclasses.replace(MANIFEST, extra_inputs=(camera,)))
    return path


@pytest.mark.parametrize('precision', ['fp16', 'int8'])
def test_a_graph_that_takes_the_camera_is_converted(precision: str, tmp_path: Path) -> None:
    path = camera_graph(tmp_path / 'f.onnx')
    main(['--onnx', str(path), '--precision', precision, '--max_error', '1'])
    manifest = read_manifest(tmp_path / f'f.{precision}.onnx')
    assert [item.name for item in manifest.extra_inputs] == ['K']
    assert manifest.precision_error is not None
    assert 0.0 < manifest.precision_error.depth.mean < 0.1


def test_a_manifest_of_another_graph_is_refused(tmp_path: Path) -> None:
    path = foreign(tmp_path / 'f.onnx', [conv('image', 'depth', 'w1')])
    larger = dataclasses.replace(MANIFEST.input, height=16)
    write_manifest(manifest_path(path), dataclasses.replace(MANIFEST, input=larger))
    with pytest.raises(ModelError, match=r'f\.onnx is not what its manifest describes: .*16'):
        main(['--onnx', str(path), '--precision', 'fp16'])
    assert not (tmp_path / 'f.fp16.onnx').exists()


def test_a_change_of_abs_rel_is_measured_where_truth_is_given(
    exports: Exports, tmp_path: Path
) -> None:
    path = tmp_path / 'm.onnx'
    shutil.copy(exports('densedepth_small'), path)
    command = ['--onnx', str(path), '--precision', 'fp16', '--protocol', 'none']
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr('depth_core.export.precision.image_sets.MOST', 2)
        main([*command, '--truth', 'synthetic'])
    error = read_manifest(tmp_path / 'm.fp16.onnx').precision_error
    assert error is not None
    assert error.abs_rel_change is not None
    assert 0.0 < abs(error.abs_rel_change) < 1e-2
    assert error.abs_rel_set.startswith('2 images of the synthetic data under none: 1.')


@pytest.mark.parametrize(
    ('given', 'said'),
    [
        (['--onnx', 'm.onnx'], r'say what to make of it, as with --precision fp16'),
        (['--onnx', 'm.onnx', '--output', 'n.onnx'], r'--output is for a --checkpoint'),
        (['--checkpoint', 'a.ckpt'], r'--output is missing'),
        (['--checkpoint', 'a.ckpt', '--onnx', 'm.onnx'], r'not allowed with'),
        (['--onnx', 'm.onnx', '--precision', 'fp8'], r"invalid choice: 'fp8'"),
        (
            ['--onnx', 'm.onnx', '--precision', 'fp16', '--target', 'cpu'],
            r'--target has no effect',
        ),
        (['--onnx', 'm', '--precision', 'int8', '--fp16_method', 'rule'], r'--fp16_method has no'),
        (
            ['--checkpoint', 'a', '--output', 'b', '--calibration', 'c'],
            r'--calibration has no effect with --precision fp32',
        ),
        (['--onnx', 'm', '--precision', 'fp16', '--protocol', 'none'], r'give that with --truth'),
        (['--onnx', 'm', '--precision', 'fp16', '--max_error', '1', '2', '3'], r'has 3 numbers'),
        (['--onnx', 'm', '--precision', 'fp16', '--max_error', '-1'], r'not a number above 0'),
    ],
)
def test_options_that_contradict_each_other_are_refused(given: list[str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        main(given)


def test_a_graph_of_another_precision_is_refused(small: Path) -> None:
    half = small.with_name('m.fp16.onnx')
    with pytest.raises(
        ConfigError, match=r'm\.fp16\.onnx computes in fp16 already; give the fp32'
    ):
        main(['--onnx', str(half), '--precision', 'int8'])


def test_a_graph_that_is_too_large_for_one_message_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr('depth_core.export.precision.graph._LARGEST', 40)
    path = foreign(tmp_path / 'f.onnx', [conv('image', 'depth', 'w1')])
    with pytest.raises(ExportError, match=r'take 48 bytes, .* Run it in fp32, or choose'):
        main(['--onnx', str(path), '--precision', 'fp16'])


def test_a_graph_with_nothing_to_gain_is_refused(tmp_path: Path) -> None:
    path = foreign(tmp_path / 'f.onnx', [node('ReduceMean', ['image'], ['depth'])])
    with pytest.raises(ExportError, match='no convolution or matrix product whose numbers fit'):
        main(['--onnx', str(path), '--precision', 'fp16'])


def test_autocast_that_is_not_installed_is_refused_in_words(
    small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, 'modelopt.onnx.autocast', None)
    with pytest.raises(ConfigError, match=r"needs nvidia-modelopt.*pip install 'nvidia-modelopt"):
        main(['--onnx', str(small), '--precision', 'fp16', '--fp16_method', 'autocast'])
