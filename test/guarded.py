# SPDX-License-Identifier: Apache-2.0
"""Run Python in a process that may not touch the network, and see whether it tried.

Python's own calls are recorded and refused. A library that asks the kernel for an internet socket
kills the process (SIGSYS). So a test of the guard sends nothing either.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]

GUARD = """
import ctypes, runpy, socket, struct, sys

record, native = sys.argv[1], sys.argv[2] == 'native'
del sys.argv[1:3]

def refuse_network(event, arguments):
    if event == 'socket.__new__' and arguments[1] not in (socket.AF_INET, socket.AF_INET6):
        return
    if event in ('socket.__new__', 'socket.getaddrinfo', 'socket.gethostbyname'):
        with open(record, 'a') as file:
            file.write(f'{event} {arguments}\\n')
        raise PermissionError('no network in this test')

sys.addaudithook(refuse_network)

def kill_at_internet_sockets():
    load, equal, answer, allow, kill = 0x20, 0x15, 0x06, 0x7FFF0000, 0x80000000
    system_call, first_argument, socket_call = 0, 16, 41
    steps = [
        (load, 0, 0, system_call),
        (equal, 0, 4, socket_call),
        (load, 0, 0, first_argument),
        (equal, 1, 0, socket.AF_INET),
        (equal, 0, 1, socket.AF_INET6),
        (answer, 0, 0, kill),
        (answer, 0, 0, allow),
    ]
    code = ctypes.create_string_buffer(b''.join(struct.pack('HBBI', *step) for step in steps))
    program = struct.pack('HxxxxxxP', len(steps), ctypes.addressof(code))
    no_new_privileges, seccomp, filter_mode = 38, 22, 2
    kernel = ctypes.CDLL(None)
    assert kernel.prctl(no_new_privileges, 1, 0, 0, 0) == 0
    assert kernel.prctl(seccomp, filter_mode, program, 0, 0) == 0

if native:
    kill_at_internet_sockets()
if sys.argv[1] == '-c':
    del sys.argv[1]
    exec(sys.argv[1])
else:
    module = sys.argv.pop(1)
    runpy.run_module(module, run_name='__main__', alter_sys=True)
"""

_CI_VARIABLES = ('CI', 'TF_BUILD', 'JENKINS_URL')
"""Where one of these is set some libraries send nothing; what is tested holds without them."""


@dataclass(frozen=True)
class Guarded:
    """A process to start, and what it left behind."""

    arguments: list[str]
    """What Python is given."""
    environment: dict[str, str]
    record: Path
    home: Path

    @property
    def contacts(self) -> list[str]:
        """Each name that Python looked up and each internet socket that it asked for."""
        return self.record.read_text(encoding='utf-8').splitlines()

    @property
    def written_to_home(self) -> list[str]:
        """Files and folders in the home folder."""
        return sorted(str(path.relative_to(self.home)) for path in self.home.rglob('*'))

    def run(self, folder: Path) -> subprocess.CompletedProcess[str]:
        """Run it to its end in `folder`."""
        return subprocess.run(
            [sys.executable, *self.arguments],
            cwd=folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )


def guarded(folder: Path, *arguments: str, native: bool = True) -> Guarded:
    """Guard `python -m <arguments>`, or `python -c <code> ...` where the first of them is `-c`.

    Args:
        folder: Where the record and an empty home folder are made.
        arguments: Module and its arguments, or `-c`, code and arguments.
        native: Whether sockets of libraries are refused too; those of Fast DDS are such.
    """
    if native and (platform.system(), platform.machine()) != ('Linux', 'x86_64'):
        pytest.skip('the guard knows the system calls of x86-64 Linux only')
    home = folder / 'home'
    home.mkdir()
    record = folder / 'contacts.txt'
    record.touch()
    environment = {
        key: value
        for key, value in os.environ.items()
        if key not in (*_CI_VARIABLES, 'ORT_DISABLE_TELEMETRY') and not key.startswith('XDG_')
    }
    environment |= {'HOME': str(home), 'PYTHONPATH': str(REPOSITORY)}
    mode = 'native' if native else 'python'
    return Guarded(['-c', GUARD, str(record), mode, *arguments], environment, record, home)
