# SPDX-License-Identifier: Apache-2.0
"""Trainings that differ in one thing, at equal steps, over several seeds.

    python -m test.benchmarks.compare_trainings test/benchmarks/comparisons/claims.yaml \
        --runs runs --seeds 0 1 2

A file names questions; each has variants, and each variant is the command of its training:

    about: What they have in common, for the page.
    steps: 150
    common: [--data.workers, '0']                # arguments of every training
    first:                                       # trained once; {heg_s} below is its checkpoint
      heg_s: [--config, config/train/embedding/heg_s_synthetic.yaml, --trainer.max_steps, 150]
    questions:
      embedding:
        asks: Is the hierarchical embedding better than L1?
        claim: What the paper says, with its number.
        limits: What cannot be settled at this size.
        config: config/train/cliffnet_synthetic.yaml
        common: [--recipe.sobel_weight, '0']     # arguments of every variant
        metrics: [abs_rel_edge, abs_rel]         # keys of metrics.json; the first is the claim's
        variants:                                # the first is the claim's
          heg_s: [--recipe.heg_s, '{heg_s}']
          l1: []

Every variant is trained with every seed and scored on the held-out images of its configuration;
the same training of two questions is made once. What is done is kept beside the runs and not done
again, so that the command may be interrupted and go on; docs/results/<file>.json and the section
of docs/claims.md are written anew after each question, seed by seed.
"""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import yaml

from depth_core.errors import ConfigError, run_command
from depth_core.files import read_text
from depth_core.train.command_line import parse, values_of
from depth_core.train.loop import train
from test.benchmarks.claims_page import write

_LOG = logging.getLogger(__name__)
_USUAL_METRICS: Final = ('abs_rel',)
_STEPS: Final = 'trainer.max_steps'
_KEYS: Final = ('about', 'steps', 'common', 'first', 'questions')


