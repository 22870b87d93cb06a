# SPDX-License-Identifier: Apache-2.0
"""Settings: read from YAML and arguments, refused in words when they cannot be."""

from __future__ import annotations

from pathlib import Path

import pytest

from depth_core.errors import ConfigError
from depth_core.train.command_line import parse, to_yaml
from depth_core.train.recipes.supervised import SupervisedRecipe

MINIMAL = """
model: {name: densedepth_small}
data:
  height: 64
  width: 96
  train: {name: synthetic, options: {seed: 1, length: 8}}
trainer: {max_steps: 4, batch_size: 2}
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / 'minimal.yaml'
    path.write_text(MINIMAL, encoding='utf-8')
    return path


def refusal(*arguments: object) -> str:
    with pytest.raises(ConfigError) as caught:
        parse([str(argument) for argument in arguments])
    return str(caught.value)


def test_arguments_win_over_the_file(config: Path) -> None:
    settings = parse(['--config', str(config), '--trainer.batch_size', '6', '--data.height=32'])
    assert settings.trainer.batch_size == 6
    assert (settings.data.height, settings.data.width) == (32, 96)


def test_options_of_model_and_data_set_are_merged_by_key(config: Path) -> None:
    settings = parse(
        ['--config', str(config), '--model.options.max_depth', '10', '--data.train.options.seed=7']
    )
    assert settings.model.options == {'max_depth': 10}
    assert settings.data.train.options == {'seed': 7, 'length': 8}


def test_a_later_file_wins_over_an_earlier_one(config: Path, tmp_path: Path) -> None:
    second = tmp_path / 'second.yaml'
    second.write_text('trainer: {batch_size: 8}', encoding='utf-8')
    settings = parse(['--config', str(config), '--config', str(second)])
    assert settings.trainer.batch_size == 8
    assert settings.trainer.max_steps == 4


def test_settings_written_are_settings_read(config: Path, tmp_path: Path) -> None:
    settings = parse(['--config', str(config), '--trainer.run_dir', 'runs/a', '--trainer.resume',
                      'last', '--optimizer.betas', '[0.8, 0.99]'])  # fmt: skip
    again = tmp_path / 'again.yaml'
    again.write_text(to_yaml(settings), encoding='utf-8')
    assert parse(['--config', str(again)]) == settings


def test_every_unknown_key_is_reported_with_the_nearest_known_one(
    config: Path, tmp_path: Path
) -> None:
    wrong = tmp_path / 'wrong.yaml'
    wrong.write_text('data: {train: {optoins: {}}}\ntraner: {seed: 1}', encoding='utf-8')
    message = refusal('--config', config, '--config', wrong, '--trainer.max_stps', 4)
    assert 'data.train.optoins is no setting; did you mean data.train.options?' in message
    assert 'traner is no setting; did you mean trainer?' in message
    assert 'trainer.max_stps is no setting; did you mean trainer.max_steps?' in message


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('data: {validation: null}', 'data.validation is null, but it is a group of settings'),
        ('data: {validation: 3}', 'data.validation is 3, but it is a group of settings'),
        ('data: {train: }', 'data.train is null, but it is a group of settings'),
        ('model: null', 'model is null, but it is a group of settings; give those, as model.name'),
        ('recipe: []', 'recipe is [], but it is a group of settings'),
        ('model: {options: null}', 'model.options is null; give a mapping, as {} for none.'),
    ],
)  # fmt: skip
def test_nothing_in_the_place_of_settings_is_refused(
    config: Path, tmp_path: Path, text: str, message: str
) -> None:
    wrong = tmp_path / 'wrong.yaml'
    wrong.write_text(text, encoding='utf-8')
    shown = refusal('--config', config, '--config', wrong)
    assert f'{wrong}: {message}' in shown


def test_nothing_in_the_place_of_settings_is_refused_as_an_argument(config: Path) -> None:
    remedy = 'data.validation.name null for none.'
    assert remedy in refusal('--config', config, '--data.validation', 'null')
    assert remedy in refusal('--config', config, '--data.validation=null')
    assert 'model.options is null; give' in refusal('--config', config, '--model.options', 'null')
    given = ['--config', str(config), '--data.validation.options.seed', '2']
    named = [*given, '--data.validation.name', 'synthetic']
    assert parse(named).data.validation.name == 'synthetic'
    assert parse([*named, '--data.validation.name', 'null']).data.validation.name is None
    assert parse([*given, '--data.validation', '{"name": "nyu"}']).data.validation.name == 'nyu'


def test_an_abbreviated_argument_is_unknown(config: Path) -> None:
    assert 'trainer.batch_size?' in refusal('--config', config, '--trainer.batch', 4)


def test_all_contradictions_are_reported_together(config: Path) -> None:
    message = refusal(
        '--config', config, '--trainer.max_steps', 0, '--optimizer.lr', 0,
        '--optimizer.ema_decay', 1, '--schedule.name', 'cosine', '--schedule.warmup_steps', 9,
        '--trainer.resume', 'last',
    )  # fmt: skip
    for key in ('trainer.max_steps', 'optimizer.lr', 'optimizer.ema_decay', 'warmup_steps',
                'trainer.run_dir is not given'):  # fmt: skip
        assert key in message


def test_held_out_images_must_be_others(config: Path) -> None:
    message = refusal(
        '--config', config, '--data.validation.name', 'synthetic',
        '--data.validation.options.seed', 1, '--data.validation.options.length', 8,
    )  # fmt: skip
    assert 'nothing is held out' in message


def test_a_value_of_the_wrong_type_names_its_key(config: Path) -> None:
    message = refusal('--config', config, '--trainer.max_steps', 'many')
    assert 'trainer.max_steps' in message
    assert 'many' in message


def test_an_unknown_recipe_is_answered_with_the_known_ones(config: Path) -> None:
    assert "did you mean 'densedepth'?" in refusal(
        '--config', config, '--recipe.name', 'densdepth'
    )


def test_missing_settings_are_named() -> None:
    message = refusal()
    for key in ('model.name', 'data.height', 'trainer.max_steps', 'trainer.batch_size'):
        assert key in message


@pytest.mark.parametrize(
    ('content', 'rule'),
    [('model: [', 'is not YAML'), ('- a\n- b', 'groups of settings'), ('', 'groups of settings')],
)
def test_a_file_that_is_no_configuration_is_refused(
    tmp_path: Path, content: str, rule: str
) -> None:
    path = tmp_path / 'broken.yaml'
    path.write_text(content, encoding='utf-8')
    message = refusal('--config', path)
    assert 'broken.yaml' in message
    assert rule in message


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    assert 'nowhere.yaml does not exist' in refusal('--config', tmp_path / 'nowhere.yaml')


def test_help_says_every_setting_with_its_unit(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse(['--help'])
    assert caught.value.code == 0
    text = ' '.join(capsys.readouterr().out.split())
    assert 'Rows of the images the network sees, pixels.' in text
    assert 'Steps between checkpoints; one is always written at the end.' in text
    assert 'SSIM of each image + edges + 0.1 L1' in text


def test_another_data_set_does_not_inherit_options(
    config: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level('INFO', 'depth_core'):
        by_argument = parse(
            ['--config', str(config), '--data.train.name', 'folder', '--data.train.root', 'images']
        )
    assert by_argument.data.train.options == {}
    assert (by_argument.data.train.name, by_argument.data.height) == ('folder', 64)
    (line,) = caplog.messages
    assert 'data.train is folder in place of synthetic' in line
    assert "options {'seed': 1, 'length': 8}" in line
    second = tmp_path / 'second.yaml'
    second.write_text('data: {train: {name: nyu, root: pairs}}', encoding='utf-8')
    by_file = parse(['--config', str(config), f'--config={second}'])
    assert (by_file.data.train.name, by_file.data.train.options) == ('nyu', {})
    group = parse(['--config', str(config), '--data.train', '{name: nyu, root: pairs}'])
    assert (group.data.train.name, group.data.train.options) == ('nyu', {})
    same = parse(['--config', str(config), '--data.train.name', 'synthetic'])
    assert same.data.train.options == {'seed': 1, 'length': 8}


def test_lists_take_names_alone(config: Path) -> None:
    given = ['--config', str(config), '--data.augmentation', '[flip, {name: blur}]']
    given += ['--recipe.name', 'supervised', '--recipe.losses', '[silog, {name: l1, weight: 2}]']
    settings = parse(given)
    assert settings.data.augmentation == ['flip', {'name': 'blur'}]
    assert settings.recipe == SupervisedRecipe(losses=['silog', {'name': 'l1', 'weight': 2}])


@pytest.mark.parametrize(
    ('key', 'said'),
    [
        ('trainer.max_step', 'did you mean trainer.max_steps?'),
        ('model.batch_size', 'did you mean trainer.batch_size?'),
        ('optimizer.lr_decay', 'did you mean optimizer.layer_decay?'),
        ('trainer.colour', 'trainer has max_steps, batch_size'),
        ('trainer.steps', 'did you mean trainer.max_steps or schedule.steps?'),
        ('optimizer.learning_rate', 'did you mean optimizer.lr?'),
        ('optimizer.gradient_clip', 'did you mean optimizer.clip_norm?'),
        ('data.train.path', 'did you mean data.train.root?'),
        ('schedule.type', 'did you mean schedule.name?'),
        ('data.val', 'did you mean data.validation?'),
        ('data.val.name', 'did you mean data.validation.name?'),
        ('validation.name', 'did you mean data.validation.name?'),
        ('model.option.max_depth', 'did you mean model.options.max_depth?'),
        ('data.train.option.seed', 'did you mean data.train.options.seed?'),
        ('model.encoder', 'did you mean model.options.encoder?'),
        ('trainer.epochs', 'did you mean trainer.max_steps, which counts optimizer steps?'),
        ('trainer.gpus', 'did you mean trainer.devices?'),
        ('model.checkpoint', 'did you mean model.weights?'),
        ('recipe.loss', 'did you mean recipe.losses of recipe supervised?'),
    ],
)
def test_hints_are_near_or_the_settings_beside_it(config: Path, key: str, said: str) -> None:
    assert said in refusal('--config', config, f'--{key}', 3)


def test_a_key_like_no_other_has_no_hint(config: Path) -> None:
    assert 'zzz is no setting' in (message := refusal('--config', config, '--zzz', 3))
    assert 'did you mean' not in message
