# SPDX-License-Identifier: Apache-2.0
"""Runs of the loop: what they leave behind, and what they refuse."""

from __future__ import annotations

import json
import os
import resource
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import yaml

from depth_core.data.sample import Sample
from depth_core.data.synthetic import SyntheticDataset
from depth_core.errors import CheckpointError, ConfigError, DataError, DepthError, ModelError
from depth_core.train.command_line import parse
from depth_core.train.loop import train
from depth_core.train.run_folder import RunFolder
from depth_core.weights.checkpoint import load_model, read_checkpoint

Start = Callable[..., RunFolder]


@pytest.fixture(scope='module')
def start(tiny_config: Path) -> Start:
    def run(folder: Path, *arguments: object) -> RunFolder:
        given = ['--config', tiny_config, '--trainer.run_dir', folder, *arguments]
        return train(parse([str(argument) for argument in given]))

    return run


@pytest.fixture(scope='module')
def finished(start: Start, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    folder = tmp_path_factory.mktemp('finished') / 'run'
    return start(folder, '--trainer.draw_training_every_steps', 2)


def weights(path: Path) -> dict[str, torch.Tensor]:
    return dict(read_checkpoint(path).state)


def assert_same_weights(first: Path, second: Path) -> None:
    expected = weights(first)
    for key, value in weights(second).items():
        assert torch.equal(value, expected[key]), key


def test_the_run_folder_says_with_what_it_was_made(finished: RunFolder) -> None:
    settings = yaml.safe_load((finished.path / 'settings.yaml').read_text(encoding='utf-8'))
    assert settings['trainer']['batch_size'] == 2
    (made_with,) = json.loads((finished.path / 'run.json').read_text(encoding='utf-8'))
    assert made_with['packages']['torch'] == torch.__version__
    assert made_with['train'] | {'images': 6} == made_with['train']
    assert made_with['validation']['options']['seed'] == 2
    assert made_with['machine']['processes'] == 1
    assert 'depth_core.train' in made_with['command']
    assert 'revision' in made_with


def test_settings_of_the_folder_start_the_same_run_again(
    finished: RunFolder, tmp_path: Path
) -> None:
    again = train(
        parse(['--config', str(finished.path / 'settings.yaml'), '--trainer.run_dir',
               str(tmp_path / 'again')])
    )  # fmt: skip
    assert_same_weights(finished.last, again.last)


def test_checkpoints_are_kept_and_readable(finished: RunFolder) -> None:
    names = sorted(path.name for path in finished.checkpoints.iterdir())
    assert names == ['best.ckpt', 'last.ckpt', 'step-000002.ckpt', 'step-000004.ckpt']
    assert finished.last.samefile(finished.step_checkpoint(4))
    provenance = read_checkpoint(finished.best).provenance
    assert provenance is not None
    assert 'command' in provenance
    prediction = load_model(finished.best)(torch.rand(1, 3, 64, 64))
    assert torch.isfinite(prediction.depth).all()


def test_old_checkpoints_go(start: Start, tmp_path: Path) -> None:
    run = start(
        tmp_path / 'run', '--trainer.checkpoint_every_steps', 1, '--trainer.keep_checkpoints', 1
    )
    steps = [path.name for path in run.checkpoints.glob('step-*')]
    assert steps == ['step-000004.ckpt']


def test_held_out_numbers_are_recorded_beside_the_best_constant(finished: RunFolder) -> None:
    records = json.loads((finished.path / 'metrics.json').read_text(encoding='utf-8'))
    assert [record['step'] for record in records] == [2, 4]
    for record in records:
        assert record['images_scored'] == 3
        assert record['abs_rel'] > 0.0
        assert record['constant_abs_rel'] > 0.0
        assert 0.0 <= record['a1'] <= 1.0


def history(run: RunFolder) -> list[dict[str, float]]:
    return [json.loads(line) for line in run.history.read_text(encoding='utf-8').splitlines()]


def test_the_history_of_the_loss_is_lines_of_json(finished: RunFolder) -> None:
    entries = history(finished)
    assert [entry['step'] for entry in entries] == [1, 2, 3, 4]
    for entry in entries:
        terms = entry['reciprocal'] + entry['sigma'] + entry['log_l1']
        assert entry['loss'] == pytest.approx(terms, rel=1e-5)
        assert entry['learning_rate'] > 0.0


def test_a_resumed_run_forgets_the_history_it_repeats(start: Start, tmp_path: Path) -> None:
    run = start(tmp_path / 'run')
    with run.history.open('a', encoding='utf-8') as file:
        file.write('{"step": 5, "lo')  # killed in the middle of a line
    run.point_last_to(run.step_checkpoint(2), keep=2, best_step=0)
    start(run.path, '--trainer.resume', 'last')
    assert [entry['step'] for entry in history(run)] == [1, 2, 3, 4]


def test_a_run_does_not_go_back_over_newer_checkpoints(start: Start, finished: RunFolder) -> None:
    before = {path: path.read_bytes() for path in finished.path.rglob('*') if path.is_file()}
    with pytest.raises(ConfigError, match=r'newer checkpoints \(step-000004\.ckpt\)'):
        start(finished.path, '--trainer.resume', finished.step_checkpoint(2))
    after = {path: path.read_bytes() for path in finished.path.rglob('*') if path.is_file()}
    assert after == before


def test_newer_checkpoints_do_not_crowd_out_the_one_just_written(
    finished: RunFolder, tmp_path: Path
) -> None:
    run = RunFolder(tmp_path / 'run')
    run.checkpoints.mkdir(parents=True)
    for step in (1, 2, 3, 4):
        shutil.copy(finished.step_checkpoint(2), run.step_checkpoint(step))
    run.point_last_to(run.step_checkpoint(3), keep=1, best_step=0)
    assert run.steps() == [run.step_checkpoint(3), run.step_checkpoint(4)]


def test_two_runs_do_not_train_into_one_folder(
    start: Start, finished: RunFolder, tmp_path: Path
) -> None:
    run = RunFolder(tmp_path / 'run')
    with (
        run.alone(),
        pytest.raises(ConfigError, match=rf'is already training, by process {os.getpid()} on '),
    ):
        start(run.path)
    left = run.checkpoints / '.step-000002.ckpt.abcd1234.unfinished'
    left.mkdir(parents=True)
    with run.alone():
        assert list(run.checkpoints.iterdir()) == [], 'what killed runs left goes'
    assert list(run.path.iterdir()) == [run.checkpoints]
    assert not (finished.path / '.training').exists()


def test_a_mix_is_trained_and_validated(start: Start, tmp_path: Path) -> None:
    """Two data sets, one of them in a size of its own."""
    rooms = {'name': 'synthetic', 'options': {'seed': 1, 'length': 3, 'scenes': 'indoor'}}
    streets = {'name': 'synthetic', 'options': {'seed': 2, 'length': 2, 'scenes': 'outdoor'},
               'height': 32, 'augmentation': 'jitter'}  # fmt: skip
    held_out = {'name': 'synthetic', 'options': {'seed': 3, 'length': 1, 'scenes': 'indoor'}}
    config = tmp_path / 'mix.yaml'
    config.write_text(
        yaml.safe_dump(
            {
                'data': {
                    'train': {'name': 'mix', 'options': {'datasets': [rooms, streets]}},
                    'validation': {'name': 'mix', 'options': {'datasets': [held_out, streets]}},
                    'cache': str(tmp_path / 'cache'),
                }
            }
        )
    )
    run = start(tmp_path / 'run', '--config', config)
    records = json.loads((run.path / 'metrics.json').read_text(encoding='utf-8'))
    assert [record['images_scored'] for record in records] == [3, 3]
    assert len(list((tmp_path / 'cache').iterdir())) == 3


def test_two_and_two_steps_are_four(start: Start, finished: RunFolder, tmp_path: Path) -> None:
    run = start(
        tmp_path / 'run', '--trainer.resume', finished.step_checkpoint(2), '--data.workers', 1
    )
    assert_same_weights(run.last, finished.last)
    first, second = (read_checkpoint(path).training for path in (run.last, finished.last))
    assert first is not None
    assert second is not None
    torch.testing.assert_close(first['optimizer'], second['optimizer'], rtol=0.0, atol=0.0)
    torch.testing.assert_close(first['weights'], second['weights'], rtol=0.0, atol=0.0)


def test_another_seed_gives_other_weights(
    start: Start, finished: RunFolder, tmp_path: Path
) -> None:
    other = start(tmp_path / 'run', '--trainer.seed', 1)
    first, second = weights(finished.last), weights(other.last)
    assert any(not torch.equal(first[key], second[key]) for key in first)


def test_fine_tuning_starts_from_the_weights_of_a_run(
    start: Start, finished: RunFolder, tmp_path: Path
) -> None:
    run = start(
        tmp_path / 'run', '--model.weights', finished.best, '--optimizer.lr', 1e-12,
        '--trainer.max_steps', 2,
    )  # fmt: skip
    key = 'decoder.out.weight'
    torch.testing.assert_close(weights(run.last)[key], weights(finished.best)[key])


def test_fine_tuning_that_was_interrupted_goes_on_from_itself(
    start: Start, finished: RunFolder, tmp_path: Path
) -> None:
    """Its configuration still names the weights it began with, which may be gone by then."""
    begun = tmp_path / 'begun.ckpt'
    begun.write_bytes(finished.best.read_bytes())
    given = ('--model.weights', begun, '--model.weights_missing', '["decoder.*"]')
    whole = start(tmp_path / 'whole', *given)
    begun.unlink()
    rest = start(tmp_path / 'rest', *given, '--trainer.resume', whole.step_checkpoint(2))
    assert_same_weights(rest.last, whole.last)


def test_a_folder_that_holds_a_run_is_not_written_over(start: Start, finished: RunFolder) -> None:
    before = finished.last.read_bytes()
    with pytest.raises(ConfigError, match=r'already holds a run.*--trainer\.resume last'):
        start(finished.path)
    assert finished.last.read_bytes() == before


@pytest.mark.parametrize(
    ('arguments', 'rule'),
    [
        (('--model.options.encoder', 'mobilenetv3_small_075'), 'model.options.encoder'),
        (('--optimizer.lr', '0.5'), 'optimizer.lr: 0.001 in the checkpoint, 0.5 now'),
        (('--trainer.max_steps', '9'), '--schedule.steps 4'),
        (('--trainer.max_steps', '4', '--schedule.steps', '4'), 'nothing is left to do'),
    ],
)
def test_a_resume_that_would_not_be_exact_is_refused(
    start: Start, finished: RunFolder, arguments: tuple[str, ...], rule: str
) -> None:
    with pytest.raises(CheckpointError) as caught:
        start(finished.path, '--trainer.resume', 'last', *arguments)
    assert rule in str(caught.value)


def test_best_holds_no_state_to_resume_from(start: Start, finished: RunFolder) -> None:
    with pytest.raises(CheckpointError, match=r'weights only.*--model\.weights'):
        start(finished.path, '--trainer.resume', finished.best)


def test_a_resume_from_nothing_is_refused(start: Start, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match='nothing to resume'):
        start(tmp_path / 'empty', '--trainer.resume', 'last')
    with pytest.raises(CheckpointError, match='does not exist'):
        start(tmp_path / 'empty', '--trainer.resume', tmp_path / 'no.ckpt')
    assert not (tmp_path / 'empty').exists()


def test_a_truncated_checkpoint_is_refused(
    start: Start, finished: RunFolder, tmp_path: Path
) -> None:
    cut = tmp_path / 'cut.ckpt'
    cut.write_bytes(finished.last.read_bytes()[:50_000])
    with pytest.raises(CheckpointError, match=r'cut\.ckpt .*truncated'):
        start(tmp_path / 'run', '--trainer.resume', cut)


def test_a_full_disk_stops_the_run_and_the_former_checkpoint_stays(
    start: Start, finished: RunFolder, tmp_path: Path
) -> None:
    """The kernel really refuses to write on after 100 kB of the file."""
    folder = RunFolder(tmp_path / 'run')
    folder.checkpoints.mkdir(parents=True)
    shutil.copy(finished.step_checkpoint(2), folder.last)
    before = folder.last.read_bytes()
    assert len(before) > 200_000
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(DepthError, match=r'cannot write .*: File too large\.'):
            start(folder.path, '--trainer.resume', 'last')
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert folder.last.read_bytes() == before
    assert [path.name for path in folder.checkpoints.iterdir()] == ['last.ckpt']


@pytest.mark.parametrize(
    ('arguments', 'error', 'rule'),
    [
        (('--data.height', '65'), ModelError, 'Nearest that fit: 64x64'),
        (('--model.options.encodr', 'x'), ConfigError, "did you mean 'encoder'?"),
        (('--recipe.sigma_weight', '0'), ConfigError, 'recipe.sigma_weight is 0'),
        (('--data.train.name', 'sintetic'), ConfigError, "did you mean 'synthetic'?"),
        (('--data.train.options.scenes', 'moon'), ConfigError, 'moon'),
        (('--trainer.devices', '2'), ConfigError, 'torchrun --nproc_per_node 2'),
        (('--trainer.accelerator', 'cuda'), ConfigError, '--trainer.accelerator cpu'),
    ],
)
def test_what_cannot_be_trained_is_refused_before_anything_is_written(
    start: Start, tmp_path: Path, arguments: tuple[str, ...], error: type[Exception], rule: str
) -> None:
    if 'cuda' in arguments and torch.cuda.is_available():
        pytest.skip('this machine has a CUDA GPU, so that there is nothing to refuse')
    with pytest.raises(error) as caught:
        start(tmp_path / 'run', *arguments)
    assert rule in str(caught.value)
    assert not (tmp_path / 'run').exists()


def test_an_empty_data_set_is_refused(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SyntheticDataset, '__len__', lambda _: 0)
    with pytest.raises(DataError, match=r'data\.train \(synthetic, .*holds no image'):
        start(tmp_path / 'run')


@pytest.mark.parametrize('part', ['train', 'validation'])
def test_training_without_any_ground_truth_is_refused(
    start: Start, tmp_path: Path, part: str
) -> None:
    (tmp_path / 'data/images').mkdir(parents=True)
    (tmp_path / 'data/depth').mkdir()
    for index in range(3):
        image = np.full((64, 64, 3), 40 * index, np.uint8)
        assert cv2.imwrite(str(tmp_path / f'data/images/{index}.png'), image)
        assert cv2.imwrite(str(tmp_path / f'data/depth/{index}.tiff'), image[..., 0])
    settings = tmp_path / 'folder.yaml'
    settings.write_text(
        f'data: {{{part}: {{name: folder, root: {tmp_path}/data, options: {{}}}}}}'
    )
    with pytest.raises(DataError, match=rf'data\.{part} .*0 of 3 images have depth.*0\.tiff'):
        start(tmp_path / 'run', '--config', settings)
    assert not (tmp_path / 'run').exists()


def test_a_loss_that_is_not_finite_stops_the_run_and_names_the_samples(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ground truth that claims to be valid and is NaN, as a faulty data set would give."""
    render = SyntheticDataset.__getitem__

    def broken(self: SyntheticDataset, index: int) -> Sample:
        sample = render(self, index)
        if index == 3:
            sample.depth_m.fill_(np.nan)
            sample.valid.fill_(value=True)
        return sample

    monkeypatch.setattr(SyntheticDataset, '__getitem__', broken)
    with pytest.raises(DepthError, match=r'loss is nan at step \d .*synthetic/1/3'):
        start(tmp_path / 'run')