@dataclass(frozen=True, kw_only=True)
class Question:
    """One thing that is varied."""

    name: str
    asks: str
    config: str
    steps: int
    variants: Mapping[str, Sequence[str]]
    """Arguments of the training command, by the name of the variant; the first is the claim's."""
    metrics: Sequence[str] = _USUAL_METRICS
    """Keys of metrics.json of which less is better; the first is the one that is asked for."""
    claim: str = ''
    """What the paper says."""
    limits: str = ''
    """What these trainings cannot settle."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A file of questions."""

    name: str
    questions: Sequence[Question]
    about: str = ''
    first: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Trainings that others start from or look through, by the name they have there."""


def read_comparison(path: Path, *, steps: int | None = None) -> Comparison:
    """Read a file; `steps` are in place of those it says.

    Raises:
        ConfigError: The file does not say what is asked.
    """
    content = yaml.safe_load(read_text(path))
    try:
        if unknown := set(content) - set(_KEYS):
            message = f'{path} has {min(unknown)}; known: {", ".join(_KEYS)}.'
            raise ConfigError(message)
        common = _texts(content.get('common', ()))
        usual = int(content['steps']) if steps is None else steps
        questions = [
            Question(
                name=name,
                config=item.pop('config'),
                steps=usual if steps is not None else int(item.pop('steps', usual)),
                variants=_variants((*common, *item.pop('common', ())), item.pop('variants')),
                **{key: value for key, value in item.items() if key != 'steps'},
            )
            for name, item in content['questions'].items()
        ]
        first = {
            name: _config_first((*common, *_texts(given)))
            for name, given in content.get('first', {}).items()
        }
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
    for name, given in first.items():
        if not values_of(_STEPS, given):
            message = f'{name}, which {path} trains first, has no length; give --{_STEPS}.'
            raise ConfigError(message)
    return Comparison(
        name=path.stem, questions=questions, about=content.get('about', ''), first=first
    )


def _texts(given: Sequence[Any]) -> list[str]:
    return [str(item) for item in given]


def _variants(
    common: Sequence[Any], given: Mapping[str, Sequence[Any]]
) -> dict[str, Sequence[str]]:
    return {name: _texts((*common, *own)) for name, own in given.items()}


def _config_first(arguments: Sequence[str]) -> list[str]:
    """The last configuration, then the rest: what stands before a configuration is lost to it."""
    rest, config = list(arguments), []
    while '--config' in rest:
        place = rest.index('--config')
        config = rest[place : place + 2]
        del rest[place : place + 2]
    return [*config, *rest]


def arguments_of(question: Question, variant: str) -> list[str]:
    """The arguments that tell one training from another; a schedule is as long as the training.

    A variant that names a configuration takes that in place of the question's.
    """
    steps = question.steps
    return [
        *_config_first(['--config', question.config, *question.variants[variant]]),
        *('--trainer.max_steps', str(steps), '--schedule.steps', str(steps)),
        *('--schedule.warmup_steps', str(max(1, steps // 20))),
        *('--trainer.validate_every_steps', '0', '--trainer.images_logged', '0'),
    ]


def named(name: str, arguments: Sequence[str]) -> str:
    """A name for the folder of a training that changes with its arguments."""
    return f'{name}-{sha256(json.dumps(list(arguments)).encode()).hexdigest()[:8]}'


def train_one(arguments: Sequence[str], run_dir: Path) -> Mapping[str, Any]:
    """Train, or go on, unless it is done; what metrics.json says of the end."""
    steps = int(values_of(_STEPS, arguments)[-1])
    found = _scores(run_dir, steps)
    if found is None:
        resumed = (run_dir / 'checkpoints' / 'last.ckpt').exists()
        own = ['--trainer.run_dir', str(run_dir)]
        train(parse([*arguments, *own, *(('--trainer.resume', 'last') if resumed else ())]))
        found = _scores(run_dir, steps)
    if found is None:
        message = f'{run_dir} has no metrics of step {steps}; look at its metrics.json.'
        raise ConfigError(message)
    return found


def _scores(run_dir: Path, steps: int) -> Mapping[str, Any] | None:
    path = run_dir / 'metrics.json'
    rows = json.loads(path.read_text(encoding='utf-8')) if path.is_file() else []
    return rows[-1] if rows and rows[-1].get('step') == steps else None


class Trainings:
    """The trainings of a comparison, below one folder; each is made once."""

    def __init__(self, comparison: Comparison, runs: Path) -> None:
        self.folder = runs / comparison.name
        self.first = comparison.first

    def scores(self, question: Question, variant: str, seed: int) -> list[float]:
        """The metrics of one variant, in the order the question names them."""
        arguments, identity = arguments_of(question, variant), arguments_of(question, variant)
        for name, given in self.first.items():
            mark = f'{{{name}}}'
            if any(mark in item for item in arguments):
                folder = named(name, given)
                train_one(given, self.folder / folder)
                weights = str(self.folder / folder / 'checkpoints' / 'last.ckpt')
                arguments = [item.replace(mark, weights) for item in arguments]
                identity = [item.replace(mark, folder) for item in identity]
        run_dir = self.folder / f'{named("run", identity)}-{seed}'
        _LOG.warning('%s, %s, seed %d: %s', question.name, variant, seed, run_dir)
        found = train_one([*arguments, '--trainer.seed', str(seed)], run_dir)
        if missing := [name for name in question.metrics if name not in found]:
            message = (
                f'{run_dir} has no {missing[0]}, which question {question.name} asks for; known: '
                f'{", ".join(found)}.'
            )
            raise ConfigError(message)
        return [float(found[name]) for name in question.metrics]


def run(comparison: Comparison, *, seeds: Sequence[int], runs: Path, page: Path) -> None:
    """Train what is not done, seed by seed, and write what is known after each question."""
    trainings = Trainings(comparison, runs)
    scores: dict[str, dict[str, list[list[float]]]] = {
        question.name: {variant: [] for variant in question.variants}
        for question in comparison.questions
    }
    for seed in seeds:
        for question in comparison.questions:
            for variant in question.variants:
                found = trainings.scores(question, variant, seed)
                scores[question.name][variant].append(found)
            write(page, comparison, scores)


def main() -> None:
    """Read the command line and compare."""
    parser = argparse.ArgumentParser(prog='python -m test.benchmarks.compare_trainings')
    parser.add_argument('comparison', type=Path, help='YAML file of questions')
    parser.add_argument('--steps', type=int, help='of every training; as the file says')
    parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2])
    parser.add_argument('--runs', type=Path, default=Path('runs'), help='folder of the trainings')
    parser.add_argument(
        '--page', type=Path, default=Path('docs/claims.md'), help='page that gets the section'
    )
    options = parser.parse_args()
    comparison = read_comparison(options.comparison, steps=options.steps)
    run(comparison, seeds=options.seeds, runs=options.runs, page=options.page)


if __name__ == '__main__':
    run_command(main)
