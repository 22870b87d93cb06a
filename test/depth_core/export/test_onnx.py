# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from depth_core.contracts import DepthKind
from depth_core.errors import BackendError, ConfigError, DepthError, ExportError, ModelError
from depth_core.export import OPSET, export_onnx
from depth_core.export import __main__ as command
from depth_core.export.__main__ import main
from depth_core.export.onnx import weights_sha256
from depth_core.manifest import METADATA_KEY, Manifest, read_manifest
from depth_core.models import DepthModel, ModelSpec, Prediction, create_model
from depth_core.runtime import Predictor
from depth_core.runtime.backends import BackendRequest, open_named
from depth_core.runtime.engine.answers import answer_all, read_answers
from depth_core.weights.checkpoint import load_model, save_model
from test.fakes.installation import installed
from test.rounding import assert_within_rounding, in_both_precisions

pytestmark = pytest.mark.numeric

BACKENDS: tuple[str, ...] = ('onnxruntime', 'openvino')
if os.environ.get('ONEDNN_MAX_CPU_ISA') == 'SSE41':
    # OpenVINO compiles a convolution for the processor that is there, and fails when it may not
    # use what that can do; a processor that can do no more has no such conflict.
    BACKENDS = BACKENDS[:1]


class TinyModel(DepthModel):
    """One convolution, a resize and a range: what exporters stumble over, in milliseconds."""

    def __init__(
        self, *, exported_factor: float = 1.0, gain: float = 1.0, free_size: bool = False
    ) -> None:
        super().__init__()
        self.spec = ModelSpec(
            name='tiny',
            family='densedepth',
            kind=DepthKind.METRIC,
            min_depth=0.5,
            max_depth=80.0,
            divisor=8,
            default_size=(24, 32),
            free_size=free_size,
        )
        self.options = {'gain': gain, 'sizes': (1, 2)}
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 2, 3, padding=1, stride=2)
        self.norm = nn.BatchNorm2d(2)
        self._exported_factor = exported_factor
        self._gain = gain

    def forward(self, images: Tensor) -> Prediction:
        self.check_input(images)
        raw = self.norm(self.conv(images)) * self._gain
        if torch.compiler.is_exporting():
            raw = raw * self._exported_factor
        raw = nn.functional.interpolate(raw, scale_factor=2.0, mode='bilinear')
        depth = (5.0 + 3.0 * raw[:, 0]).clamp(0.5, 80.0)
        return Prediction(depth=depth, sigma=0.05 * depth * torch.exp(0.1 * raw[:, 1]))

    def official_forward(self, x: Tensor) -> dict[str, Tensor]:
        return {'out': self(x).depth}


class Crowded(TinyModel):
    """Answers each image by all of the batch."""

    def forward(self, images: Tensor) -> Prediction:
        return super().forward(images.mean(dim=0, keepdim=True).expand_as(images))


class Untraceable(TinyModel):
    def forward(self, images: Tensor) -> Prediction:
        if images.mean() > 0.5:
            return super().forward(images * 2.0)
        return super().forward(images)


@pytest.fixture(scope='module')
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp('export') / 'tiny.onnx'
    training = {'command': 'python -m depth_core.train', 'licence': 'CC0'}
    export_onnx(TinyModel(), path, height=40, width=48, training=training, licence='CC0')
    return path


def test_some_answers_are_stored_beside_the_graph(exported: Path) -> None:
    stored = read_answers(exported)
    backend = open_named('onnxruntime', BackendRequest(path=exported))
    answered = answer_all(backend, reference='now')
    np.testing.assert_allclose(stored.depth, stored.sample(answered.depth), rtol=1e-6)
    assert stored.sigma is not None
    assert stored.reference.startswith('the graph on ONNX Runtime, as stored in')


def test_the_graph_keeps_the_contract(exported: Path) -> None:
    model = onnx.load(exported, load_external_data=False)
    onnx.checker.check_model(model, full_check=True)
    assert {item.domain: item.version for item in model.opset_import} == {'': OPSET}
    assert OPSET == 18
    described = [
        (
            item.name,
            item.type.tensor_type.elem_type,
            [size.dim_value for size in item.type.tensor_type.shape.dim],
        )
        for item in (*model.graph.input, *model.graph.output)
    ]
    assert described == [
        ('image', onnx.TensorProto.UINT8, [1, 40, 48, 3]),
        ('depth', onnx.TensorProto.FLOAT, [1, 40, 48]),
        ('sigma', onnx.TensorProto.FLOAT, [1, 40, 48]),
    ]
    assert all(not item.external_data for item in model.graph.initializer)
    assert sorted(path.name for path in exported.parent.iterdir()) == [
        'tiny.answers.npz',
        'tiny.json',
        'tiny.onnx',
    ]


