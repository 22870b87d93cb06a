# SPDX-License-Identifier: Apache-2.0
"""The tool that compares trainings: what it asks, trains once, and says of the differences."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from depth_core.errors import ConfigError
from depth_core.train.command_line import parse
from depth_core.train.settings import TrainSettings
from test.benchmarks import compare_trainings
from test.benchmarks.claims_page import compared
from test.benchmarks.compare_trainings import (
    Question,
    arguments_of,
    read_comparison,
    run,
    train_one,
)

FILES = Path(compare_trainings.__file__).parent / 'comparisons'
ASKED = """
about: Little ones.
steps: 40
common: [--data.workers, 0]
first:
  heg_s: [--config, config/train/embedding/heg_s_synthetic.yaml, --trainer.max_steps, 1500]
questions:
  embedding:
    asks: Does it help?
    claim: It does.
    limits: Much.
    config: config/train/cliffnet_synthetic.yaml
    metrics: [abs_rel_edge, abs_rel]
    variants:
      heg_s: [--recipe.heg_s, '{heg_s}']
      l1: []
  weight:
    asks: How much?
    config: config/train/cliffnet_synthetic.yaml
    common: [--recipe.log_l1_weight, 1.0]
    steps: 20
    variants:
      much: [--trainer.batch_size, 16]
      little: [--trainer.batch_size, 4]
      as_much: [--trainer.batch_size, 16]
