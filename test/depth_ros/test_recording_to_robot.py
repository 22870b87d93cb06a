# SPDX-License-Identifier: Apache-2.0
"""The page docs/recording_to_robot.md, by what the synthetic camera records."""

from __future__ import annotations

import importlib
import json
import re
import shlex
from pathlib import Path

import pytest

PAGE = 'docs/recording_to_robot.md'
QUICKER = {
    '--frames': '4',
    '--trainer.max_steps': '2',
    '--config': None,
}
"""What is given in place of the numbers of the page; None = the file of the repository."""


def commands(page: Path) -> list[tuple[str, list[str]]]:
    """Module and arguments of each command of a page that Python runs."""
    text = page.read_text(encoding='utf-8').replace('\\\n', ' ')
    found = [shlex.split(line) for line in re.findall(r'^    (python -m .*)$', text, re.MULTILINE)]
    return [(words[2], words[3:]) for words in found]


def quicker(words: list[str], repository: Path) -> list[str]:
    """The same arguments, with fewer images and steps."""
    given = list(words)
    for place, word in enumerate(words[:-1]):
        if word in QUICKER:
            number = QUICKER[word]
            given[place + 1] = number or str(repository / words[place + 1])
    return given


def run(module: str, words: list[str], repository: Path) -> None:
    is_package = (repository / module.replace('.', '/')).is_dir()
    name = f'{module}.__main__' if is_package else module
    importlib.import_module(name).main(words)


@pytest.mark.ros
@pytest.mark.slow
def test_the_page_from_a_recording_to_a_graph_that_is_scored(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    steps = commands(repository / PAGE)
    modules = [module for module, _ in steps]
    assert modules == [
        *('depth_ros.demo.record', 'depth_ros.demo.record', 'depth_core.data', 'depth_core.train'),
        *('depth_core.export', 'depth_ros.evaluate_bag', 'depth_core.export'),
    ]
    for module, words in steps[:-1]:  # the last builds an engine, which needs a GPU
        more = []
        if module == 'depth_core.train':
            more = ['--data.workers', '0', '--trainer.batch_size', '2']
            more += ['--trainer.accelerator', 'cpu', '--schedule.warmup_steps', '0']
            more += ['--trainer.validate_every_steps', '2']
            more += ['--model.options.encoder', 'test_efficientnet']  # exporting it is quicker
        if module == 'depth_ros.evaluate_bag':
            more = ['--backend', 'onnxruntime', '--pictures', '1']
        run(module, [*quicker(words, repository), *more], repository)
    assert steps[-1][1] == ['--onnx', 'robot.onnx', '--engine']
    content = json.loads((tmp_path / 'report/metrics.json').read_text(encoding='utf-8'))
    assert content['counts']['images_scored'] == 4
    assert content['model']['manifest']['name'] == 'densedepth_small'
    assert (tmp_path / 'monday.png').is_file()
