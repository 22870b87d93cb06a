# SPDX-License-Identifier: Apache-2.0
"""One small tree of exceptions: whatever a user can cause is a `DepthError`.

A message names the value that was found, the rule it breaks and the remedy. Commands print
the message without a traceback and exit with status 2; the node logs it or counts a drop.
"""

from __future__ import annotations

import difflib
import errno
import sys
from collections.abc import Callable, Iterable
from typing import Final, NoReturn

from depth_core.names import printable_lines
from depth_core.processes import (
    INTERRUPTED,
    TERMINATED,
    UNREAD,
    OutputError,
    checked_stream,
    flush_checked,
    terminated_cleanly,
)

FAILED: Final = 2
"""Exit status after a `DepthError`."""


_LONGEST_NAME = 200
"""Characters of a name that is shown and compared with the known ones."""


class DepthError(Exception):
    """Base of every error that wrong input, a missing file or the machine can cause.

    What a message quotes is shown as `depth_core.names` has it, wherever it is printed or logged.
    """

    def __str__(self) -> str:
        return printable_lines(super().__str__())


class ConfigError(DepthError):
    """A setting, option or parameter is unknown, out of range or contradicts another."""


class PlacedError(ConfigError):
    """The same of a part that stands in several places: whoever knows the place adds it."""

    def __init__(self, *, key: str, value: object, rule: str) -> None:
        """Take the key below that place, its value, and the rule as a remedy."""
        super().__init__(f'{key} is {value}; {rule}.')


class DataError(DepthError):
    """A dataset, image, bag or ground truth is missing, truncated or not what was declared."""


class CheckpointError(DepthError):
    """A checkpoint or weight file is missing, corrupt or belongs to another model."""


class ModelError(DepthError):
    """A network cannot take what it was given, or a graph does not keep its contract."""


class BackendError(DepthError):
    """A runtime backend is unknown, not installed or cannot run the graph."""


class ExportError(DepthError):
    """An exported graph does not agree with the network it came from, or cannot be made."""


def missing_package(asked: str, package: str, *, extra: str, instead: str) -> str:
    """Say that the optional package of an option is not installed.

    Args:
        asked: The option, as it was given.
        package: Name of the package.
        extra: The extra of depth_ros that brings it.
        instead: What to do without it.
    """
    return (
        f'{asked} needs the package {package}, which is not installed: '
        f"pip install 'depth_ros[{extra}]', or {instead}."
    )


def unknown_name(kind: str, name: str, known: Iterable[str]) -> str:
    """Say that `name` is unknown, which name is nearest, and which names there are.

    Args:
        kind: What was looked up, as the user would call it: `'model'`, `'protocol'`.
        name: The name that was not found.
        known: Every name that would have been accepted.

    Returns:
        One sentence for the message of a `DepthError`.
    """
    names = sorted(known)
    folded = {item.casefold(): item for item in names}
    given = str(name)  # from YAML it may be a number
    wanted = given[:_LONGEST_NAME].strip().casefold()
    nearest = [folded[item] for item in difflib.get_close_matches(wanted, folded, n=1)]
    hint = f'; did you mean {nearest[0]!r}?' if nearest else '.'
    quoted = name if len(given) <= _LONGEST_NAME else f'{given[:_LONGEST_NAME]}...'
    return f'unknown {kind} {quoted!r}{hint} Known: {", ".join(names)}'


class CommandEndError(SystemExit):
    """The end of a command, which has said why."""


def run_command(main: Callable[[], object]) -> NoReturn:
    """Run a command and turn what a user can cause into one line on stderr and a status.

    The status is 0 when the work is done; 2 after a `DepthError`, and when standard output is
    full; 130 after Ctrl-C and 143 after SIGTERM; 141 when whoever reads standard output has gone,
    as of `| head -1`. Anything else is a defect of this package and keeps its traceback.

    Whatever the encoding of the terminal, text can be written: what it lacks, and bytes of file
    names that are no text, are written escaped.
    """
    sys.stdout = checked_stream(sys.stdout, 1)
    sys.stderr = checked_stream(sys.stderr, 2)
    status: object = 0
    try:
        with terminated_cleanly():
            main()
    except DepthError as error:
        status = _said(f'error: {error}', FAILED)
    except KeyboardInterrupt:
        status = _said('interrupted', INTERRUPTED)
    except OutputError as error:
        status = _unwritten(error)
    except CommandEndError:
        raise
    except SystemExit as ended:
        status = ended.code
        if status == TERMINATED:
            status = _said('terminated', TERMINATED)
    try:
        if status:
            sys.stdout.flush()
        else:
            flush_checked(sys.stdout)
    except OutputError as error:
        status = _unwritten(error)
    raise CommandEndError(status)


def _said(text: str, status: int) -> int:
    try:
        sys.stderr.write(f'{text}\n')
        sys.stderr.flush()
    except OutputError as error:
        error.drop()  # the status says it alone
    return status


def _unwritten(error: OutputError) -> int:
    """Answer that standard output, or error, is lost; nothing more can be written to it."""
    descriptor = error.drop()
    if error.errno == errno.EPIPE:
        return UNREAD
    name = 'standard output' if descriptor == 1 else 'standard error'
    return _said(
        f'error: cannot write to {name}: {error.strerror}; redirect it to where there is space.',
        FAILED,
    )
