# SPDX-License-Identifier: Apache-2.0
"""What is compared: reports, and models that are evaluated into reports first."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from depth_core.arguments import CommandParser
from depth_core.documents import parse_json
from depth_core.errors import ConfigError, DataError, DepthError
from depth_core.evaluate.__main__ import evaluate
from depth_core.evaluate.arguments import parse
from depth_core.files import read_text, sha256_of
from depth_core.names import printable
from depth_core.shipped import find_model

FRAMES: Final = 'frames.csv'
METRICS: Final = 'metrics.json'
REPORT: Final = 'report.json'
_COMMAND: Final = ['python', '-m', 'depth_core.evaluate']
_OWN: Final = {
    '--model': 1,
    '--checkpoint': 1,
    '--onnx': 1,
    '--manifest': 1,
    '--backend': 1,
    '--precision': 1,
    '--output': 1,
    '--pictures': 1,
    '--parquet': 0,
}
"""Options of an evaluation that belong to its model and its report, and how many values each has;
the others are about the data and the scoring."""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A report, and what it was made from as far as that is here."""

    name: str
    """As it is shown; no two have the same."""
    report: Path
    """Folder."""
    evaluated_here: bool = False
    """Whether this command wrote it."""

    def content(self) -> dict[str, Any]:
        """What report.json says; empty where it cannot be read."""
        try:
            found = parse_json(read_text(self.report / REPORT))
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def options(self) -> argparse.Namespace:
        """The options that the model and its data can be opened with again.

        Raises:
            DepthError: The report was written by another command, or the file of its model is gone
                or is another one now.
        """
        given = _evaluated_with(self)
        options = parse(given)
        model = find_model(options.calibrate or options.model)
        stated = self.content().get('model', {}).get('sha256')
        if stated != sha256_of(model):
            message = f'{model} is not the file that {self.report} was made from.'
            raise DataError(message)
        options.model = model
        if options.calibrate is not None:
            options.manifest = None
        return options


def gather(
    given: Sequence[str],
    rule: Sequence[str],
    folder: Path,
    *,
    stated: Path | None = None,
    backend: str | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> list[Subject]:
    """Evaluate the models among `given`, and name everything.

    Args:
        given: Folders of reports, and files or shipped names of models.
        rule: Options of data and scoring for the models; those of the first report when empty.
        folder: Where reports of the models are written.
        stated: What that folder will be called in the end, for the command that they state.
        backend: What computes, as for `depth_core.evaluate`.
        say: Called with what is done now.

    Raises:
        ConfigError: There is a model, and neither data nor a report that names them.
        DepthError: As of evaluating a model; or something is neither a report nor a model.
    """
    reports = {item: Path(item).expanduser() for item in given if _is_report(item)}
    models = {item: find_model(item) for item in given if item not in reports}
    names = _names([reports.get(item) or models[item] for item in given])
    if models and not rule:
        rule = _rule_beside(models, [Subject(name=i, report=reports[i]) for i in reports])
    if models and backend is not None:
        rule = [*rule, '--backend', backend]
    subjects = []
    for item, name in zip(given, names, strict=True):
        if item in reports:
            subjects.append(Subject(name=name, report=reports[item]))
            continue
        say(f'{printable(name)}: evaluating')
        output = folder / name
        words = ['--model', str(models[item]), *rule, '--pictures', '0', '--output']
        final = str((stated or folder) / name)
        evaluate(parse([*words, str(output)]), [*words, final])
        subjects.append(Subject(name=name, report=output, evaluated_here=True))
    return subjects


def words_of(parser: CommandParser, options: argparse.Namespace, names: set[str]) -> list[str]:
    """The options among `names` that were given, as words of a command line."""
    words: list[str] = []
    for name in sorted(names):
        value = getattr(options, name)
        if value is None or value is False or value == parser.get_default(name):
            continue
        words.append(f'--{name}')
        if value is not True:
            words.append(','.join(value) if isinstance(value, tuple) else str(value))
    return words


def _is_report(item: str) -> bool:
    return Path(item).expanduser().is_dir()


def _names(paths: Sequence[Path]) -> list[str]:
    """The last parts of the paths, as many as tell them apart; then numbers."""
    parts = [path.resolve().parts[1:] for path in paths]
    names: list[str] = []
    for count in range(1, max(map(len, parts), default=0) + 1):
        names = ['-'.join(own[-count:]) for own in parts]
        if len(set(names)) == len(set(parts)):
            break
    for place, name in enumerate(names):
        if name in names[:place]:
            names[place] = f'{name}-{place + 1}'
    return names


def _rule_beside(models: Mapping[str, Path], reports: Sequence[Subject]) -> list[str]:
    """The options of data and scoring of the first report."""
    if not reports:
        message = (
            f'{next(iter(models))} is a model, and nothing says what it is evaluated on; give '
            '--data and --protocol, or a report folder beside it to evaluate it alike.'
        )
        raise ConfigError(message)
    given = _evaluated_with(reports[0])
    if parse(given).calibrate is not None:
        message = (
            f'{reports[0].name} was made with --calibrate, which fits each model to the data; '
            'give --data and --protocol to evaluate the models by.'
        )
        raise ConfigError(message)
    kept: list[str] = []
    left = iter(given)
    for word in left:
        name, has_value, _ = word.partition('=')
        if name not in _OWN:
            kept.append(word)
        elif not has_value:
            for _ in range(_OWN[name]):
                next(left, None)
    return kept


def _evaluated_with(subject: Subject) -> list[str]:
    """The words after the command that wrote a report.

    Raises:
        DataError: It was another command.
    """
    try:
        words = shlex.split(str(subject.content()['command']))
        if words[: len(_COMMAND)] == _COMMAND:
            parse(words[len(_COMMAND) :])
            return words[len(_COMMAND) :]
    except (KeyError, ValueError, DepthError):
        pass
    message = (
        f'{subject.report} does not say how depth_core.evaluate wrote it, so that no model can be '
        'evaluated or drawn alike; give --data and --protocol.'
    )
    raise DataError(message)
