# SPDX-License-Identifier: Apache-2.0
"""Training of embedding networks: that they learn, resume exactly, and refuse wrong input."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from depth_core.data.sample import Sample
from depth_core.data.synthetic import SCENE_CLASSES
from depth_core.errors import CheckpointError, ConfigError, DataError, run_command
from depth_core.models.cliffnet.embedding import ReconstructionEmbedding, SceneEmbedding
from depth_core.train.embedding import main
from depth_core.train.recipes.embedding import (
    EmbeddingRecipe,
    EmbeddingStep,
    ReconstructionScorer,
    SceneScorer,
    depth_map,
)
from depth_core.train.run_folder import RunFolder
from depth_core.weights.embedding_file import (
    EMBEDDING_KINDS,
    EmbeddingKind,
    read_embedding,
    read_trunk,
)

TINY = """
model: {name: heg_s}
data:
  height: 16
  width: 24
  train: {name: synthetic, options: {seed: 1, length: 6}}
  validation: {name: synthetic, options: {seed: 2, length: 3}}
  augmentation: mirror
recipe: {name: embedding, norm_frozen_from_step: 2}
optimizer: {name: adam, lr: 1.0e-3}
schedule: {name: cosine, final_factor: 0.0}
trainer: {max_steps: 4, batch_size: 2, checkpoint_every_steps: 2, validate_every_steps: 2,
          accelerator: cpu, threads: 1}
