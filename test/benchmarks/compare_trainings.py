# SPDX-License-Identifier: Apache-2.0
"""Trainings that differ in one thing, at equal steps, over several seeds.

    python -m test.benchmarks.compare_trainings test/benchmarks/comparisons/ablations.yaml \
        --steps 600 --seeds 0 1 2

A file names questions; each has variants, and each variant is the command of its training:

    steps: 600
    questions:
      features:
        asks: Do ImageNet features help?
        config: config/train/densedepth_small_main.yaml
        variants:
          packaged: []
          random: [--model.options.encoder_weights, none]

Every variant is trained with every seed and scored on the held-out images of its configuration.
What is done is kept beside the runs and not done again, so that the command may be interrupted and
go on; docs/results/<file>.json and the table in docs/claims.md are written anew after each.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, Final

import yaml

from depth_core.errors import ConfigError, run_command
from depth_core.files import read_text, write_text_atomically
from depth_core.train.command_line import parse

ROOT: Final = Path(__file__).resolve().parents[2]
RESULTS: Final = ROOT / 'docs' / 'results'
PAGE: Final = ROOT / 'docs' / 'claims.md'
_DEVIATIONS: Final = 2.0
"""Means that differ by more than so many standard errors are called different."""
_USUAL_METRIC: Final = 'abs_rel'


@dataclass(frozen=True, kw_only=True)
class Question:
    """One thing that is varied."""

    name: str
    asks: str
    config: str
    metric: str
    """Key of metrics.json of which less is better."""
    variants: Mapping[str, Sequence[str]]
    """Arguments of the training command, by the name of the variant; the first is the claim's."""


def read_questions(path: Path) -> tuple[list[Question], int]:
    """The questions of a file, and how many steps it wants.

    Raises:
        ConfigError: The file does not say what is asked.
    """
    content = yaml.safe_load(read_text(path))
    try:
        questions = [
            Question(
                name=name,
                asks=item['asks'],
                config=item['config'],
                metric=item.get('metric', _USUAL_METRIC),
                variants={key: [str(a) for a in given] for key, given in item['variants'].items()},
            )
            for name, item in content['questions'].items()
        ]
        steps = int(content['steps'])
    except (KeyError, TypeError, AttributeError) as error:
        message = (
            f'{path} is no list of comparisons ({error!r}); give steps, and questions, each with '
            'asks, config and variants.'
        )
        raise ConfigError(message) from error
    for question in questions:
        if len(question.variants) < 2:
            message = f'question {question.name} of {path} has one variant; give two or more.'
            raise ConfigError(message)
    return questions, steps


