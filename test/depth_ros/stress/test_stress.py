# SPDX-License-Identifier: Apache-2.0
"""The stress command, in its short form, and the malformed messages that it sends."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from depth_ros.frames.drops import FrameError
from depth_ros.messages.conversions import rgb_from_compressed, rgb_from_image
from depth_ros.stress.malformed import malformed_compressed, malformed_images, malformed_infos
from test.standin import write_standin_onnx


@pytest.mark.ros
def test_the_short_form_says_what_became_of_every_message(tmp_path: Path) -> None:
    model = write_standin_onnx(tmp_path / 'standin.onnx')
    found = tmp_path / 'found.json'
    size = ('--height', '120', '--width', '160')
    command = ('-m', 'depth_ros.stress', '--short', '--seed', '3', '--backend', 'onnxruntime')
    done = subprocess.run(
        [sys.executable, *command, *size, '--model', str(model), '--json', str(found)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    checks = {check['name']: check for check in json.loads(found.read_text())['checks']}
    for name, sent in (
        ('100 malformed raw images', 100),
        ('20 malformed camera_infos', 20),
        ('100 malformed compressed images', 100),
    ):
        values = checks.pop(name)['values']
        assert (values['sent'], values['counted']) == (sent, sent)
        assert 'internal' not in values['dropped']
        assert sum(values['dropped'].values()) >= sent // 2
    soaked = checks.pop('3 s at 30 Hz, all outputs taken')['values']
    assert soaked['images'] == soaked['answered'] + sum(soaked['dropped'].values())
    assert soaked['answered'] > 0
    hung = checks['an inference hangs (inference_limit_s = 5)']['values']
    assert hung['recovery_s'] > 5.0, 'the limit passes first'
    assert 'an inference runs for 5' in hung['said']
    assert len(checks) == 8
    assert all(check['part'] == 'chaos' and check['passed'] for check in checks.values())


def test_a_seed_gives_the_same_messages_and_nearly_all_are_refused() -> None:
    refused = 0
    sources: tuple[tuple[Any, Callable[[Any], object]], ...] = (
        (malformed_images, rgb_from_image),
        (malformed_compressed, rgb_from_compressed),
    )
    for messages, decode in sources:
        ones, others = (list(messages(seed, 50)) for seed in (7, 8))
        assert ones == list(messages(7, 50))
        assert ones != others
        refused += sum(is_refused(decode, message) for message in ones)
    assert refused > 75
    infos = list(malformed_infos(7, 25))
    assert [str(info) for info in infos] == [str(info) for info in malformed_infos(7, 25)]


def is_refused(decode: Callable[[Any], object], message: object) -> bool:
    try:
        decode(message)
    except FrameError:
        return True
    return False
