# SPDX-License-Identifier: Apache-2.0
"""A model is opened beside everything else, tells how far it is, and is given up on request."""

from __future__ import annotations

import threading

import pytest

from depth_core.errors import ModelError
from depth_core.runtime.engine import BuildCancelledError, BuildProgress, EngineOptions
from depth_ros.model.opening import OPENING, Opening, progress_text


def opening(work: object, cancelled: threading.Event | None = None) -> Opening[str]:
    return Opening(work, EngineOptions(), cancelled=cancelled or threading.Event())  # type: ignore[arg-type]  # what a test gives


def test_the_model_comes_with_the_options_and_without_a_line_in_the_log() -> None:
    lines: list[str] = []
    options = EngineOptions(workspace_bytes=7, cuda_graph=True)
    attempt = Opening(
        lambda given: f'{given.workspace_bytes} {given.cuda_graph}',
        options,
        cancelled=threading.Event(),
    )
    assert attempt.model(lines.append) == '7 True'
    assert not attempt.is_running
    assert lines == []


def test_what_is_wrong_with_the_model_reaches_whoever_waits() -> None:
    def fail(_options: EngineOptions) -> str:
        message = 'torn'
        raise ModelError(message)

    with pytest.raises(ModelError, match='torn'):
        opening(fail).model(str)


def test_the_progress_is_known_and_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr('depth_ros.model.opening.LOG_PERIOD_S', 0.0)
    goes_on, reported = threading.Event(), threading.Event()

    def build(options: EngineOptions) -> str:
        assert options.report is not None
        options.report(BuildProgress(phase='building', fraction=0.25, elapsed_s=99.0))
        reported.set()
        goes_on.wait(240.0)
        return 'done'

    lines: list[str] = []

    def log(line: str) -> None:
        lines.append(line)
        goes_on.set()

    attempt = opening(build)
    assert reported.wait(240.0)
    progress = attempt.progress
    assert (progress.phase, progress.fraction) == ('building', 0.25)
    assert progress.elapsed_s < 99.0, 'the time is that of this attempt'
    assert attempt.model(log) == 'done'
    assert lines[0].startswith('building 25%, ')


def test_a_build_that_listens_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr('depth_ros.model.opening.GRACE_S', 30.0)
    cancelled, stopped = threading.Event(), threading.Event()

    def build(options: EngineOptions) -> str:
        assert options.cancelled is not None
        options.cancelled.wait(240.0)
        stopped.set()
        message = 'cancelled'
        raise BuildCancelledError(message)

    attempt = opening(build, cancelled)
    assert attempt.progress.phase == OPENING
    cancelled.set()
    with pytest.raises(BuildCancelledError, match='given up after'):
        attempt.model(str)
    assert stopped.is_set()
    assert not attempt.is_running


def test_what_does_not_listen_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr('depth_ros.model.opening.GRACE_S', 0.01)
    cancelled, end = threading.Event(), threading.Event()
    attempt = opening(lambda _options: str(end.wait(240.0)), cancelled)
    cancelled.set()
    with pytest.raises(BuildCancelledError, match='because the node ends'):
        attempt.model(str)
    assert attempt.is_running
    end.set()


@pytest.mark.parametrize(
    ('progress', 'text'),
    [
        (BuildProgress(phase='parsing', fraction=None, elapsed_s=0.4), 'parsing, 0 s'),
        (BuildProgress(phase='building', fraction=0.335, elapsed_s=61.6), 'building 34%, 62 s'),
    ],
)
def test_progress_in_words(progress: BuildProgress, text: str) -> None:
    assert progress_text(progress) == text
