# SPDX-License-Identifier: Apache-2.0
"""Which provider of ONNX Runtime really computed, from the profile of one inference.

A session lists the providers that it has, not those that its nodes were given to; a provider
built for another GPU is listed too.
"""

from __future__ import annotations

import contextlib
import json
import logging
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import onnxruntime

from depth_core.errors import BackendError
from depth_core.files import scratch_folder

_CPU: Final = 'CPUExecutionProvider'
_NAMED: Final = 8
"""Most kinds of nodes that a line of the log names."""

_logger = logging.getLogger(__name__)


@contextlib.contextmanager
def profile_folder(*, wanted: bool) -> Iterator[str]:
    """A folder for profiles that is gone afterwards; none, and '', where it is not wanted."""
    if not wanted:
        yield ''
        return
    with scratch_folder('profile') as folder:
        yield str(folder)


def profiled(options: onnxruntime.SessionOptions, folder: str) -> None:
    """Have a session record what it does until `end_profiling`, in a file of `folder`."""
    options.enable_profiling = True
    options.profile_file_prefix = str(Path(folder) / 'profile')


def report_placement(profile: str, provider: str, model: str) -> None:
    """Log which kinds of nodes `provider` left to others.

    Args:
        profile: File of the profile.
        provider: The one that has to have computed.
        model: What ran, for the log.

    Raises:
        BackendError: It computed nothing.
    """
    placed = _placement(Path(profile))
    mine = sum(placed.get(provider, Counter()).values())
    others = {name: kinds for name, kinds in placed.items() if name != provider}
    if not mine:
        message = (
            f'{provider} is listed and computed no node: '
            f'{_said(others) or "the profile names none"}; check that it is made for this GPU.'
        )
        raise BackendError(message)
    if others:
        _logger.info('%s: %s computes %d nodes, %s', model, provider, mine, _said(others))
    else:
        _logger.info('%s: %s computes all %d nodes', model, provider, mine)


def _placement(path: Path) -> dict[str, Counter[str]]:
    """The kinds of nodes that each provider computed, and how many of each."""
    placed: dict[str, Counter[str]] = {}
    for event in json.loads(path.read_text(encoding='utf-8')):
        details = event.get('args', {})
        if event.get('cat') == 'Node' and 'provider' in details:
            kinds = placed.setdefault(details['provider'], Counter())
            kinds[details.get('op_name', 'unknown')] += 1
    return placed


def _said(placed: dict[str, Counter[str]]) -> str:
    return ', '.join(
        f'{name} {sum(kinds.values())} '
        f'({", ".join(f"{kind} {count}" for kind, count in kinds.most_common(_NAMED))})'
        for name, kinds in placed.items()
    )