def arguments_of(
    question: Question, variant: str, *, seed: int, steps: int, run_dir: Path
) -> list[str]:
    """The arguments of one training; a schedule is as long as the training.

    A variant that names a configuration takes that in place of the question's.
    """
    given = question.variants[variant]
    config = () if '--config' in given else ('--config', question.config)
    return [
        *(*config, *given),
        *('--trainer.max_steps', str(steps), '--schedule.steps', str(steps)),
        *('--schedule.warmup_steps', str(max(1, steps // 20))),
        *('--trainer.seed', str(seed), '--trainer.run_dir', str(run_dir)),
        *('--trainer.validate_every_steps', '0', '--trainer.images_logged', '0'),
    ]


def train_one(arguments: Sequence[str], run_dir: Path, metric: str) -> float:
    """Train, or go on, unless it is done; the metric on the held-out images at the end."""
    steps = parse(arguments).trainer.max_steps
    found = _score(run_dir, metric, steps)
    if found is None:
        resumed = (run_dir / 'checkpoints' / 'last.ckpt').exists()
        given = [*arguments, *(('--trainer.resume', 'last') if resumed else ())]
        subprocess.run([sys.executable, '-m', 'depth_core.train', *given], check=True)
        found = _score(run_dir, metric, steps)
    if found is None:
        message = f'{run_dir} has no {metric} of step {steps}; look at its metrics.json.'
        raise ConfigError(message)
    return found


def _score(run_dir: Path, metric: str, steps: int) -> float | None:
    path = run_dir / 'metrics.json'
    rows = json.loads(path.read_text(encoding='utf-8')) if path.is_file() else []
    last = rows[-1] if rows else {}
    return float(last[metric]) if last.get('step') == steps and metric in last else None


def summary(scores: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    """Mean and standard error of each variant, and whether the first is better than each other.

    Args:
        scores: Of each seed, by variant; less is better.
    """
    rows = {
        name: {
            'scores': [round(value, 4) for value in values],
            'mean': fmean(values),
            'error': stdev(values) / math.sqrt(len(values)) if len(values) > 1 else None,
        }
        for name, values in scores.items()
        if values
    }
    first, *others = rows
    verdicts = {name: verdict(rows[first], rows[name]) for name in others}
    return {'variants': rows, 'verdicts': verdicts}


def verdict(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> str:
    """better, worse, or not settled: the means differ by less than two standard errors."""
    if ours['error'] is None or theirs['error'] is None:
        return 'one seed'
    difference = theirs['mean'] - ours['mean']
    if abs(difference) <= _DEVIATIONS * math.hypot(ours['error'], theirs['error']):
        return 'not settled'
    return 'better' if difference > 0.0 else 'worse'


def rows_of(question: Question, found: Mapping[str, Any]) -> Iterator[str]:
    """Lines of the table of one question."""
    for name, row in found['variants'].items():
        spread = '' if row['error'] is None else f' ± {row["error"]:.3f}'
        against = found['verdicts'].get(name)
        said = '' if against is None else f'the first is {against}'
        asks = question.asks if against is None else ''
        yield (
            f'| {asks} | {name} | {question.metric} | {row["mean"]:.3f}{spread} | '
            f'{len(row["scores"])} | {said} |'
        )


def section(title: str, steps: int, lines: Sequence[str]) -> str:
    """A section of docs/claims.md."""
    head = '| question | variant | metric | held out, mean ± standard error | seeds | |\n'
    head += '|---|---|---|---|---|---|\n'
    return f'## {title}\n\n{steps} steps each.\n\n{head}' + '\n'.join(lines) + '\n'


def renew(page: Path, title: str, text: str) -> None:
    """Put a section into the page, in the place of the one of that title."""
    content = page.read_text(encoding='utf-8') if page.is_file() else '# Claims, measured again\n'
    before, _, rest = content.partition(f'## {title}\n')
    behind = rest.partition('\n## ')
    rest = f'\n## {behind[2]}' if behind[1] else ''
    write_text_atomically(page, f'{before.rstrip()}\n\n{text}{rest}')


def run(path: Path, *, steps: int | None, seeds: Sequence[int], runs: Path) -> None:
    """Train what is not done, seed by seed, and write what is known after each."""
    questions, usual = read_questions(path)
    steps = usual if steps is None else steps
    scores: dict[str, dict[str, list[float]]] = {
        question.name: {variant: [] for variant in question.variants} for question in questions
    }
    for seed in seeds:
        for question in questions:
            for variant in question.variants:
                run_dir = runs / path.stem / f'{question.name}-{variant}-{steps}-{seed}'
                arguments = arguments_of(
                    question, variant, seed=seed, steps=steps, run_dir=run_dir
                )
                score = train_one(arguments, run_dir, question.metric)
                scores[question.name][variant].append(score)
            _write(path.stem, questions, scores, steps)


def _write(
    title: str,
    questions: Sequence[Question],
    scores: Mapping[str, Mapping[str, Sequence[float]]],
    steps: int,
) -> None:
    done = [question for question in questions if all(scores[question.name].values())]
    found = {question.name: summary(scores[question.name]) for question in done}
    content = {'steps': steps, 'questions': found}
    write_text_atomically(RESULTS / f'{title}.json', json.dumps(content, indent=1) + '\n')
    lines = [line for question in done for line in rows_of(question, found[question.name])]
    renew(PAGE, title, section(title, steps, lines))


def main() -> None:
    """Read the command line and compare."""
    parser = argparse.ArgumentParser(prog='python -m test.benchmarks.compare_trainings')
    parser.add_argument('comparisons', type=Path, help='YAML file of questions')
    parser.add_argument('--steps', type=int, help='of every training; as the file says')
    parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2])
    parser.add_argument('--runs', type=Path, default=Path('runs'), help='folder of the trainings')
    options = parser.parse_args()
    run(options.comparisons, steps=options.steps, seeds=options.seeds, runs=options.runs)


if __name__ == '__main__':
    run_command(main)
