# SPDX-License-Identifier: Apache-2.0
"""Training of embedding networks: that they learn, resume exactly, and refuse wrong input."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor, nn

from depth_core.data.sample import DepthDataset, Sample
from depth_core.data.synthetic import SCENE_CLASSES
from depth_core.errors import CheckpointError, ConfigError, DataError
from depth_core.train.embedding import EmbeddingSettings, parse, train_embedding
from depth_core.train.embedding.task import ReconstructionTask, SceneTask
from depth_core.train.settings import DatasetSettings
from depth_core.train.stream import batches
from depth_core.weights.embedding_file import (
    EMBEDDING_KINDS,
    EmbeddingKind,
    read_embedding,
    read_trunk,
)

FOLDER = Path(__file__).resolve().parents[3] / 'config/train/embedding'


def _settings(**changes: Any) -> EmbeddingSettings:
    tiny: dict[str, Any] = {
        'kind': 'heg_s',
        'height': 16,
        'width': 24,
        'train': DatasetSettings(name='synthetic', options={'seed': 1, 'length': 6}),
        'validation': DatasetSettings(name='synthetic', options={'seed': 2, 'length': 3}),
        'max_steps': 4,
        'batch_size': 2,
        'checkpoint_every_steps': 2,
        'validate_every_steps': 2,
        'threads': 1,
    }
    return EmbeddingSettings(**(tiny | changes))


def _sample(depth_m: Tensor, scene_class: int | None = 0) -> Sample:
    """A batch of one."""
    return Sample(
        image=torch.zeros(1, 3, *depth_m.shape),
        depth_m=depth_m.unsqueeze(0),
        valid=torch.isfinite(depth_m).unsqueeze(0),
        intrinsics=torch.eye(3).unsqueeze(0),
        key=('one',),
        scene_class=None if scene_class is None else torch.tensor([scene_class]),
    )


class _Listed(DepthDataset):
    def __init__(self, samples: list[Sample]) -> None:
        self.samples = samples

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Sample:
        item = self.samples[index]
        return Sample(
            image=item.image[0],
            depth_m=item.depth_m[0],
            valid=item.valid[0],
            intrinsics=item.intrinsics[0],
            key=str(index),
            scene_class=None if item.scene_class is None else item.scene_class[0],
        )


def test_sky_is_the_largest_depth_and_a_hole_is_0() -> None:
    depth_m = torch.tensor([[1.0, 200.0], [float('inf'), float('nan')]])
    found = SceneTask(80.0).depth_map(_sample(depth_m))
    assert found.tolist() == [[[[1.0, 80.0], [80.0, 0.0]]]]


def test_a_hole_does_not_count_in_a_reconstruction() -> None:
    depth_m = torch.full((4, 4), 3.0)
    depth_m[0, 0] = float('nan')
    loss = ReconstructionTask(80.0).loss(_Answer(torch.full((1, 1, 4, 4), 5.0)), _sample(depth_m))
    assert float(loss) == pytest.approx(2.0)


class _Answer(nn.Module):
    """Always the same answer."""

    def __init__(self, answer: Tensor) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, depth_m: Tensor) -> Tensor:
        return self.answer.expand(len(depth_m), *self.answer.shape[1:])


def test_accuracy_by_hand() -> None:
    depth_m = torch.ones(4, 4)
    held_out = _Listed([_sample(depth_m, index) for index in (0, 1, 1, 2)])
    scores = torch.zeros(1, len(SCENE_CLASSES))
    scores[0, 2] = 1.0
    task = SceneTask(80.0)
    found = task.scores(_Answer(scores), held_out, batch_size=3)
    assert found == {'accuracy': 0.25, 'accuracy_of_commonest': 0.5}
    assert task.quality(found) == 0.25


def test_errors_of_a_reconstruction_by_hand() -> None:
    """Left half 2 m, right half 6 m; the answer is 3 m, and a hole counts for none."""
    depth_m = torch.full((8, 8), 2.0)
    depth_m[:, 4:] = 6.0
    holed = depth_m.clone()
    holed[0, 0] = float('nan')
    task = ReconstructionTask(80.0)
    answer = _Answer(torch.full((1, 1, 8, 8), 3.0))
    found = task.scores(answer, _Listed([_sample(depth_m)]), batch_size=2)
    assert found['l1_m'] == pytest.approx((1.0 + 3.0) / 2)
    assert found['l1_m_of_mean'] == pytest.approx(2.0)
    # Blocks of 2 and 6 m, enlarged: between their centres 2.5, 3.5, 4.5 and 5.5 m.
    assert found['l1_m_of_blur'] == pytest.approx((0.5 + 1.5) / 4)
    assert task.quality(found) == -found['l1_m']
    some = task.scores(answer, _Listed([_sample(holed)]), batch_size=2)
    assert some['l1_m'] == pytest.approx((31 * 1.0 + 32 * 3.0) / 63)


def test_data_without_scene_classes_is_refused() -> None:
    with pytest.raises(DataError, match='states no class of its scene'):
        SceneTask(80.0).loss(_Answer(torch.zeros(1, 3)), _sample(torch.ones(4, 4), None))


@pytest.mark.parametrize('kind', EMBEDDING_KINDS)
def test_a_run_leaves_a_trunk_and_its_numbers(tmp_path: Path, kind: EmbeddingKind) -> None:
    run = train_embedding(_settings(kind=kind, run_dir=tmp_path / 'run'))
    records = json.loads((run.path / 'metrics.json').read_text(encoding='utf-8'))
    assert [record['step'] for record in records] == [2, 4]
    settings = yaml.safe_load((run.path / 'settings.yaml').read_text(encoding='utf-8'))
    assert settings['kind'] == kind
    assert read_trunk(run.best, kind=kind).channels == (16, 32)
    file = read_embedding(run.best)
    assert file.training is None
    assert file.classes == (SCENE_CLASSES if kind == 'heg_s' else ())
    assert list((run.path / 'tensorboard').iterdir())


@pytest.mark.parametrize('kind', EMBEDDING_KINDS)
def test_two_and_two_steps_are_four(
    tmp_path: Path, kind: EmbeddingKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train_embedding(_settings(kind=kind, run_dir=tmp_path / 'whole'))

    def ending(*given: Any, **options: Any) -> Iterator[Sample]:
        return itertools.islice(batches(*given, **options), 2)

    with monkeypatch.context() as patch:  # as if it had been stopped after two steps
        patch.setattr('depth_core.train.embedding.loop.batches', ending)
        cut = train_embedding(_settings(kind=kind, run_dir=tmp_path / 'cut'))
    rest = train_embedding(_settings(kind=kind, run_dir=cut.path, resume=True, workers=1))
    first, second = read_embedding(whole.last), read_embedding(rest.last)
    assert first.training is not None
    assert second.training is not None
    for key, value in first.network.state_dict().items():
        assert torch.equal(value, second.network.state_dict()[key]), key
    torch.testing.assert_close(
        first.training['optimizer'], second.training['optimizer'], rtol=0.0, atol=0.0
    )
    assert first.training['records'] == second.training['records']


def test_norm_layers_keep_their_statistics_from_a_share_of_the_run_on(tmp_path: Path) -> None:
    key = 'trunk.features.1.num_batches_tracked'
    for share, counted in ((0.0, 0), (0.5, 2), (0.6, 3), (1.0, 4)):
        run = train_embedding(_settings(run_dir=tmp_path / str(share), norm_frozen_from=share))
        assert int(read_embedding(run.last).network.state_dict()[key]) == counted


def test_another_run_is_not_written_over_nor_continued(tmp_path: Path) -> None:
    settings = _settings(run_dir=tmp_path / 'run')
    run = train_embedding(settings)
    with pytest.raises(ConfigError, match='already holds a run'):
        train_embedding(settings)
    with pytest.raises(CheckpointError, match=r'lr: 0\.001 in the checkpoint, 0\.5 now'):
        train_embedding(_settings(run_dir=run.path, resume=True, lr=0.5))
    with pytest.raises(CheckpointError, match='nothing is left'):
        train_embedding(_settings(run_dir=run.path, resume=True))
    with pytest.raises(CheckpointError, match='does not exist'):
        train_embedding(_settings(run_dir=tmp_path / 'none', resume=True))


def test_a_reconstruction_soon_beats_the_mean(tmp_path: Path) -> None:
    options = {'length': 24, 'scenes': SCENE_CLASSES[0]}
    settings = _settings(
        kind='heg_r',
        run_dir=tmp_path / 'run',
        train=DatasetSettings(name='synthetic', options={**options, 'seed': 1}),
        validation=DatasetSettings(name='synthetic', options={**options, 'seed': 2}),
        max_steps=80,
        batch_size=8,
        lr=1e-2,
        validate_every_steps=80,
        cache=tmp_path / 'cache',
    )
    run = train_embedding(settings)
    (record,) = json.loads((run.path / 'metrics.json').read_text(encoding='utf-8'))
    assert record['l1_m'] < 0.6 * record['l1_m_of_mean']


def test_contradictions_are_named(tmp_path: Path) -> None:
    same = DatasetSettings(name='synthetic', options={'seed': 1, 'length': 4})
    with pytest.raises(ConfigError) as error:
        _settings(
            kind='heg_r',
            run_dir=tmp_path,
            height=18,
            batch_size=1,
            lr=0.0,
            max_steps=0,
            train=same,
            validation=same,
            norm_frozen_from=1.5,
        )
    for text in (
        'height x width is 18x24',
        'batch_size is 1; give at least 2',
        'max_steps is 0',
        'norm_frozen_from is 1.5',
        'lr is 0.0; give more than 0',
        'validation is the same as train',
    ):
        assert text in str(error.value)
    with pytest.raises(ConfigError, match=r'train\.name is not given'):
        _settings(run_dir=tmp_path, train=DatasetSettings())
    listed = DatasetSettings(name='synthetic', options={'seed': 1}, frames=tmp_path)
    with pytest.raises(ConfigError, match=r'train\.frames'):
        _settings(run_dir=tmp_path, train=listed)


@pytest.mark.parametrize('name', sorted(path.stem for path in FOLDER.glob('*.yaml')))
def test_every_configuration_takes_a_step(tmp_path: Path, name: str) -> None:
    arguments = [
        '--config', str(FOLDER / f'{name}.yaml'), '--run_dir', str(tmp_path / 'run'),
        '--height', '16', '--width', '16', '--train.options.length', '4',
        '--validation.options.length=2', '--cache', str(tmp_path / 'cache'), '--workers', '0',
        '--max_steps', '1', '--batch_size', '2', '--threads', '1',
    ]  # fmt: skip
    run = train_embedding(parse(arguments))
    assert read_embedding(run.best).kind == name.rpartition('_')[0]


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['--knd', 'heg_s'], "did you mean 'kind'"),
        (['--train.nam', 'synthetic'], "did you mean 'train.name'"),
        (['--config', 'absent.yaml'], r'absent\.yaml does not exist'),
        (['--kind', 'heg_q', '--run_dir', 'x', '--height', '8', '--width', '8'], 'heg_q'),
        (['--kind', 'heg_s', '--run_dir', 'x', '--height', '8', '--width', 'w'], 'width'),
        ([], 'kind'),
    ],
)
def test_wrong_arguments_are_answered(arguments: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse(arguments)


@pytest.mark.parametrize(
    ('content', 'message'),
    [('- 1', 'holds list'), ('a: [', 'is not YAML'), ('kind: heg_s\nlrr: 1', "did you mean 'lr'")],
)
def test_a_wrong_file_is_answered(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / 'heg.yaml'
    path.write_text(content, encoding='utf-8')
    with pytest.raises(ConfigError, match=message):
        parse([f'--config={path}'])


def test_the_command_ends_with_one_message(repository: Path) -> None:
    command = [sys.executable, '-m', 'depth_core.train.embedding', '--config', 'absent.yaml']
    result = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert result.stderr.startswith('error: configuration file absent.yaml')
    assert 'Traceback' not in result.stderr
