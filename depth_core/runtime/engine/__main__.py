# SPDX-License-Identifier: Apache-2.0
"""The command `python -m depth_core.runtime.engine`: engines built ahead, listed and deleted."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from depth_core.arguments import CommandParser, count, not_negative
from depth_core.errors import BackendError, ConfigError, DepthError, run_command, unknown_name
from depth_core.names import printable, printable_lines
from depth_core.presets import MANIFEST_HELP
from depth_core.runtime.backends import default_chain
from depth_core.runtime.backends.compiled_files import delete_compiled
from depth_core.runtime.engine.ahead import FLAVOURS, build_ahead
from depth_core.runtime.engine.api import TensorRt, load_tensorrt
from depth_core.runtime.engine.cache import EngineCache
from depth_core.runtime.engine.device import Device, open_devices
from depth_core.runtime.engine.entry import Entry
from depth_core.runtime.engine.execution import load_engine, open_runtime
from depth_core.runtime.engine.folder import default_folder
from depth_core.shipped import find_model

_PROGRAM: Final = 'python -m depth_core.runtime.engine'
_PRECISIONS: Final = ('fp32', 'fp16', 'int8')
_COLUMNS: Final = ('model', 'precision', 'batch', 'GPU', 'TensorRT', 'MB', 'last used', 'answers')


def build(arguments: Sequence[str]) -> None:
    """Build the engine of a model, compare it with the graph, and keep it."""
    parser = _parser('build', 'Build the engine of a model on the GPU that is here, compare it.')
    add = parser.add_argument
    add('model', metavar='MODEL', help='.onnx file, or the name of a shipped model')
    add('--manifest', metavar='FILE|NAME', help=MANIFEST_HELP)
    add('--precision', choices=_PRECISIONS, default='fp32', help='what the engine computes in')
    add('--max_batch', type=count, default=1, help='most images at once')
    add('--workspace_mb', type=count, help='most GPU memory for scratch while building, MiB')
    add('--flavour', choices=FLAVOURS, help='which TensorRT; the first that is installed')
    add('--device', help='which GPU by its number, such as cuda:1; the first when left out')
    options = parser.parse_command(arguments)
    model = find_model(options.model)
    default_chain(model)  # says what is no model
    sys.stdout.write(
        build_ahead(
            model,
            manifest=options.manifest,
            precision=options.precision,
            max_batch=options.max_batch,
            workspace_mb=options.workspace_mb,
            cache_dir=options.cache_dir,
            flavour=options.flavour,
            device=options.device,
        )
    )


def list_engines(arguments: Sequence[str]) -> None:
    """Write a table of the engines that are kept."""
    options = _parser('list', 'List the engines that are kept.').parse_command(arguments)
    cache = EngineCache(options.cache_dir)
    entries = cache.entries()
    if not entries:
        sys.stdout.write(f'{printable(cache.folder)} holds no engine.\n')
        return
    rows = [_COLUMNS, *(tuple(map(printable, _row(entry))) for entry in entries)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        sys.stdout.write('  '.join(cells).rstrip() + '\n')
    total = sum(entry.size for entry in entries)
    sys.stdout.write(f'{len(entries)} in {printable(cache.folder)}, {total / 1e6:.1f} MB\n')


def verify(arguments: Sequence[str]) -> None:
    """Compare every plan with its record, and open those made for a GPU here."""
    text = 'Compare every engine with its record; open those that were built for a GPU here.'
    options = _parser('verify', text).parse_command(arguments)
    cache = EngineCache(options.cache_dir)
    results = cache.verify(_Opener().complaint)
    for stem, complaint in results.items():
        found = 'as it was written' if complaint is None else printable_lines(complaint)
        sys.stdout.write(f'{printable(stem)}: {found}\n')
    wrong = sum(complaint is not None for complaint in results.values())
    if wrong:
        message = (
            f'{wrong} of {len(results)} engines in {cache.folder} cannot be used; each is built '
            f'again when it is needed, or delete it with {_PROGRAM} clear.'
        )
        raise BackendError(message)
    sys.stdout.write(f'{len(results)} engines in {printable(cache.folder)}, none damaged\n')


def clear(arguments: Sequence[str]) -> None:
    """Delete engines, and what other runtimes keep beside them."""
    text = (
        'Delete engines, those that a process has loaded excepted, and what OpenVINO and ONNX '
        'Runtime have compiled into the same folder.'
    )
    parser = _parser('clear', text)
    parser.add_argument(
        '--older_than_days',
        type=not_negative,
        default=0.0,
        help='only those not used for so many days',
    )
    options = parser.parse_command(arguments)
    cache = EngineCache(options.cache_dir)
    try:
        age = timedelta(days=options.older_than_days)
    except OverflowError as error:
        message = f'older_than_days is {options.older_than_days:g}; give at most 999999999.'
        raise ConfigError(message) from error
    deleted, left = cache.clear(older_than=age)
    size = sum(entry.size for entry in deleted)
    sys.stdout.write(f'{len(deleted)} engines deleted, {size / 1e6:.1f} MB\n')
    files, size = delete_compiled(cache.folder, older_than=age)
    if files:
        sys.stdout.write(
            f'{files} files that other runtimes compiled deleted, {size / 1e6:.1f} MB\n'
        )
    for entry in left:
        sys.stdout.write(
            f'in use, and left: {printable(_row(entry)[0])} ({printable(entry.stem)})\n'
        )


COMMANDS: Final[Mapping[str, Callable[[Sequence[str]], None]]] = {
    'build': build,
    'list': list_engines,
    'verify': verify,
    'clear': clear,
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command with `arguments`, those of the process when None."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    if given and given[0] in COMMANDS:
        COMMANDS[given[0]](given[1:])
        return
    summary = '\n'.join(f'  {name:8}{kind.__doc__}' for name, kind in COMMANDS.items())
    usage = f'usage: {_PROGRAM} COMMAND [options]\n\n{summary}\n\nCOMMAND --help says more.\n'
    if given and given[0] in ('-h', '--help'):
        sys.stdout.write(usage)
        return
    if not given:
        message = 'no command is given.\n  ' + usage.strip().replace('\n', '\n  ')
        raise ConfigError(message)
    raise ConfigError(unknown_name('command', given[0], COMMANDS))


class _Opener:
    """Opens plans on the GPUs that are here, those that were made for one of them."""

    @cached_property
    def _devices(self) -> Sequence[Device]:
        try:
            return open_devices()
        except DepthError as error:
            sys.stdout.write(f'no engine is opened: {error}\n')
            return []

    def complaint(self, entry: Entry, plan: bytes) -> str | None:
        """What is wrong with a plan; None when nothing is, or it is not for here."""
        trt = self._tensorrt_of(entry)
        if trt is None:
            return None
        found = None
        for device in self._devices:
            if device.info.name != entry.fields.get('gpu'):
                continue
            try:
                with device.current():
                    load_engine(trt, open_runtime(trt, device.info.cuda), plan)
            except BackendError as error:
                found = str(error)
            else:
                return None
        return found

    def _tensorrt_of(self, entry: Entry) -> TensorRt | None:
        """The TensorRT that built it, where it is installed."""
        flavour = entry.fields.get('flavour')
        if flavour not in FLAVOURS:
            return None
        try:
            trt = load_tensorrt(flavour)
        except BackendError:
            return None
        return trt if trt.version == entry.fields.get('tensorrt') else None


def _parser(command: str, description: str) -> CommandParser:
    parser = CommandParser(prog=f'{_PROGRAM} {command}', description=description)
    parser.add_argument(
        '--cache_dir',
        type=Path,
        help=f'folder of the engines, which nobody else may write to; {_default()} when left out',
    )
    return parser


def _default() -> str:
    try:
        return str(default_folder()).replace('%', '%%')
    except DepthError:
        return 'there is none for this user'


def _row(entry: Entry) -> tuple[str, ...]:
    fields: Mapping[str, Any] = entry.fields
    return (
        Path(entry.notes.get('model', '?')).name,
        str(fields.get('precision', '?')),
        str(fields.get('max_batch', '?')),
        str(fields.get('gpu', '?')),
        f'{fields.get("flavour", "?")} {fields.get("tensorrt", "?")}',
        f'{entry.size / 1e6:.1f}',
        entry.last_used[:16].replace('T', ' '),
        _answers(entry),
    )


def _answers(entry: Entry) -> str:
    if entry.parity is None:
        return 'not compared'
    if entry.is_refused:
        return f'refused: {entry.parity.get("complaint", "?")}'
    return str(entry.parity.get('summary', '?'))


if __name__ == '__main__':
    run_command(main)
