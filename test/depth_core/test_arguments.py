# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from depth_core.arguments import CommandParser, count, names, positive, whole
from depth_core.errors import ConfigError


@pytest.fixture
def parser() -> CommandParser:
    parser = CommandParser(prog='python -m there', description='Do it.')
    parser.add_argument('input', nargs='+')
    parser.add_argument('--model', required=True)
    parser.add_argument('--far_m', type=positive)
    parser.add_argument('--frames', type=count, default=3, help='how many')
    parser.add_argument('--backends', type=names, help='which')
    return parser


def test_values_are_typed(parser: CommandParser) -> None:
    options = parser.parse_command(['a', '--model=m', '--far_m', '2.5', '--backends', 'x, y,'])
    assert (options.far_m, options.frames, options.backends) == (2.5, 3, ('x', 'y'))


@pytest.mark.parametrize(
    ('arguments', 'words'),
    [
        (['a', '--modle', 'm'], ("'--modle'", "did you mean '--model'")),
        (['a', '--modle=m'], ("'--modle'", "did you mean '--model'")),
        (['a', '--mod', 'm'], ("unknown option '--mod'",)),
        (['a'], ('required: --model',)),
        (['--model', 'm'], ('required: input',)),
        (['a', '--model', 'm', '--far_m', '0'], ('--far_m', "'0' is not a number above 0")),
        (['a', '--model', 'm', '--far_m', 'inf'], ('--far_m', "'inf'")),
        (['a', '--model', 'm', '--far_m', 'x'], ('--far_m', "'x'")),
        (['a', '--model', 'm', '--frames', '1.5'], ('--frames', "'1.5' is not a whole number")),
        (['a', '--model', 'm', '--backends', ','], ('--backends', 'holds no name')),
    ],
)
def test_wrong_arguments_are_refused_by_name(
    parser: CommandParser, arguments: list[str], words: tuple[str, ...]
) -> None:
    with pytest.raises(ConfigError) as caught:
        parser.parse_command(arguments)
    assert str(caught.value).endswith('See python -m there --help.')
    for word in words:
        assert word in str(caught.value)


def test_whole_numbers_begin_at_zero(parser: CommandParser) -> None:
    parser.add_argument('--limit', type=whole)
    assert parser.parse_command(['a', '--model', 'm', '--limit', '0']).limit == 0
    for text in ('-1', '0.5', 'many'):
        with pytest.raises(ConfigError, match=f"'{text}' is not a whole number of at least 0"):
            parser.parse_command(['a', '--model', 'm', '--limit', text])


def test_what_follows_two_dashes_is_no_option(parser: CommandParser) -> None:
    assert parser.parse_command(['--model', 'm', '--', '--odd']).input == ['--odd']


def test_help_states_defaults_where_there_are_any(parser: CommandParser) -> None:
    assert 'how many (default: 3)' in parser.format_help()
    assert 'None' not in parser.format_help()
