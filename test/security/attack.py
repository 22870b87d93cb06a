# SPDX-License-Identifier: Apache-2.0
"""Open hostile files in a child process, and measure what that costs it.

A file is survived when the process lives, the answer is a `DepthError` of one short text without
control characters, within `MOST_S` seconds of the processor and `MOST_BYTES` of memory, which is
back afterwards but for a tenth.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from depth_core.errors import DepthError

if TYPE_CHECKING:  # the child needs no files made
    from test.security.hostile import Hostile

MOST_S: Final = 30.0
"""CPU time for one file: several times what the slowest takes; a hang takes for ever."""
_MOST_WAITING_S: Final = 900
"""By the clock, on a busy machine: what waits for something takes no CPU time."""
MOST_BYTES: Final = 400 << 20
"""More resident memory at the peak than before; the bombs hold gigabytes."""
MOST_KEPT: Final = 0.1
"""More resident memory afterwards than before, as a share of it."""
LONGEST: Final = 3000
"""Characters of a message: what is long in it is cut, and some list what is wrong line by line."""
_LARGEST_CHILD: Final = 8 << 30
"""Of its data: what gets past its bound must not harm the machine."""
_ROOT: Final = Path(__file__).resolve().parents[2]
_STATUS: Final = Path('/proc/self/status')
_RESET_PEAK: Final = Path('/proc/self/clear_refs')
_LIBC: Final = ctypes.CDLL(None)


class Outcome(NamedTuple):
    """What came of one file."""

    format: str
    name: str
    error: str
    """Name of the class of the error; `opened` when there was none, `died` for the process."""
    message: str
    is_ours: bool
    seconds: float
    peak_bytes: int
    """Resident memory at the peak, above what was before."""
    kept_share: float
    """Resident memory afterwards, above what was before, as a share of that."""

    @property
    def faults(self) -> list[str]:
        """What is wrong with it; nothing where the file was survived."""
        strange = [mark for mark in self.message if not mark.isprintable() and mark != '\n']
        found = {
            f'{self.error}: {self.message[:300]}': not self.is_ours,
            f'control characters {strange[:5]}': bool(strange),
            f'{len(self.message)} characters': len(self.message) > LONGEST,
            f'{self.seconds:.1f} s': self.seconds > MOST_S,
            f'{self.peak_bytes >> 20} MiB': self.peak_bytes > MOST_BYTES,
            f'{self.kept_share:.0%} of the memory kept': self.kept_share > MOST_KEPT,
        }
        return [text for text, is_so in found.items() if is_so]


def attack(cases: Sequence[Hostile], folder: Path) -> list[Outcome]:
    """Make each file in `folder` and open it in a child process, a new one where one dies."""
    outcomes: list[Outcome] = []
    waiting = list(cases)
    for case in waiting:
        case.made(folder)
    while waiting:
        found = _opened_by_child([f'{case.format}/{case.name}' for case in waiting], folder)
        outcomes += found
        waiting = waiting[len(found) :]
    return outcomes


def summary(outcomes: Sequence[Outcome]) -> str:
    """Counts by format, in a line each."""
    lines = []
    for name in dict.fromkeys(outcome.format for outcome in outcomes):
        of_format = [outcome for outcome in outcomes if outcome.format == name]
        survived = sum(not outcome.faults for outcome in of_format)
        peak = max(outcome.peak_bytes for outcome in of_format) >> 20
        slowest = max(outcome.seconds for outcome in of_format)
        kept = max(outcome.kept_share for outcome in of_format)
        lines.append(
            f'{name:<12} {len(of_format):>4} tried {survived:>4} survived, '
            f'at most {peak} MiB and {slowest:.2f} s, {kept:.1%} of the memory kept'
        )
    return '\n'.join(lines)


def _opened_by_child(names: Sequence[str], folder: Path) -> list[Outcome]:
    """Open as many as one process lives to; the one that ends it is the last of the answer."""
    command = [sys.executable, '-m', 'test.security.attack', str(folder), *names]
    done = subprocess.run(command, cwd=_ROOT, capture_output=True, check=False)
    outcomes = [Outcome(**json.loads(line)) for line in done.stdout.splitlines()]
    if len(outcomes) < len(names):
        format_, name = names[len(outcomes)].split('/', 1)
        said = f'exit {done.returncode}: {done.stderr.decode(errors="replace")[-500:]}'
        outcomes.append(
            Outcome(
                format_, name, 'died', said, is_ours=False, seconds=0, peak_bytes=0, kept_share=0
            )
        )
    return outcomes


def _open_all(folder: Path, names: Sequence[str]) -> None:
    from test.security.openers import OPENERS  # noqa: PLC0415  only the child needs torch

    resource.setrlimit(resource.RLIMIT_DATA, (_LARGEST_CHILD, _LARGEST_CHILD))
    for format_ in {name.split('/', 1)[0] for name in names}:
        with contextlib.suppress(Exception):  # the libraries it loads are no cost of a file
            OPENERS[format_](folder / 'that is not there')
    gc.collect()
    gc.freeze()  # else each look at the memory goes through all that the libraries hold
    for name in names:
        # Either ends the process, also inside a library.
        signal.setitimer(signal.ITIMER_PROF, 2 * MOST_S)
        signal.alarm(_MOST_WAITING_S)
        outcome = _opened(name, OPENERS[name.split('/', 1)[0]], folder)
        if outcome.kept_share > MOST_KEPT:  # what a library sets up once is not kept each time
            again = _opened(name, OPENERS[name.split('/', 1)[0]], folder)
            outcome = outcome._replace(kept_share=again.kept_share)
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.alarm(0)
        sys.stdout.write(json.dumps(outcome._asdict()) + '\n')
        sys.stdout.flush()


def _opened(name: str, open_it: Callable[[Path], object], folder: Path) -> Outcome:
    before = _settled_memory()
    _RESET_PEAK.write_text('5', encoding='ascii')
    begun = time.process_time()
    kind, said, is_ours = 'opened', '', False
    try:
        open_it(folder / name)
    except DepthError as error:
        kind, said, is_ours = type(error).__name__, str(error), True
    except Exception as error:  # noqa: BLE001  what must not happen is what is looked for
        kind, said = type(error).__name__, str(error)
    seconds = time.process_time() - begun
    peak = _memory('VmHWM')
    format_, name = name.split('/', 1)
    kept = (_settled_memory() - before) / before
    return Outcome(format_, name, kind, said, is_ours, seconds, peak - before, kept)


def _settled_memory() -> int:
    """Resident memory once what is no longer used was given back to the kernel."""
    gc.collect()
    _LIBC.malloc_trim(0)
    return _memory('VmRSS')


def _memory(field: str) -> int:
    lines = _STATUS.read_text(encoding='ascii').splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(f'{field}:'))


if __name__ == '__main__':
    _open_all(Path(sys.argv[1]), sys.argv[2:])