def test_the_manifest_is_inside_and_beside(exported: Path) -> None:
    beside = exported.with_suffix('.json').read_text(encoding='utf-8')
    entries = {item.key: item.value for item in onnx.load(exported).metadata_props}
    assert entries == {METADATA_KEY: beside}
    manifest = read_manifest(exported)
    assert manifest == Manifest.from_json(beside)
    assert (manifest.name, manifest.family, manifest.divisor) == ('tiny', 'densedepth', 8)
    assert manifest.options == {'gain': 1.0, 'sizes': [1, 2]}
    assert manifest.training['command'] == 'python -m depth_core.train'
    assert manifest.licence == 'CC0'
    assert set(manifest.versions) == {'depth_ros', 'torch', 'onnx', 'onnxscript', 'onnxruntime'}
    assert manifest.versions['depth_ros'][0].isdigit()
    assert len(manifest.weights_sha256) == 64


def test_the_proof_is_recorded(exported: Path) -> None:
    parity = read_manifest(exported).parity
    assert parity is not None
    assert parity.images >= 3
    assert 0.0 <= parity.depth_max_rel < 1e-5
    assert 0.0 <= parity.sigma_max_rel < 1e-5
    assert parity.tolerance == 1e-3


def test_nothing_of_the_machine_is_left_inside(exported: Path, repository: Path) -> None:
    content = exported.read_bytes()
    assert str(repository).encode() not in content
    assert b'stack_trace' not in content
    assert b'.py' not in content.replace(b'python -m', b'')


@pytest.mark.parametrize('backend', BACKENDS)
def test_backends_answer_as_the_network(exported: Path, backend: str) -> None:
    image = np.random.default_rng(5).integers(0, 256, (40, 48, 3), dtype=np.uint8)
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None] / 255.0
    model = TinyModel().eval()

    def run(dtype: torch.dtype) -> dict[str, Tensor]:
        prediction = model(pixels.to(dtype))
        return {'depth': prediction.depth[0], 'sigma': prediction.sigma[0]}

    answer = Predictor.open(exported, backend=backend, threads=1).predict(image)
    assert answer.sigma_m is not None
    answers = {
        'depth': torch.from_numpy(answer.depth_m), 'sigma': torch.from_numpy(answer.sigma_m)
    }  # fmt: skip
    assert_within_rounding(in_both_precisions(model, run), answers, ceiling=1e-5)


def test_a_free_batch_answers_each_image_as_alone(tmp_path: Path) -> None:
    path = tmp_path / 'free.onnx'
    manifest = export_onnx(TinyModel(), path, batch=0)
    assert manifest.input.batch == 0
    assert read_manifest(path) == manifest
    graph = onnx.load(path).graph
    for item in (*graph.input, *graph.output):
        assert item.type.tensor_type.shape.dim[0].dim_param == 'batch'
    session = onnxruntime.InferenceSession(path)
    images = np.random.default_rng(5).integers(0, 256, (4, 24, 32, 3), dtype=np.uint8)
    together = session.run(None, {'image': images})
    alone = [session.run(None, {'image': image[None]}) for image in images]
    for index, name in enumerate(('depth', 'sigma')):
        found = np.concatenate([answer[index] for answer in alone])
        np.testing.assert_allclose(found, together[index], rtol=1e-5, err_msg=name)


def test_a_free_batch_that_mixes_its_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match='differs by up to'):
        export_onnx(Crowded(), tmp_path / 'free.onnx', batch=0)
    assert list(tmp_path.iterdir()) == []


def test_a_batch_of_a_fixed_number(tmp_path: Path) -> None:
    manifest = export_onnx(TinyModel(), tmp_path / 'two.onnx', batch=2)
    assert manifest.input.batch == 2
    graph = onnx.load(tmp_path / 'two.onnx').graph
    assert [size.dim_value for size in graph.input[0].type.tensor_type.shape.dim] == [2, 24, 32, 3]


def test_the_size_is_the_networks_own_when_left_out(tmp_path: Path) -> None:
    manifest = export_onnx(TinyModel(), tmp_path / 'tiny.onnx')
    assert (manifest.input.height, manifest.input.width) == (24, 32)


def test_the_hash_is_of_the_weights(exported: Path) -> None:
    recorded = read_manifest(exported).weights_sha256
    assert weights_sha256(TinyModel()) == recorded
    other = TinyModel()
    with torch.no_grad():
        other.norm.bias[0] += 1e-3
    assert weights_sha256(other) != recorded


def test_a_graph_that_answers_otherwise_is_refused(exported: Path, tmp_path: Path) -> None:
    path = tmp_path / 'tiny.onnx'
    path.write_bytes(exported.read_bytes())
    with pytest.raises(ExportError, match=r'depth differs by up to 0\.\d+ \(\d') as caught:
        export_onnx(TinyModel(exported_factor=1.05), path)
    assert 'Nothing was written' in str(caught.value)
    assert path.read_bytes() == exported.read_bytes()
    assert list(tmp_path.iterdir()) == [path]


def test_weights_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match='not finite'):
        export_onnx(TinyModel(gain=float('nan')), tmp_path / 'tiny.onnx')
    assert list(tmp_path.iterdir()) == []


def test_a_network_that_cannot_be_traced_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match='tiny cannot be expressed in ONNX opset 18'):
        export_onnx(Untraceable(), tmp_path / 'tiny.onnx')
    assert list(tmp_path.iterdir()) == []


