# SPDX-License-Identifier: Apache-2.0
"""QoS by topic: parameters `qos_overrides.<topic>.<publisher or subscription>.<policy>`.

They are called as rclcpp and rclpy call theirs, declared when the node is made, and hold for the
topics as they are after remapping. One that is not given leaves the policy to the node.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Literal, TypeAlias

from rcl_interfaces.msg import ParameterDescriptor
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy

from depth_core.errors import ConfigError, unknown_name
from depth_ros.options.fields import RCLPY_PREFIX

Role: TypeAlias = Literal['publisher', 'subscription']

MOST_DEPTH: Final = 1000

_CHOICES: Final[Mapping[str, Mapping[str, Any]]] = {
    'history': {'keep_last': HistoryPolicy.KEEP_LAST, 'keep_all': HistoryPolicy.KEEP_ALL},
    'reliability': {
        'reliable': ReliabilityPolicy.RELIABLE,
        'best_effort': ReliabilityPolicy.BEST_EFFORT,
    },
    'durability': {
        'volatile': DurabilityPolicy.VOLATILE,
        'transient_local': DurabilityPolicy.TRANSIENT_LOCAL,
    },
}
_POLICIES: Final = ('depth', *_CHOICES)
_OF_RCLPY: Final = tuple(f'{RCLPY_PREFIX}/{topic}.' for topic in ('clock', 'parameter_events'))
"""Topics that rclpy has overrides of."""


class QosOverrides:
    """What the user wants of each topic, and the parameters that say it."""

    def __init__(self, given: Mapping[str, object]) -> None:
        """Take the parameters that begin with `qos_overrides.`."""
        self._given = {
            name: value
            for name, value in given.items()
            if name.startswith(RCLPY_PREFIX) and not name.startswith(_OF_RCLPY)
        }

    def check(self, topics: Iterable[tuple[str, Role]]) -> None:
        """Refuse overrides of other topics, of other policies and of wrong values.

        Args:
            topics: The resolved topics of the node, with what it is there.

        Raises:
            ConfigError: There are some. All of them are in the one message.
        """
        known = [
            f'{RCLPY_PREFIX}{topic}.{role}.{policy}'
            for topic, role in topics
            for policy in _POLICIES
        ]
        problems = []
        for name, value in self._given.items():
            if name not in known:
                problems.append(unknown_name('parameter', name, known))
            elif problem := _problem(name, value):
                problems.append(problem)
        if problems:
            raise ConfigError('\n  '.join(problems))

    def profile(self, topic: str, role: Role, usual: QoSProfile) -> QoSProfile:
        """Return the profile of a resolved topic: the usual one, where nothing else is wanted."""
        profile = copy.copy(usual)
        for policy in _POLICIES:
            value = self._given.get(f'{RCLPY_PREFIX}{topic}.{role}.{policy}')
            if value is not None:
                choices = _CHOICES.get(policy)
                setattr(profile, policy, value if choices is None else choices[str(value)])
        return profile

    def declare(self, node: Node, topic: str, role: Role, usual: QoSProfile) -> None:
        """Declare the parameters of a resolved topic, with the values that hold at start."""
        profile = self.profile(topic, role, usual)
        for policy in _POLICIES:
            value = getattr(profile, policy)
            described = ParameterDescriptor(
                description=f'QoS of the {role} of {topic}: {policy} [{_allowed(policy)}]',
                read_only=True,
            )
            node.declare_parameter(
                f'{RCLPY_PREFIX}{topic}.{role}.{policy}',
                value if policy == 'depth' else value.name.lower(),
                described,
                ignore_override=True,
            )


Profiles: TypeAlias = Callable[[str, Role, QoSProfile], QoSProfile]
"""`QosOverrides.profile`."""


def usual_profile(_topic: str, _role: Role, usual: QoSProfile) -> QoSProfile:
    """The profile of a topic where nobody wants another."""
    return usual


def _allowed(policy: str) -> str:
    return ', '.join(_CHOICES[policy]) if policy in _CHOICES else f'1 to {MOST_DEPTH} messages'


def _problem(name: str, value: object) -> str:
    """What is wrong with the value of a known parameter; empty when nothing is."""
    policy = name.rpartition('.')[2]
    choices = _CHOICES.get(policy)
    if choices is None:
        right = type(value) is int and 1 <= value <= MOST_DEPTH
    else:
        right = isinstance(value, str) and value in choices
    return '' if right else f'parameter {name} = {value!r} is none; give {_allowed(policy)}.'
