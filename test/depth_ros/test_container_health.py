# SPDX-License-Identifier: Apache-2.0
"""What Docker asks a container: is its node well?"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus

from test.depth_ros.ros_processes import REPOSITORY, RosSession, ros_session

pytestmark = pytest.mark.ros
HEALTH = str(REPOSITORY / 'docker' / 'health.py')


@pytest.fixture
def ros(tmp_path: Path) -> Iterator[RosSession]:
    with ros_session(tmp_path) as session:
        yield session


def test_a_node_that_waits_is_well(ros: RosSession) -> None:
    waiting = {'autostart': False, 'diagnostics_period_s': 0.2}
    ros.start_node('depth_ros.mono_depth_node', parameters=waiting)
    ros.diagnostics(lambda said: said['state'] == 'unconfigured', 'that it waits')
    asked = ros.start(HEALTH)
    assert asked.wait() == 0, asked.output


def test_a_node_that_reports_an_error_is_not(ros: RosSession) -> None:
    asked = ros.start(HEALTH)
    said = ros.publisher(DiagnosticArray, '/diagnostics')
    statuses = [
        DiagnosticStatus(name=name, level=DiagnosticStatus.OK, message='of another node')
        for name in ('camera', 'rear/mono_depth', 'mono_depth_2')
    ] + [
        DiagnosticStatus(name='mono_depth', level=DiagnosticStatus.ERROR, message='no answers'),
    ]

    def ended() -> bool:
        said.publish(DiagnosticArray(status=statuses))
        return asked.process.poll() is not None

    ros.until(ended, 'the end of the question')
    assert asked.wait() == 1
    assert asked.output == 'no answers\n'