def test_wrong_requests_are_refused_before_work(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r'20x32.*multiples of 8.*24x32'):
        export_onnx(TinyModel(), tmp_path / 'tiny.onnx', height=20, width=32)
    with pytest.raises(ConfigError, match=r'does not end in \.onnx'):
        export_onnx(TinyModel(), tmp_path / 'tiny.trt')
    with pytest.raises(ConfigError, match=r'input\.batch is -1'):
        export_onnx(TinyModel(), tmp_path / 'tiny.onnx', batch=-1)
    with pytest.raises(ConfigError, match='give both'):
        export_onnx(TinyModel(), tmp_path / 'tiny.onnx', height=24)
    (tmp_path / 'file').write_text('', encoding='utf-8')
    with pytest.raises(DepthError, match='cannot write'):
        export_onnx(TinyModel(), tmp_path / 'file' / 'tiny.onnx')


def test_the_command_exports_a_checkpoint_that_answers_the_same_and_builds_its_engine(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(1)
    model = create_model(
        'densedepth_small',
        encoder='mobilenetv3_small_050',
        decoder_channels=(16, 16, 16, 8, 8),
    )
    checkpoint, output = tmp_path / 'a.ckpt', tmp_path / 'out' / 'a.onnx'
    made_with = {'command': 'none', 'licence': 'CC-BY-4.0', 'height': 128, 'width': 160}
    save_model(checkpoint, model, provenance=made_with)
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    with installed():
        asked = ['--checkpoint', str(checkpoint), '--output', str(output), '--no-free_size']
        asked += ['--trainable']
        main([*asked, '--engine'])
    said = capsys.readouterr().out
    assert 'opset 18' in said
    assert f'{output}: fp32 engine' in said
    assert 'tensorrt 10.3.0 for Fake GPU' in said
    assert 'depth within' in said.splitlines()[-1]
    assert '[1, 128, 160, 3] RGB' in said  # as it was trained
    assert f'{output.with_suffix(".ckpt")}: its weights to start training from' in said
    kept = load_model(output.with_suffix('.ckpt')).state_dict()
    for key, value in model.state_dict().items():
        torch.testing.assert_close(kept[key], value, rtol=2e-3, atol=1e-6, check_dtype=False)
    manifest = read_manifest(output)
    assert manifest.options['encoder'] == 'mobilenetv3_small_050'
    assert manifest.licence == 'CC-BY-4.0'
    image = np.random.default_rng(5).integers(0, 256, (480, 640, 3), dtype=np.uint8)
    reference = Predictor.open(checkpoint, threads=1)
    assert reference.backend == 'torch'
    expected = reference.predict(image)
    for backend in BACKENDS:
        answer = Predictor.open(output, backend=backend, threads=1).predict(image)
        np.testing.assert_allclose(answer.depth_m, expected.depth_m, rtol=1e-4)
        np.testing.assert_allclose(answer.sigma_m, expected.sigma_m, rtol=1e-3)


def test_the_graph_is_kept_where_no_engine_can_be_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / 'tiny.onnx'
    monkeypatch.setattr(command, 'read_checkpoint', lambda _: Checkpointed())
    monkeypatch.setattr(command, 'network_of', lambda _, source: TinyModel())  # noqa: ARG005
    monkeypatch.setenv('FAKE_GPU_DRIVER', 'none')
    with installed(), pytest.raises(BackendError, match='driver'):
        main(['--checkpoint', 'a.ckpt', '--output', str(output), '--engine'])
    assert 'opset 18' in capsys.readouterr().out
    assert read_manifest(output).name == 'tiny'
    with installed(absent=('tensorrt', 'tensorrt_rtx')), pytest.raises(BackendError) as caught:
        main(['--onnx', str(output), '--engine'])
    assert 'tensorrt is not installed' in str(caught.value)
    assert 'tensorrt-rtx is not installed' in str(caught.value)
    with pytest.raises(ConfigError, match='--max_batch is for building an engine; add --engine'):
        main(['--checkpoint', 'a.ckpt', '--output', str(output), '--max_batch', '2'])
    with pytest.raises(ConfigError, match='--target cpu is for processors'):
        main(['--onnx', str(output), '--engine', '--precision', 'int8', '--target', 'cpu'])


class Checkpointed:
    """A checkpoint that states nothing."""

    provenance = None


def test_the_command_refuses_what_is_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(DepthError, match=r'a\.ckpt does not exist'):
        main(['--checkpoint', str(tmp_path / 'a.ckpt'), '--output', str(tmp_path / 'a.onnx')])
    (tmp_path / 'b.ckpt').write_bytes(b'no checkpoint')
    with pytest.raises(DepthError, match=r'b\.ckpt'):
        main(['--checkpoint', str(tmp_path / 'b.ckpt'), '--output', str(tmp_path / 'a.onnx')])
    with pytest.raises(ConfigError, match="--batch: 'some' is not a whole number"):
        main(['--checkpoint', 'a', '--output', 'b', '--batch', 'some'])
    with pytest.raises(ConfigError, match="did you mean '--height'"):
        main(['--checkpoint', 'a', '--output', 'b', '--heigth', '3'])
