# SPDX-License-Identifier: Apache-2.0
"""Real nodes in their own processes, and a peer in this one that talks to them.

Nothing here sleeps for a fixed time: every wait is for a condition, with a generous limit that
only a broken node reaches.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy

from depth_ros.demo.children import (
    DOMAINS,
    free_domain_id,
    remove_orphans,
    shared_memory_names,
)
from depth_ros.middleware.fastdds import fitting_profile

REPOSITORY = Path(__file__).resolve().parents[2]
PATIENCE_S = 240.0
"""How long a condition may take on a machine that is busy with other things."""

MOST_PROCESSES = 4
"""So many of a test share the shared memory, its own included."""

FEED_PERIOD_S = 0.2
"""Time between two messages that are sent until something answers."""

RELIABLE = QoSProfile(depth=50, reliability=ReliabilityPolicy.RELIABLE)
BEST_EFFORT = QoSProfile(depth=50, reliability=ReliabilityPolicy.BEST_EFFORT)

TRANSITIONS = {
    'configure': Transition.TRANSITION_CONFIGURE,
    'activate': Transition.TRANSITION_ACTIVATE,
    'deactivate': Transition.TRANSITION_DEACTIVATE,
    'cleanup': Transition.TRANSITION_CLEANUP,
    'shutdown_unconfigured': Transition.TRANSITION_UNCONFIGURED_SHUTDOWN,
}
STATES = {
    State.PRIMARY_STATE_UNCONFIGURED: 'unconfigured',
    State.PRIMARY_STATE_INACTIVE: 'inactive',
    State.PRIMARY_STATE_ACTIVE: 'active',
    State.PRIMARY_STATE_FINALIZED: 'finalized',
    State.TRANSITION_STATE_CONFIGURING: 'configuring',
}


def domain_id_of_this_worker() -> int:
    """Return a domain that no process of this machine uses, and no other worker of this test run.

    A domain looks free until its first participant is there, so that two workers that search at
    the same time might find the same: each has domains of its own to search.
    """
    worker = int(os.environ.get('PYTEST_XDIST_WORKER', 'gw0').removeprefix('gw'))
    workers = int(os.environ.get('PYTEST_XDIST_WORKER_COUNT', '1'))
    return free_domain_id(DOMAINS[worker::workers])


def ros_environment(domain_id: int, log_dir: Path) -> dict[str, str]:
    """Variables that keep a test's ROS on this machine and out of the home folder."""
    return {
        'ROS_DOMAIN_ID': str(domain_id),
        'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST',
        'FASTDDS_DEFAULT_PROFILES_FILE': str(fitting_profile(log_dir, processes=MOST_PROCESSES)),
        'ROS_LOG_DIR': str(log_dir),
        'OMP_NUM_THREADS': '1',
        'PYTHONPATH': str(REPOSITORY),
    }


@dataclass
class NodeProcess:
    """A started executable; its output is collected in a file."""

    process: subprocess.Popen[bytes]
    log_file: Path

    @property
    def output(self) -> str:
        """What it printed and logged so far."""
        return self.log_file.read_text(encoding='utf-8', errors='replace')

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def end(self) -> None:
        """Wait a while for its own end, then kill it."""
        try:
            self.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def wait(self) -> int:
        """Return its exit status once it has ended."""
        return self.process.wait(PATIENCE_S)


