# SPDX-License-Identifier: Apache-2.0
"""TensorRT engines through the live node, on stand-ins for TensorRT and the GPU's driver."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from numpy.testing import assert_allclose
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import GetParameters, SetParameters
from sensor_msgs.msg import Image

from depth_core.runtime import Predictor
from test.depth_ros.ros_processes import NodeProcess, RosSession, ros_session
from test.depth_ros.sample_messages import image, picture, pixels_of
from test.fakes.installation import child_environment
from test.standin import write_standin_onnx

pytestmark = pytest.mark.ros

MODULE = 'depth_ros.mono_depth_node'
LONG_S = '600'
"""Longer than any test waits."""


class Machine:
    """A machine with a stand-in of a GPU, a model, and an empty cache of engines."""

    def __init__(self, ros: RosSession, folder: Path) -> None:
        self.ros = ros
        self.model = write_standin_onnx(folder / 'standin.onnx')
        self.cache = folder / 'engines'
        self.builds = folder / 'builds.log'

    def start(
        self, name: str = 'mono_depth', *, parameters: dict[str, object], **variables: str
    ) -> NodeProcess:
        """Start a node of the name; `variables` change how the stand-ins behave."""
        return self.ros.start_node(
            MODULE,
            parameters={
                'model': str(self.model),
                'engine.cache_dir': str(self.cache),
                'diagnostics_period_s': 0.1,
                **parameters,
            },
            remappings={'__node': name},
            environment={
                **child_environment(),
                'FAKE_TENSORRT_BUILD_LOG': str(self.builds),
                **variables,
            },
        )

    def said(
        self, name: str, accept: Callable[[dict[str, str]], bool], what: str
    ) -> dict[str, str]:
        """Diagnostics of the node of that name."""
        return self.ros.diagnostics(lambda said: said['name'] == name and accept(said), what)

    @property
    def build_count(self) -> int:
        """How many builds were begun."""
        return len(self.builds.read_text().splitlines()) if self.builds.exists() else 0

    @property
    def plans(self) -> list[Path]:
        """The engines in the cache."""
        return [path for path in self.cache.rglob('*') if path.suffix == '.plan']


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    with ros_session(tmp_path) as session:
        yield Machine(session, tmp_path)


def test_two_nodes_build_one_engine_and_answer_while_it_is_built(machine: Machine) -> None:
    ros = machine.ros
    names = ('one', 'two')
    seen = machine.cache.with_name('seen')
    for name in names:
        machine.start(
            name, parameters={'backend': 'tensorrt'}, FAKE_TENSORRT_BUILD_UNTIL=str(seen)
        )
    builder = machine.ros.diagnostics(lambda said: said['build_fraction'] != '', 'a build')
    assert builder['state'] == 'configuring'
    assert 0.0 <= float(builder['build_fraction']) <= 1.0
    assert builder['build_phase'] in builder['message']
    assert ros.state(builder['name']) == 'configuring'
    request = GetParameters.Request(names=['precision'])
    answer = ros.call(GetParameters, f'/{builder["name"]}/get_parameters', request)
    assert answer.values[0].string_value == 'fp32'
    other = next(name for name in names if name != builder['name'])
    machine.said(other, lambda said: said['state'] == 'configuring', 'that it waits')
    seen.touch()
    for name in names:
        said = machine.said(name, lambda said: said['state'] == 'active', 'that it is active')
        assert said['backend'] == 'tensorrt'
        assert said['engine_tensorrt'] == 'tensorrt 10.3.0'
        assert said['engine_gpu'] == 'Fake GPU'
        assert len(said['engine_key']) == 12
        assert 'depth within' in said['engine_agreement']
        assert not [key for key in said if key.startswith('passed_over')]
    assert machine.build_count == 1
    assert len(machine.plans) == 1

    depths = ros.collect(Image, '/depth/image_raw')
    images = ros.node.create_publisher(Image, '/image', 10)
    found = ros.feed(lambda _: images.publish(image(3)), depths)
    expected = Predictor.open(machine.model, backend='onnxruntime', threads=1).predict(picture(3))
    # One code of the resized image is 10 m / 255 / 3.
    assert_allclose(pixels_of(found), expected.depth_m, atol=0.04)
    assert pixels_of(found).std() > 0.5


def test_an_engine_that_miscomputes_is_never_served(machine: Machine) -> None:
    ros = machine.ros
    node = machine.start(
        parameters={
            'backend': 'tensorrt, onnxruntime',
            'strict_backend': True,
            'autostart': False,
        },
        FAKE_TENSORRT_BROKEN='1.5',
    )
    assert not ros.change_state('mono_depth', 'configure')
    assert ros.state('mono_depth') == 'unconfigured'
    refused = machine.said('mono_depth', lambda said: said['failure'] != '', 'why it failed')
    assert refused['level'] == '2'
    assert 'strict forbids another: tensorrt' in refused['failure']
    assert 'depth differs by 0.5 on average' in refused['failure']

    value = ParameterValue(type=ParameterType.PARAMETER_BOOL, bool_value=False)
    change = SetParameters.Request(parameters=[Parameter(name='strict_backend', value=value)])
    assert ros.call(SetParameters, '/mono_depth/set_parameters', change).results[0].successful
    assert ros.change_state('mono_depth', 'configure')
    assert ros.change_state('mono_depth', 'activate')
    said = machine.said('mono_depth', lambda said: said['state'] == 'active', 'what serves')
    assert said['backend'] == 'onnxruntime'
    assert said['engine_key'] == ''
    assert said['failure'] == ''
    assert 'depth differs by 0.5 on average' in said['passed_over_tensorrt']
    assert 'backend tensorrt is passed over' in node.output
    assert 'Traceback' not in node.output


def test_a_build_is_given_up_when_the_node_is_to_end(machine: Machine) -> None:
    ros = machine.ros
    nodes = {
        name: machine.start(
            name,
            parameters={
                'backend': 'tensorrt',
                'engine.cache_dir': str(machine.cache / name),
                'build_only': name == 'builder',
            },
            FAKE_TENSORRT_BUILD_S=LONG_S,
        )
        for name in ('interrupted', 'terminated', 'shut_down', 'builder')
    }
    for name in nodes:
        machine.said(name, lambda said: said['build_fraction'] != '', 'that it builds')
    assert ros.change_state('shut_down', 'shutdown_unconfigured')
    nodes['interrupted'].signal(signal.SIGINT)
    nodes['terminated'].signal(signal.SIGTERM)
    nodes['builder'].signal(signal.SIGINT)
    for name in ('shut_down', 'interrupted', 'terminated'):
        assert nodes[name].wait() == 0, nodes[name].output
    assert nodes['builder'].wait() == 130, 'what it was started for is not done'
    for name, node in nodes.items():
        assert 'configure given up after' in node.output, name
        assert 'Traceback' not in node.output, name
    assert machine.plans == []


def test_build_only_builds_or_checks_an_engine_and_says_whether_it_may_be_used(
    machine: Machine,
) -> None:
    def build(*, cache: Path = machine.cache, **variables: str) -> NodeProcess:
        parameters = {'build_only': True, 'engine.cache_dir': str(cache)}
        return machine.start(parameters=parameters, **variables)

    first = build()
    assert first.wait() == 0, first.output
    again = build()
    cases = {
        'no driver': build(FAKE_GPU_DRIVER='none'),
        'no TensorRT': build(FAKE_ABSENT='tensorrt tensorrt_rtx'),
        'refused': build(FAKE_TENSORRT_BROKEN='1.5', FAKE_GPU_NAME='Another GPU'),
        'not kept': build(cache=machine.model),
    }
    assert again.wait() == 0, again.output
    for node in (first, again):
        assert 'on Fake GPU, fp32: depth within' in node.output
        assert 'subscribed' not in node.output
    words = {
        'no driver': 'driver',
        'no TensorRT': 'tensorrt is not installed or does not load',
        'refused': 'depth differs by 0.5 on average',
        'not kept': 'could not be kept',
    }
    for name, node in cases.items():
        assert node.wait() == 2, node.output
        assert words[name] in node.output, node.output
        assert 'Traceback' not in node.output
    assert len(machine.plans) == 1
