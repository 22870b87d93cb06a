# SPDX-License-Identifier: Apache-2.0
"""The long form of the attacks: `make stress`, or `python -m test.security [--kills N]`.

Every hostile file is opened, and every command that writes files is killed N times. The status is
2 when something was not survived. What the node withstands: `python -m depth_ros.stress`.
"""

from __future__ import annotations

import itertools
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from depth_core.arguments import CommandParser, whole
from depth_core.errors import DepthError, run_command
from test.security.attack import Outcome, attack, summary
from test.security.commands import COMMANDS
from test.security.hostile import CASES, FORMATS
from test.security.kills import Kill, trials
from test.security.signals import PARENTS, STATUS, ended


def main(arguments: Sequence[str] | None = None) -> None:
    """Try everything and print the counts.

    Raises:
        DepthError: Something was not survived.
    """
    parser = CommandParser(prog='test.security', description='Attack the package.')
    parser.add_argument('--kills', type=whole, default=30, help='kills of each command')
    parser.add_argument('--seed', type=int, default=0, help='of the times of the kills')
    parser.add_argument(
        '--commands', nargs='+', choices=[one.name for one in COMMANDS], help='those to kill; all'
    )
    parser.add_argument('--formats', nargs='+', choices=FORMATS, help='of hostile files; all')
    parser.add_argument('--inputs', type=whole, default=1, help='0 leaves hostile files out')
    options = parser.parse_command(arguments)
    faults: list[str] = []
    with tempfile.TemporaryDirectory() as scratch:
        if options.inputs:
            outcomes: list[Outcome] = []
            for name in options.formats or FORMATS:
                cases = [case for case in CASES if case.format == name]
                of_format = attack(cases, Path(scratch) / 'inputs')
                outcomes += of_format
                sys.stdout.write(f'{summary(of_format)}\n')
                sys.stdout.flush()
                faults += [f'{one.name}: {fault}' for one in of_format for fault in one.faults]
            sys.stdout.write(f'{len(outcomes)} inputs tried, {_good(outcomes)} survived\n')
        chosen = [one for one in COMMANDS if one.name in (options.commands or [one.name])]
        for command in chosen if options.kills else ():
            killed = trials(
                command, Path(scratch) / 'kills', count=options.kills, seed=options.seed
            )
            late = sum(one.finished for one in killed)
            sys.stdout.write(
                f'{command.name:<12} {len(killed):>4} points killed, {_good(killed):>4} survived '
                f'({late} had finished)\n'
            )
            sys.stdout.flush()
            faults += [
                f'{one.command} killed after {one.at_s:.2f} s: {fault}'
                for one in killed
                for fault in one.faults
            ]
        for parent in PARENTS if options.kills else ():
            if parent.command.name not in (options.commands or [parent.command.name]):
                continue
            for number, group in itertools.product(STATUS, (False, True)):
                name = f'{parent.command.name}_{number.name}_{group}'
                one = ended(parent, Path(scratch) / 'signals' / name, number, group=group)
                survived = 'survived' if not one.faults else 'FAILED'
                sys.stdout.write(f'{one.command}: ended with its children: {survived}\n')
                sys.stdout.flush()
                faults += [f'{one.command}: {fault}' for fault in one.faults]
    if faults:
        message = f'{len(faults)} faults:\n  ' + '\n  '.join(faults)
        raise DepthError(message)


def _good(tried: Sequence[Outcome] | Sequence[Kill]) -> int:
    return sum(not one.faults for one in tried)


if __name__ == '__main__':
    run_command(main)