@dataclass
class RosSession:
    """A domain of its own: processes that live in it and a peer node of the test."""

    node: Node
    executor: SingleThreadedExecutor
    environment: Mapping[str, str]
    folder: Path
    processes: list[NodeProcess] = field(default_factory=list)

    def start(self, *arguments: str, environment: Mapping[str, str] | None = None) -> NodeProcess:
        """Start `python <arguments>` in this domain, from a folder that is not the checkout."""
        log_file = self.folder / f'process_{len(self.processes)}.log'
        with log_file.open('wb') as log:
            process = subprocess.Popen(
                [sys.executable, *arguments],
                cwd=self.folder,
                env={**os.environ, **self.environment, **(environment or {})},
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        started = NodeProcess(process, log_file)
        self.processes.append(started)
        return started

    def start_node(
        self,
        module: str,
        *,
        parameters: Mapping[str, object] | None = None,
        remappings: Mapping[str, str] | None = None,
        arguments: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> NodeProcess:
        """Start a module of this package as a node."""
        ros: list[str] = []
        for name, value in (parameters or {}).items():
            ros += ['-p', f'{name}:={_yaml(value)}']
        for name, target in (remappings or {}).items():
            ros += ['-r', f'{name}:={target}']
        command = ('-m', module, *arguments, '--ros-args', *ros)
        return self.start(*command, environment=environment)

    def until(self, condition: Callable[[], bool], what: str) -> None:
        """Handle messages until `condition` holds."""
        end_s = time.monotonic() + PATIENCE_S
        while not condition():
            alive = [item for item in self.processes if item.process.poll() is None]
            if time.monotonic() > end_s or (self.processes and not alive):
                logs = '\n'.join(item.output for item in self.processes)
                why = 'waited too long' if alive else 'every process has ended'
                message = f'{why} for: {what}\n{logs}'
                raise AssertionError(message)
            self.executor.spin_once(timeout_sec=0.05)

    def collect(self, kind: Any, topic: str, qos: QoSProfile = RELIABLE) -> list[Any]:
        """Subscribe, wait until a publisher is found, and return the list that fills."""
        received: list[Any] = []
        subscription = self.node.create_subscription(kind, topic, received.append, qos)
        self.until(lambda: subscription.get_publisher_count() > 0, f'a publisher of {topic}')
        return received

    def outputs(self, kinds: Mapping[str, Any], qos: QoSProfile = RELIABLE) -> dict[str, Any]:
        """`collect` outputs of mono_depth and wait until the node itself has discovered them.

        Both sides discover each other at different times, and a frame that comes before the
        node has found a subscriber is not computed.
        """
        received = {topic: self.collect(kind, f'/{topic}', qos) for topic, kind in kinds.items()}
        self.diagnostics(
            lambda said: set(kinds) <= set(said['outputs_wanted'].split()), 'who listens'
        )
        return received

    def publisher(self, kind: Any, topic: str, qos: QoSProfile = RELIABLE) -> Any:
        """Return a publisher that already has its subscriber."""
        publisher = self.node.create_publisher(kind, topic, qos)
        self.until(lambda: publisher.get_subscription_count() > 0, f'a subscriber of {topic}')
        return publisher

    def feed(self, publish: Callable[[int], None], received: list[Any]) -> Any:
        """Publish message after message until something is received; the first that was.

        A best-effort reader that has not yet discovered its writer receives nothing, even when
        the writer has discovered it, so a single message proves nothing.
        """
        for number in range(int(PATIENCE_S / FEED_PERIOD_S)):
            publish(number)
            end_s = time.monotonic() + FEED_PERIOD_S
            while time.monotonic() < end_s:
                self.executor.spin_once(timeout_sec=0.02)
                if received:
                    return received[0]
        logs = '\n'.join(item.output for item in self.processes)
        message = f'nothing was received\n{logs}'
        raise AssertionError(message)

    def call(self, kind: Any, name: str, request: Any) -> Any:
        """Call a service and return its answer."""
        client: Any = self.node.create_client(kind, name)
        self.until(client.service_is_ready, f'the service {name}')
        future = client.call_async(request)
        self.until(future.done, f'an answer of {name}')
        self.node.destroy_client(client)
        return future.result()

    def change_state(self, node_name: str, transition: str) -> bool:
        """Ask a lifecycle node for a transition; whether it succeeded."""
        request = ChangeState.Request(transition=Transition(id=TRANSITIONS[transition]))
        return bool(self.call(ChangeState, f'/{node_name}/change_state', request).success)

    def state(self, node_name: str) -> str:
        """Name of the state of a lifecycle node."""
        answer = self.call(GetState, f'/{node_name}/get_state', GetState.Request())
        return STATES[answer.current_state.id]

    def diagnostics(self, accept: Callable[[dict[str, str]], bool], what: str) -> dict[str, str]:
        """Return the values of the first status of a mono_depth that `accept` returns true for.

        That of the whole node, which holds the values of its parts.

        The name, the level and the message are under `name`, `level` and `message`.
        """
        found: list[dict[str, str]] = []

        def look(message: DiagnosticArray) -> None:
            for status in message.status:
                if ': ' in status.name:  # of a part
                    continue
                values = {item.key: item.value for item in status.values}
                values['name'] = status.name
                values['level'] = str(int.from_bytes(status.level, 'little'))
                values['message'] = status.message
                if accept(values):
                    found.append(values)

        subscription = self.node.create_subscription(DiagnosticArray, '/diagnostics', look, 10)
        self.until(lambda: bool(found), f'diagnostics that say {what}')
        self.node.destroy_subscription(subscription)
        return found[0]


@contextlib.contextmanager
def ros_session(folder: Path) -> Iterator[RosSession]:
    """Open a domain, and end every process in it afterwards."""
    domain_id = domain_id_of_this_worker()
    environment = ros_environment(domain_id, folder / 'ros_log')
    former = {name: os.environ.get(name) for name in environment}
    before = shared_memory_names()
    os.environ.update(environment)
    context = Context()
    rclpy.init(context=context, domain_id=domain_id)
    node = Node('test_peer', context=context)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    session = RosSession(node, executor, environment, folder)
    try:
        yield session
    finally:
        for item in session.processes:
            if item.process.poll() is None:
                item.signal(signal.SIGINT)
        for item in session.processes:
            item.end()
        executor.shutdown()
        node.destroy_node()
        context.try_shutdown()
        remove_orphans(before, domain_id=domain_id)
        for name, value in former.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _yaml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"'{value}'" if isinstance(value, str) else str(value)