"""


@pytest.fixture
def asked(tmp_path: Path) -> Path:
    path = tmp_path / 'asked.yaml'
    path.write_text(ASKED, encoding='utf-8')
    return path


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[TrainSettings]:
    """Every training; its score is 0.1 times its seed, and 0.5 more with a batch of 4."""
    made: list[TrainSettings] = []

    def pretend(settings: TrainSettings) -> None:
        made.append(settings)
        trainer = settings.trainer
        assert trainer.run_dir is not None
        trainer.run_dir.mkdir(parents=True, exist_ok=True)
        score = 0.1 * trainer.seed + (0.5 if trainer.batch_size == 4 else 0.0)
        rows = [{'step': trainer.max_steps, 'abs_rel': score, 'abs_rel_edge': 2.0 * score}]
        (trainer.run_dir / 'metrics.json').write_text(json.dumps(rows), encoding='utf-8')

    monkeypatch.setattr(compare_trainings, 'train', pretend)
    return made


@pytest.mark.parametrize('name', ['ablations', 'claims'])
def test_what_is_shipped_is_a_training_for_every_variant(name: str) -> None:
    comparison = read_comparison(FILES / f'{name}.yaml')
    given = [
        arguments_of(question, variant)
        for question in comparison.questions
        for variant in question.variants
    ]
    given += [list(item) for item in comparison.first.values()]
    # What is a part of another is read there.
    for arguments in [item for item in given if not any({*item} < {*other} for other in given)]:
        settings = parse(arguments)
        assert (settings.data.workers, settings.trainer.threads) == (0, 1)
    assert all(question.limits for question in comparison.questions)


def test_every_claim_of_the_papers_is_asked() -> None:
    comparison = read_comparison(FILES / 'claims.yaml')
    assert [question.name for question in comparison.questions] == [
        'reciprocal', 'channel_swap', 'bins', 'likelihood', 'routers', 'distillation',
        'rectification', 'cutflip', 'embedding', 'fusion', 'guidance',
    ]  # fmt: skip
    metrics = {question.name: question.metrics[0] for question in comparison.questions}
    assert (metrics['embedding'], metrics['guidance']) == ('abs_rel_edge', 'abs_rel_thin')
    assert all(question.claim for question in comparison.questions)


def test_equal_trainings_are_made_once_and_none_again(
    asked: Path, tmp_path: Path, trained: list[TrainSettings]
) -> None:
    page = tmp_path / 'docs' / 'claims.md'
    page.parent.mkdir()
    page.write_text('# Claims\n\nBy hand.\n\n## other\n\nKept.\n', encoding='utf-8')
    comparison = read_comparison(asked)
    run(comparison, seeds=[0], runs=tmp_path, page=page)
    heg, first, *others = trained
    assert [heg.trainer.max_steps, first.trainer.max_steps] == [1500, 40]
    assert str(heg.trainer.run_dir) in str(first.recipe)
    assert len(others) == 3  # l1, much and little: as_much is much
    run(comparison, seeds=[0, 1], runs=tmp_path, page=page)
    assert [item.trainer.seed for item in trained[5:]] == [1, 1, 1, 1]
    text = page.read_text(encoding='utf-8')
    assert text.startswith('# Claims\n\nBy hand.\n\n## other\n\nKept.\n\n## asked\n\nLittle ones.')
    assert text.count('## asked') == 1
    assert 'Claim: It does.' in text
    assert '| l1 | abs_rel_edge | 0.1000 ± 0.1000 | 2 | +0.0000 ± 0.0000 | not settled |' in text
    assert '| little | abs_rel | 0.5500 ± 0.0500 | 2 | +0.5000 ± 0.0000 | better |' in text
    found = json.loads((page.parent / 'results' / 'asked.json').read_text(encoding='utf-8'))
    assert found['weight']['steps'] == 20
    assert found['weight']['abs_rel']['little']['scores'] == [0.5, 0.6]


def test_a_section_that_is_there_twice_is_there_once_afterwards(
    asked: Path, tmp_path: Path, trained: list[TrainSettings]
) -> None:
    page = tmp_path / 'claims.md'
    page.write_text(
        '# Claims\n\n## asked \n\nOld.\n\n### asked\n\n## other\n\nKept.\n\n## asked',
        encoding='utf-8',
    )
    comparison = read_comparison(asked)
    for _ in range(2):
        run(comparison, seeds=[0], runs=tmp_path, page=page)
        text = page.read_text(encoding='utf-8')
        heads = [line for line in text.splitlines() if line.startswith('## ')]
        assert heads == ['## asked', '## other']
        assert text.startswith('# Claims\n\n## asked\n\nLittle ones.\n\n### Does it help?')
        assert text.endswith('\n\n## other\n\nKept.\n')
    assert trained


@pytest.mark.parametrize(
    ('ours', 'theirs', 'said', 'within'),
    [
        ([0.3], [0.4], 'one seed', None),
        ([0.3, 0.5], [0.4, 0.6], 'better', 0.0),  # 0.1 each time, however far the seeds are apart
        ([0.3, 0.3, 0.3], [0.1, 0.1, 0.2], 'worse', 4.303 * 0.0577 / 3**0.5),
        ([0.3, 0.3, 0.3], [0.4, 0.4, 0.2], 'not settled', 4.303 * 0.1155 / 3**0.5),
    ],
)
def test_a_difference_counts_beyond_its_interval(
    ours: Sequence[float], theirs: Sequence[float], said: str, within: float | None
) -> None:
    found = compared(ours, theirs)
    assert found['ours'] == said
    assert found['within'] == (None if within is None else pytest.approx(within, abs=2e-4))


@pytest.mark.parametrize(
    ('change', 'text'),
    [
        (lambda content: content.replace(', --trainer.max_steps, 1500', ''), 'heg_s'),
        (lambda content: content.replace('steps: 40', 'paces: 40'), 'paces'),
        (lambda content: content.replace('    asks: How much?\n', ''), 'asks'),
        (lambda content: content.replace('      l1: []\n', ''), 'one variant'),
        (lambda content: content.replace('    limits:', '    limit:'), 'limit'),
    ],
)
def test_what_is_no_comparison_is_refused(
    asked: Path, change: Callable[[str], str], text: str
) -> None:
    asked.write_text(change(ASKED), encoding='utf-8')
    with pytest.raises(ConfigError, match=text):
        read_comparison(asked)


def test_a_metric_that_is_not_there_is_answered_with_those_that_are(
    asked: Path, tmp_path: Path, trained: list[TrainSettings]
) -> None:
    asked.write_text(ASKED.replace('abs_rel_edge', 'abs_rel_rim'), encoding='utf-8')
    with pytest.raises(ConfigError, match=r'no abs_rel_rim.*abs_rel_edge'):
        run(read_comparison(asked), seeds=[0], runs=tmp_path, page=tmp_path / 'claims.md')
    assert trained


def test_a_training_that_was_interrupted_goes_on(
    tmp_path: Path, trained: list[TrainSettings]
) -> None:
    checkpoint = tmp_path / 'run' / 'checkpoints' / 'last.ckpt'
    checkpoint.parent.mkdir(parents=True)
    checkpoint.touch()
    question = Question(
        name='a', asks='a', config='config/train/cliffnet_synthetic.yaml', steps=4,
        variants={'a': [], 'b': []},
    )  # fmt: skip
    found = train_one(arguments_of(question, 'a'), tmp_path / 'run')
    assert found['step'] == 4
    assert [item.trainer.resume for item in trained] == ['last']