"""


def start(folder: Path, *arguments: object) -> RunFolder:
    """Four steps of a tiny run."""
    config = folder.parent / 'tiny.yaml'
    config.write_text(TINY, encoding='utf-8')
    given = ['--config', config, '--trainer.run_dir', folder, *arguments]
    return main([str(argument) for argument in given])


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


class _Scene(SceneEmbedding):
    """Always class 2."""

    def forward(self, depth_m: Tensor) -> Tensor:
        return nn.functional.one_hot(torch.tensor([2] * len(depth_m)), len(SCENE_CLASSES)).float()


class _Constant(ReconstructionEmbedding):
    """Always the same depth."""

    def __init__(self, depth_m: float) -> None:
        super().__init__()
        self.depth_m = depth_m

    def forward(self, depth_m: Tensor) -> Tensor:
        return torch.full_like(depth_m, self.depth_m)


# Losses and scores


def test_sky_is_the_largest_depth_and_a_hole_is_0() -> None:
    depth_m = torch.tensor([[1.0, 200.0], [float('inf'), float('nan')]])
    assert depth_map(_sample(depth_m), 80.0).tolist() == [[[[1.0, 80.0], [80.0, 0.0]]]]


def test_a_hole_does_not_count_in_a_reconstruction() -> None:
    depth_m = torch.full((4, 4), 3.0)
    depth_m[0, 0] = float('nan')
    terms = EmbeddingStep(_Constant(5.0), EmbeddingRecipe()).losses(_sample(depth_m), 0)
    assert {name: float(term) for name, term in terms.items()} == {'l1_m': pytest.approx(2.0)}


def test_accuracy_by_hand() -> None:
    network, depth_m = _Scene(len(SCENE_CLASSES)), torch.ones(4, 4)
    scorer, other = SceneScorer(80.0), SceneScorer(80.0)
    for index in (0, 1, 1):
        scorer.update(network, _sample(depth_m, index))
    other.update(network, _sample(depth_m, 2))
    scorer.merge(other)
    score = scorer.result()
    assert score.numbers == {'accuracy': 0.25, 'accuracy_of_commonest': 0.5}
    assert score.costs == {'accuracy': -0.25}


def test_errors_of_a_reconstruction_by_hand() -> None:
    """Left half 2 m, right half 6 m; the network says 3 m, and a hole counts for none."""
    depth_m = torch.full((8, 8), 2.0)
    depth_m[:, 4:] = 6.0
    network, scorer = _Constant(3.0), ReconstructionScorer(80.0)
    scorer.update(network, _sample(depth_m))
    score = scorer.result()
    assert score.numbers['l1_m'] == pytest.approx((1.0 + 3.0) / 2)
    assert score.numbers['l1_m_of_mean'] == pytest.approx(2.0)
    # Blocks of 2 and 6 m, enlarged: between their centres 2.5, 3.5, 4.5 and 5.5 m.
    assert score.numbers['l1_m_of_blur'] == pytest.approx((0.5 + 1.5) / 4)
    assert score.costs == {'l1_m': score.numbers['l1_m']}
    holed = depth_m.clone()
    holed[0, 0] = float('nan')
    other = ReconstructionScorer(80.0)
    other.update(network, _sample(holed))
    assert other.result().numbers['l1_m'] == pytest.approx((31 * 1.0 + 32 * 3.0) / 63)
    scorer.merge(other)
    assert scorer.result().numbers['l1_m'] == pytest.approx((63 * 1.0 + 64 * 3.0) / 127)


def test_data_without_labels_is_named() -> None:
    network = SceneEmbedding(len(SCENE_CLASSES))
    unlabelled = _sample(torch.ones(16, 16), None)
    with pytest.raises(DataError, match='states no class of its scene'):
        EmbeddingStep(network, EmbeddingRecipe()).losses(unlabelled, 0)
    scorer = SceneScorer(80.0)
    scorer.update(network, unlabelled)
    assert not scorer.result().costs
    assert 'no held-out sample states a class' in scorer.result().summary
    empty = ReconstructionScorer(80.0)
    empty.update(_Constant(3.0), _sample(torch.full((8, 8), float('nan'))))
    assert not empty.result().costs


# Runs


@pytest.fixture(scope='module')
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[EmbeddingKind, RunFolder]:
    """A run of each kind, never interrupted."""
    folder = tmp_path_factory.mktemp('whole')
    return {kind: start(folder / kind, '--model.name', kind) for kind in EMBEDDING_KINDS}


@pytest.mark.parametrize('kind', EMBEDDING_KINDS)
def test_a_run_leaves_a_trunk_and_its_numbers(
    whole: dict[EmbeddingKind, RunFolder], kind: EmbeddingKind
) -> None:
    run = whole[kind]
    records = json.loads((run.path / 'metrics.json').read_text(encoding='utf-8'))
    assert [record['step'] for record in records] == [2, 4]
    assert ('accuracy' if kind == 'heg_s' else 'l1_m') in records[0]
    assert read_trunk(run.best, kind=kind).channels == (16, 32)
    file = read_embedding(run.best)
    assert file.training is None
    assert file.classes == (SCENE_CLASSES if kind == 'heg_s' else ())
    assert list((run.path / 'tensorboard').iterdir())


@pytest.mark.parametrize('kind', EMBEDDING_KINDS)
def test_two_and_two_steps_are_four(
    whole: dict[EmbeddingKind, RunFolder], tmp_path: Path, kind: EmbeddingKind
) -> None:
    early = whole[kind].step_checkpoint(2)
    rest = start(tmp_path / 'run', '--model.name', kind, '--trainer.resume', early,
                 '--data.workers', 1)  # fmt: skip
    first, second = read_embedding(whole[kind].last), read_embedding(rest.last)
    assert first.training is not None
    assert second.training is not None
    for key, value in first.network.state_dict().items():
        assert torch.equal(value, second.network.state_dict()[key]), key
    for part in ('optimizer', 'best_cost', 'best_step'):
        torch.testing.assert_close(second.training[part], first.training[part], rtol=0.0, atol=0.0)


def test_norm_layers_keep_their_statistics_from_a_step_on(tmp_path: Path) -> None:
    key = 'trunk.features.1.num_batches_tracked'
    for given, counted in (('0', 0), ('3', 3), ('null', 4)):
        run = start(tmp_path / given, '--recipe.norm_frozen_from_step', given)
        assert int(read_embedding(run.last).network.state_dict()[key]) == counted


def test_a_reconstruction_soon_beats_the_mean(tmp_path: Path) -> None:
    run = start(
        tmp_path / 'run', '--model.name', 'heg_r', '--trainer.max_steps', 80,
        '--trainer.batch_size', 8, '--optimizer.lr', 1e-2, '--trainer.validate_every_steps', 80,
        '--recipe.norm_frozen_from_step', 40, '--data.cache', tmp_path / 'cache',
        '--data.train.options', f'{{seed: 1, length: 24, scenes: {SCENE_CLASSES[0]}}}',
        '--data.validation.options', f'{{seed: 2, length: 24, scenes: {SCENE_CLASSES[0]}}}',
    )  # fmt: skip
    (record,) = json.loads((run.path / 'metrics.json').read_text(encoding='utf-8'))
    assert record['l1_m'] < 0.6 * record['l1_m_of_mean']


# Files of the loop that embedding networks had before


@pytest.fixture
def former_run(tmp_path: Path) -> Path:
    """last.ckpt as it was written then."""
    torch.manual_seed(1)
    path = tmp_path / 'old.ckpt'
    torch.save(
        {
            'format': 'depth_ros.embedding',
            'version': 1,
            'kind': 'heg_r',
            'classes': [],
            'state': ReconstructionEmbedding().state_dict(),
            'training': {
                'step': 2, 'best': -3.0, 'records': [], 'optimizer': {},
                'settings': {'kind': 'heg_r', 'height': 16, 'max_steps': 4},
            },
            'provenance': {'torch': str(torch.__version__), 'step': 2},
        },
        path,
    )  # fmt: skip
    return path


def test_an_old_file_is_read_and_trained_on_from(former_run: Path, tmp_path: Path) -> None:
    trunk = read_trunk(former_run, kind='heg_r')
    run = start(tmp_path / 'run', '--model.name', 'heg_r', '--model.weights', former_run,
                '--optimizer.lr', 1e-12)  # fmt: skip
    again = read_trunk(run.last)
    for own, theirs in zip(trunk.parameters(), again.parameters(), strict=True):
        torch.testing.assert_close(own, theirs, rtol=1e-6, atol=1e-9)


def test_an_old_run_is_not_continued(former_run: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r'cannot be continued .*--model\.weights'):
        start(tmp_path / 'run', '--model.name', 'heg_r', '--trainer.resume', former_run)
    with pytest.raises(CheckpointError, match=r'old\.ckpt holds the weights of heg_r, and'):
        start(tmp_path / 'run', '--model.name', 'heg_s', '--model.weights', former_run)


# Settings


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (('--model.name', 'heg_q'), "heg_q.*did you mean 'heg_"),
        (('--model.options.encoder', 'x'), r'model\.options\.encoder is given'),
        (('--model.name', 'heg_r', '--data.height', 18), 'is 18x24, .*multiples of 4'),
        (('--recipe.max_depth_m', 0, '--recipe.norm_frozen_from_step', -1),
         r'max_depth_m is 0.*\n.*norm_frozen_from_step is -1'),
        (('--trainer.best_metric', 'rmse'), 'has one score of its own'),
        (('--recipe.name', 'densedepth', '--recipe.norm_frozen_from_step', 1), 'is no setting'),
    ],
)  # fmt: skip
def test_what_cannot_be_trained_is_refused(
    tmp_path: Path, arguments: tuple[object, ...], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        start(tmp_path / 'run', *arguments)
    assert not (tmp_path / 'run').exists()


FORMER: dict[str, Any] = {
    '--kind': 'model.name, beside recipe.name embedding',
    '--run_dir': 'trainer.run_dir',
    '--height': 'data.height',
    '--train.name': 'data.train.name',
    '--validation': 'data.validation',
    '--max_depth_m': 'recipe.max_depth_m',
    '--cache': 'data.cache',
    '--lr': 'optimizer.lr',
    '--max_steps': 'trainer.max_steps',
    '--norm_frozen_from': 'recipe.norm_frozen_from_step',
    '--resume': 'trainer.resume',
}


def test_old_keys_are_answered_with_where_they_are_now(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        start(tmp_path / 'run', *(item for key in FORMER for item in (key, 1)))
    lines = str(caught.value).splitlines()[1:]
    assert len(lines) == len(FORMER)
    for line, (key, now) in zip(lines, FORMER.items(), strict=True):
        assert f'{key[2:]} is no setting; ' in line
        assert now in line


def test_the_command_ends_with_one_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    old = tmp_path / 'old.yaml'
    old.write_text('kind: heg_s\nmax_steps: 5\n', encoding='utf-8')
    monkeypatch.setattr(sys, 'argv', ['embedding', '--config', str(old)])
    with pytest.raises(SystemExit) as end:
        run_command(main)
    assert end.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith('error: ')
    assert 'kind is no setting; it is now model.name' in said
    assert 'max_steps is no setting; did you mean trainer.max_steps?' in said
