# SPDX-License-Identifier: Apache-2.0
"""Command lines of the ROS commands: depth_core's rules, beside ROS's own arguments."""

from __future__ import annotations

import argparse

import pytest

from depth_core.errors import ConfigError
from depth_ros.arguments import CommandParser, not_negative, without_ros_arguments


@pytest.fixture
def parser() -> CommandParser:
    parser = CommandParser(prog='depth_ros.there', description='Do it.')
    parser.add_argument('bag')
    parser.add_argument('--start_s', type=not_negative, default=0.0, help='where to begin')
    return parser


def test_what_belongs_to_ros_is_left_to_it() -> None:
    given = ['a', '--ros-args', '-r', '__ns:=/left', '--', '--x', '--ros-args', '-p', 'y:=1']
    assert without_ros_arguments(given) == ['a', '--x']


def test_values_beside_ros_arguments(parser: CommandParser) -> None:
    options = parser.parse_command(['a', '--ros-args', '--log-level', 'info', '--', '--start_s=2'])
    assert (options.bag, options.start_s) == ('a', 2.0)


@pytest.mark.parametrize(
    ('arguments', 'words'),
    [
        (['a', '--start', '1'], "unknown option '--start'; did you mean '--start_s'?"),
        (['--ros-args', '-r', 'a:=b'], 'required: bag'),
        (['a', '--start_s', '-1'], "'-1' is not a number of at least 0"),
    ],
)
def test_wrong_arguments_are_refused_by_name(
    parser: CommandParser, arguments: list[str], words: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        parser.parse_command(arguments)
    assert words in str(caught.value)
    assert str(caught.value).endswith('. See python -m depth_ros.there --help.')


def test_a_default_of_zero_is_stated(parser: CommandParser) -> None:
    assert 'where to begin (default: 0.0)' in parser.format_help()


@pytest.mark.parametrize('text', ['-0.1', 'inf', 'nan', 'x'])
def test_not_negative(text: str) -> None:
    assert not_negative('0') == 0.0
    with pytest.raises(argparse.ArgumentTypeError, match='of at least 0'):
        not_negative(text)
