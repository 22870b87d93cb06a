# SPDX-License-Identifier: Apache-2.0
"""Settings of data: what is held out is not trained on, and what is named is there."""

from __future__ import annotations

from pathlib import Path

import pytest

from depth_core.errors import ConfigError
from depth_core.train.command_line import parse
from depth_core.train.paths import check_paths
from depth_core.train.settings import TrainSettings

MODEL = ['--model.name', 'densedepth_small', '--data.height', '64', '--data.width', '64',
         '--trainer.max_steps', '1', '--trainer.batch_size', '2']  # fmt: skip


def read(*arguments: str) -> TrainSettings:
    return parse([*MODEL, *arguments])


def of_bag(train: str, held_out: str) -> TrainSettings:
    return read(
        '--data.train', f'{{name: bag, root: drive, options: {{{train}}}}}',
        '--data.validation', f'{{name: bag, root: drive, options: {{{held_out}}}}}',
    )  # fmt: skip


def test_one_bag_is_split_by_times() -> None:
    settings = of_bag('end_s: 20', 'start_s: 20')
    assert settings.data.train.options == {'end_s': 20}


@pytest.mark.parametrize(
    ('train', 'held_out', 'shared'),
    [
        ('end_s: 20.5', 'start_s: 18', '18 s to 20.5 s'),
        ('start_s: 5', 'end_s: 9', '5 s to 9 s'),
        ('start_s: 5', 'start_s: 7', '7 s to its end'),
    ],
)
def test_times_that_overlap_are_refused(train: str, held_out: str, shared: str) -> None:
    with pytest.raises(ConfigError, match=f'read bag drive from {shared}; give data'):
        of_bag(train, held_out)


@pytest.mark.parametrize('other', ['{0}/./drive', '{0}/drive/../drive', '{0}/link',
                                   '{0}/drive/drive_0.mcap'])  # fmt: skip
def test_one_bag_by_two_paths_overlaps_too(tmp_path: Path, other: str) -> None:
    (tmp_path / 'drive').mkdir()
    (tmp_path / 'link').symlink_to(tmp_path / 'drive')
    held_out = f'{{name: bag, root: {other.format(tmp_path)}, options: {{start_s: 6}}}}'
    train = f'{{name: bag, root: {tmp_path}/drive, options: {{end_s: 8}}}}'
    with pytest.raises(ConfigError, match='from 6 s to 8 s'):
        read('--data.train', train, '--data.validation', held_out)
    apart = f'{{name: bag, root: {tmp_path}/drive, options: {{end_s: 6}}}}'
    read('--data.train', apart, '--data.validation', held_out)


def test_parts_of_a_mix_overlap_too() -> None:
    datasets = '[{name: synthetic}, {name: bag, root: drive, options: {end_s: 8}}]'
    with pytest.raises(ConfigError, match='from 6 s to 8 s'):
        read(
            '--data.train', f'{{name: mix, options: {{datasets: {datasets}}}}}',
            '--data.validation', '{name: bag, root: drive, options: {start_s: 6}}',
        )  # fmt: skip


def test_the_same_bag_twice_has_a_remedy_that_bags_have() -> None:
    with pytest.raises(ConfigError, match=r'options\.start_s and end_s of a bag'):
        of_bag('', '')


def test_all_that_is_missing_is_named_before_anything_is_downloaded(tmp_path: Path) -> None:
    settings = read(
        '--data.train', f'{{name: nyu, root: {tmp_path}, split: lost.csv}}',
        '--data.validation', '{name: kitti, root: gone, options: {depth_root: away}}',
    )  # fmt: skip
    with pytest.raises(ConfigError) as caught:
        check_paths(settings)
    said = str(caught.value)
    for line in ('data.train.split is lost.csv', 'data.validation.root is gone',
                 'data.validation.options.depth_root is away', 'docs/data.md'):  # fmt: skip
        assert line in said
    assert str(tmp_path) not in said


def test_a_part_of_a_mix_is_named_by_its_place() -> None:
    datasets = '[{name: synthetic}, {name: kitti, root: gone}]'
    with pytest.raises(ConfigError, match=r'data.train.options.datasets\[1\].root is gone'):
        check_paths(read('--data.train', f'{{name: mix, options: {{datasets: {datasets}}}}}'))


def test_a_list_of_transforms_is_read_and_checked() -> None:
    data = ('--data.train.name', 'synthetic')
    settings = read(*data, '--data.augmentation', '[{name: flip}, {name: crop, enlarge: 1.2}]')
    assert settings.data.augmentation == [{'name': 'flip'}, {'name': 'crop', 'enlarge': 1.2}]
    assert read(*data, '--data.augmentation', 'jitter').data.augmentation == 'jitter'
    with pytest.raises(ConfigError, match=r"data\.augmentation: .*\[0\]\.name 'flop'.*flip"):
        read(*data, '--data.augmentation', '[{name: flop}]')


def test_a_list_of_losses_is_read() -> None:
    losses = '[{name: berhu, weight: 2}, {name: normal}]'
    settings = read('--data.train.name', 'synthetic', '--recipe.name', 'supervised',
                    '--recipe.losses', losses)  # fmt: skip
    assert vars(settings.recipe)['losses'] == [{'name': 'berhu', 'weight': 2}, {'name': 'normal'}]
