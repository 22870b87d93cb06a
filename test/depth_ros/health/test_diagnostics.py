# SPDX-License-Identifier: Apache-2.0
"""The status message counts right and says what to do."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from diagnostic_msgs.msg import DiagnosticStatus

from depth_core.runtime.engine import BuildProgress, EngineIdentity
from depth_ros.frames.drops import DropReason
from depth_ros.frames.statistics import REPEAT_S, FrameStatistics, FrameTimes, Snapshot
from depth_ros.health.diagnostics import PARTS, status_messages
from depth_ros.health.identity import Identity
from depth_ros.health.observed import Observed
from depth_ros.health.watchdog import WatchState
from depth_ros.middleware.qos import Sender
from depth_ros.options.health import HealthOptions

ACTIVE = Identity(
    state='active',
    model='net',
    image_topic='/camera/image_raw',
    transport='raw',
    backend='openvino',
)
CAMERA = Sender(kind='sensor_msgs/msg/Image', reliability='best_effort')


def statuses(
    counts: Snapshot, identity: Identity = ACTIVE, **changes: Any
) -> dict[str, DiagnosticStatus]:
    options: dict[str, Any] = {
        'senders': (CAMERA,),
        'silence_s': 3.0,
        'health': HealthOptions(),
        **changes,
    }
    messages = status_messages('mono_depth', Observed(counts=counts, identity=identity, **options))
    return {message.name: message for message in messages}


def status(counts: Snapshot, identity: Identity = ACTIVE, **changes: Any) -> DiagnosticStatus:
    return statuses(counts, identity, **changes)['mono_depth']


def values(message: DiagnosticStatus) -> dict[str, str]:
    return {item.key: item.value for item in message.values}


def times(latency_s: float) -> FrameTimes:
    return FrameTimes(
        waiting_s=latency_s / 4, inference_s=latency_s / 2, latency_s=latency_s, age_s=1.0
    )


def test_counts_are_totals_and_rates_are_since_the_last_snapshot(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now_s = [100.0]
    monkeypatch.setattr('depth_ros.frames.statistics.time.monotonic', lambda: now_s[0])
    statistics = FrameStatistics()
    for _ in range(20):
        statistics.arrived()
    for _ in range(10):
        statistics.published(times(0.02))
    statistics.dropped(DropReason.SUPERSEDED)
    statistics.dropped(DropReason.UNCALIBRATED, 'all zero', whole=False)
    now_s[0] += 2.0
    first = statistics.snapshot()
    assert (first.rate_in_hz, first.rate_out_hz, first.silent_s) == (10.0, 5.0, 2.0)
    assert first.newly_dropped == {DropReason.SUPERSEDED: 1, DropReason.UNCALIBRATED: 1}
    assert first.newly_lost == 0, 'superseded is normal, and the other frame gave depth'
    statistics.arrived()
    statistics.dropped(DropReason.UNCALIBRATED, 'all zero')
    now_s[0] += 1.0
    second = statistics.snapshot()
    assert (second.frames_in, second.frames_out, second.frames_dropped) == (21, 10, 2)
    assert (second.rate_in_hz, second.rate_out_hz, second.silent_s) == (1.0, 0.0, 1.0)
    assert second.dropped == {DropReason.SUPERSEDED: 1, DropReason.UNCALIBRATED: 2}
    assert second.newly_dropped == {DropReason.UNCALIBRATED: 1}
    assert second.newly_lost == 1


def test_a_reason_is_logged_first_and_then_now_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = [100.0]
    monkeypatch.setattr('depth_ros.frames.statistics.time.monotonic', lambda: now_s[0])
    statistics = FrameStatistics()
    assert statistics.dropped(DropReason.SIZE, 'wrong')
    assert not statistics.dropped(DropReason.SIZE, 'wrong')
    assert statistics.dropped(DropReason.ENCODING, 'other'), 'reasons hide each other'
    assert not statistics.dropped(DropReason.SUPERSEDED), 'a normal drop is not logged'
    now_s[0] += REPEAT_S
    assert statistics.dropped(DropReason.SIZE, 'wrong')
    assert statistics.snapshot().dropped[DropReason.SIZE] == 3


def test_percentiles_are_those_of_the_frames() -> None:
    counts = Snapshot(times=tuple(times(ms / 1e3) for ms in range(1, 102)), rate_out_hz=5.0)
    said = values(status(counts))
    assert (said['latency_p50_ms'], said['latency_p95_ms']) == ('51.00', '96.00')
    assert said['inference_p50_ms'] == '25.50'
    assert values(status(Snapshot()))['latency_p50_ms'] == ''


@pytest.mark.parametrize(
    ('counts', 'changes', 'level', 'said'),
    [
        (
            Snapshot(rate_out_hz=9.96),
            {'wanted': ('points',)},
            DiagnosticStatus.OK,
            '10.0 depth maps a second',
        ),
        (Snapshot(silent_s=4.0), {'senders': ()}, DiagnosticStatus.WARN, 'has no publisher'),
        (
            Snapshot(silent_s=4.0),
            {'senders': (), 'image_name': 'front/image'},
            DiagnosticStatus.WARN,
            'start the camera, or remap front/image (front/image:=/camera/image_raw)',
        ),
        (Snapshot(silent_s=4.0), {}, DiagnosticStatus.WARN, 'FASTDDS_DEFAULT_PROFILES_FILE'),
        (
            Snapshot(
                rate_out_hz=5.0,
                newly_dropped={DropReason.UNCALIBRATED: 5},
                problems={DropReason.UNCALIBRATED: 'all zero'},
            ),
            {},
            DiagnosticStatus.WARN,
            '5 x uncalibrated: all zero',
        ),
        (
            Snapshot(
                newly_dropped={DropReason.ENCODING: 2},
                newly_lost=2,
                problems={DropReason.ENCODING: 'x'},
            ),
            {},
            DiagnosticStatus.ERROR,
            '2 x encoding: x',
        ),
        (
            Snapshot(rate_out_hz=5.0, newly_dropped={DropReason.SUPERSEDED: 20}),
            {'wanted': ('points',)},
            DiagnosticStatus.OK,
            '5.0 depth maps',
        ),
        (
            Snapshot(newly_dropped={DropReason.NO_SUBSCRIBER: 9}),
            {},
            DiagnosticStatus.OK,
            'idle: no output has a subscriber',
        ),
    ],
)
def test_the_level_and_the_message_fit_what_happens(
    counts: Snapshot, changes: dict[str, Any], level: bytes, said: str
) -> None:
    message = status(counts, **changes)
    assert message.level == level
    assert said in message.message


def test_an_active_node_says_what_it_is_opened_for() -> None:
    opening = BuildProgress(phase='opening for images of 640x480', fraction=None, elapsed_s=7.0)
    message = status(Snapshot(silent_s=99.0), replace(ACTIVE, progress=opening))
    assert message.level == DiagnosticStatus.OK
    assert message.message == 'active: opening for images of 640x480, 7 s'


def test_an_inactive_node_does_not_complain_of_silence() -> None:
    message = status(Snapshot(silent_s=99.0), Identity(state='inactive'))
    assert message.level == DiagnosticStatus.OK
    assert 'inactive' in message.message


def test_every_reason_and_the_identity_are_said() -> None:
    said = values(status(Snapshot(dropped={DropReason.SIZE: 3}), wanted=('points', 'depth/color')))
    assert {f'dropped_{reason.value}' for reason in DropReason} <= set(said)
    assert said['dropped_size'] == '3'
    assert said['dropped_superseded'] == '0'
    assert said['backend'] == 'openvino'
    assert said['outputs_wanted'] == 'depth/color points'


def test_a_model_that_is_being_opened_says_how_far_it_is() -> None:
    building = BuildProgress(phase='building', fraction=0.345, elapsed_s=61.66)
    message = status(Snapshot(), Identity(state='configuring', progress=building))
    assert message.level == DiagnosticStatus.OK
    assert message.message == 'configuring: building 34%, 62 s'
    said = values(message)
    assert (said['build_phase'], said['build_fraction']) == ('building', '0.345')
    assert said['build_elapsed_s'] == '61.7'
    parsing = replace(building, phase='parsing', fraction=None)
    said = values(status(Snapshot(), Identity(state='configuring', progress=parsing)))
    assert (said['build_phase'], said['build_fraction']) == ('parsing', '')
    assert values(status(Snapshot()))['build_phase'] == ''


def test_a_failed_start_is_an_error_with_its_reason() -> None:
    message = status(Snapshot(), Identity(failure='configure failed: no GPU'))
    assert message.level == DiagnosticStatus.ERROR
    assert message.message == 'unconfigured: configure failed: no GPU'
    assert values(message)['failure'] == 'configure failed: no GPU'


def test_the_engine_and_the_backends_passed_over_are_said() -> None:
    engine = EngineIdentity(
        key='0123456789abcdef', tensorrt='tensorrt 10.3.0', gpu='Orin', agreement='depth 0.1 %'
    )
    refused = replace(
        ACTIVE, engine=engine, device='cuda:1', passed_over={'tensorrt-rtx': 'depth is off by 9 %'}
    )
    said = values(status(Snapshot(), refused))
    assert said['engine_key'] == '0123456789ab'
    assert said['engine_tensorrt'] == 'tensorrt 10.3.0'
    assert said['engine_gpu'] == 'Orin'
    assert said['engine_agreement'] == 'depth 0.1 %'
    assert said['device'] == 'cuda:1'
    assert said['passed_over_tensorrt-rtx'] == 'depth is off by 9 %'
    assert values(status(Snapshot()))['engine_key'] == ''


def test_falling_back_from_what_was_named_is_a_warning() -> None:
    counts = Snapshot(rate_out_hz=5.0)
    passed = replace(ACTIVE, passed_over={'tensorrt': 'no GPU'})
    assert status(counts, passed).level == DiagnosticStatus.OK, 'auto may take what there is'
    message = status(counts, replace(passed, fell_back=True))
    assert message.level == DiagnosticStatus.WARN
    assert message.message == '5.0 depth maps a second on openvino, in place of tensorrt'


LISTENED: dict[str, Any] = {'wanted': ('depth/image_raw',), 'wanted_s': 60.0}


@pytest.mark.parametrize(
    ('counts', 'changes', 'part', 'level', 'said'),
    [
        (
            Snapshot(unanswered_s=7.25, rate_in_hz=9.0),
            LISTENED,
            'outputs',
            DiagnosticStatus.ERROR,
            'nothing was published for 7.2 s, and images arrive',
        ),
        (Snapshot(unanswered_s=7.25), {}, 'outputs', DiagnosticStatus.OK, 'idle'),
        (
            Snapshot(unanswered_s=7.25),
            {**LISTENED, 'wanted_s': 1.0},
            'outputs',
            DiagnosticStatus.OK,
            '0.0 depth maps',
        ),
        (
            Snapshot(valid_fraction=0.0, rate_out_hz=5.0),
            LISTENED,
            'outputs',
            DiagnosticStatus.ERROR,
            '0.0% of the pixels have an estimate',
        ),
        (
            Snapshot(valid_fraction=0.04, rate_out_hz=5.0),
            LISTENED,
            'outputs',
            DiagnosticStatus.WARN,
            '4.0% of the pixels have an estimate of depth (min_valid_fraction = 0.05)',
        ),
        (
            Snapshot(out_ages_s=(5.5, 4.0, 3.0, 2.0, 1.0)),
            {**LISTENED, 'health': HealthOptions(min_rate_hz=1.0)},
            'outputs',
            DiagnosticStatus.WARN,
            '0.80 depth maps a second (min_rate_hz = 1)',
        ),
        (
            Snapshot(out_ages_s=(5.5, 4.0, 3.0, 2.0, 1.0)),
            {**LISTENED, 'health': HealthOptions(min_rate_hz=0.8)},
            'outputs',
            DiagnosticStatus.OK,
            '0.0 depth maps',
        ),
        (
            Snapshot(stamp_age_s=30.0, frame_id='camera'),
            {},
            'input',
            DiagnosticStatus.WARN,
            'stamps of the images are 30.0 s old (max_age_s = 5)',
        ),
        (
            Snapshot(stamp_age_s=-30.0, frame_id='camera'),
            {},
            'input',
            DiagnosticStatus.WARN,
            '30.0 s ahead of the clock',
        ),
        (
            Snapshot(stamp_age_s=30.0, frame_id='camera'),
            {'health': HealthOptions(max_age_s=0.0)},
            'input',
            DiagnosticStatus.OK,
            '0.0 images a second',
        ),
        (Snapshot(frame_id=''), {}, 'input', DiagnosticStatus.WARN, 'frame_id of the images is'),
        (
            Snapshot(stamp_age_s=-1e9, frame_id='camera'),
            {'clock_stands': True},
            'input',
            DiagnosticStatus.WARN,
            'no time came on /clock',
        ),
    ],
)
def test_each_part_says_its_own_and_the_whole_the_worst(
    counts: Snapshot, changes: dict[str, Any], part: str, level: bytes, said: str
) -> None:
    found = statuses(counts, **changes)
    assert set(found) == {'mono_depth', *(f'mono_depth: {name}' for name in PARTS)}
    assert found[f'mono_depth: {part}'].level == level
    assert said in found[f'mono_depth: {part}'].message
    assert found['mono_depth'].level == level
    others = [found[f'mono_depth: {name}'].level for name in PARTS if name != part]
    assert others == [DiagnosticStatus.OK] * 3
    if level != DiagnosticStatus.OK:
        assert said in found['mono_depth'].message


def test_what_the_watchdog_does_is_said_where_inference_is() -> None:
    busy = WatchState(first_backend='openvino', at_work='it hangs; opening openvino')
    found = statuses(Snapshot(), replace(ACTIVE, watch=busy))['mono_depth: inference']
    assert (found.level, found.message) == (DiagnosticStatus.ERROR, 'it hangs; opening openvino')
    other = WatchState(first_backend='tensorrt', reopened=2, last_problem='it hung')
    found = statuses(Snapshot(rate_out_hz=3.0), replace(ACTIVE, watch=other))[
        'mono_depth: inference'
    ]
    assert found.level == DiagnosticStatus.WARN
    assert found.message == '3.0 depth maps a second on openvino, in place of tensorrt: it hung'
    assert values(found)['watchdog_reopened'] == '2'


def test_texts_of_problems_go_when_they_are_over(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = [100.0]
    monkeypatch.setattr('depth_ros.frames.statistics.time.monotonic', lambda: now_s[0])
    statistics = FrameStatistics()
    statistics.arrived(stamp_age_s=0.1, frame_id='camera')
    statistics.dropped(DropReason.SIZE, 'wrong')
    now_s[0] += 4.0
    counts = statistics.snapshot()
    assert counts.problem_ages_s == {DropReason.SIZE: 4.0}
    assert counts.unanswered_s == 4.0
    said = values(status(counts))
    assert (said['problem_size'], said['problem_size_age_s']) == ('wrong', '4.0')
    statistics.published(times(0.02), valid_fraction=1.0)
    now_s[0] += REPEAT_S
    counts = statistics.snapshot()
    assert (counts.unanswered_s, counts.out_ages_s) == (0.0, (REPEAT_S,))
    said = values(status(counts))
    assert 'problem_size' not in said
    assert said['dropped_size'] == '1', 'the count stays'
