# SPDX-License-Identifier: Apache-2.0
"""The command `python -m depth_core.inspect`: what a graph takes and gives, and how to run it."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from depth_core.arguments import CommandParser
from depth_core.errors import ConfigError, DepthError, ModelError, run_command
from depth_core.files import write_text_atomically
from depth_core.inspect.draft import adapt_preset, draft_manifest
from depth_core.inspect.fits import Fit, file_size_mb, presets_for
from depth_core.manifest import manifest_path, read_manifest
from depth_core.names import printable, printable_lines
from depth_core.presets import find
from depth_core.runtime.graph import TensorInfo
from depth_core.runtime.onnx_graph import OnnxGraph
from depth_core.runtime.onnx_reader import read_graph
from depth_core.shipped import MODEL_HELP, find_model

_ADAPT: Final = (
    'If the graph is another export of one of them, --preset NAME --draft FILE writes it with the '
    'sizes, types and ranks of this graph.'
)
_COMPLETE: Final = 'It needs no preset and no other manifest.'
_NEAREST: Final = 3
"""How many presets that do not fit are named, with what differs."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command with `arguments`, those of the process when None."""
    options = _parser().parse_command(arguments)
    path = find_model(options.model)
    graph = read_graph(path)
    fits = presets_for(path, graph)
    complete = options.preset is None and options.draft is None and _is_complete(path)
    if options.preset is None:
        draft = draft_manifest(path.stem, graph)
    else:
        draft = adapt_preset(json.loads(find(options.preset).read_text(encoding='utf-8')), graph)
    text = json.dumps(draft, indent=2) + '\n'
    if options.json:
        sys.stdout.write(json.dumps(_content(path, graph, fits, draft), indent=2) + '\n')
    elif complete:
        sys.stdout.write(f'{describe(path, graph)}\n{_COMPLETE}\n')
    else:
        sys.stdout.write(f'{describe(path, graph)}\n{describe_fits(fits)}\n')
    if options.draft is not None:
        write_text_atomically(options.draft, text)
        todo = 'check it' if options.preset else 'fill it in'
        sys.stderr.write(
            f'{printable(options.draft)} is written: {todo}, and give it as --manifest.\n'
        )
    elif not options.json and not complete and not any(fit.fits for fit in fits):
        sys.stdout.write(
            f'A manifest to fill in, for {printable(manifest_path(path).name)} beside the graph '
            f'or for --manifest:\n{text}'
        )


def describe(path: Path, graph: OnnxGraph) -> str:
    """Say what a graph takes and gives, a line for each input and output."""
    others = (f'{domain} {version}' for domain, version in graph.opsets.items() if domain)
    opsets = ', '.join((f'opset {graph.opset}', *others))
    lines = [
        f'{path}: {file_size_mb(path, graph):.1f} MB, {opsets}, {len(graph.nodes)} nodes',
        *(f'  input     {_tensor(item)}' for item in graph.inputs),
        *(f'  output    {_tensor(item)}' for item in graph.outputs),
    ]
    for name in graph.external_files:
        found = 'there' if (path.parent / name).is_file() else 'missing: copy it there too'
        lines.append(f'  weights   {name} beside it, {found}')
    lines = list(map(printable, lines))
    lines.append(f'  manifest  {printable_lines(_own_manifest(path))}')
    return '\n'.join(lines)


def _tensor(item: TensorInfo) -> str:
    if item.shape is None:
        return str(item)
    free = [str(axis) for axis, size in enumerate(item.shape) if size is None]
    dynamic = f', free axes {", ".join(free)}' if free else ''
    return f'{item}, rank {len(item.shape)}{dynamic}'


def _own_manifest(path: Path) -> str:
    try:
        manifest = read_manifest(path)
    except ModelError:
        return 'none inside or beside'
    except ConfigError as error:
        return f'not valid: {error}'
    return f'{manifest.name}, {manifest.output.kind}'


def _is_complete(path: Path) -> bool:
    try:
        read_manifest(path)
    except DepthError:
        return False
    return True


def describe_fits(fits: Sequence[Fit]) -> str:
    """Say which presets fit, or what the nearest differ in."""
    fitting = [fit for fit in fits if fit.fits]
    if not fitting:
        nearest = (
            f'  {fit.manifest.name}: {"; ".join(fit.differences)}' for fit in fits[:_NEAREST]
        )
        return '\n'.join(('No preset fits; the nearest are', *map(printable, nearest), _ADAPT))
    lines = ['Presets that fit by names, ranks, types and sizes, the likeliest first:']
    for fit in fitting:
        graph = fit.manifest.graph
        more = f'; it does not use {", ".join(fit.unexplained)}' if fit.unexplained else ''
        lines.append(
            f'  {fit.manifest.name}: {graph.summary}, {fit.manifest.output.kind}, '
            f'{graph.license}{more}'
        )
    if len({fit.manifest.output.kind for fit in fitting}) > 1:
        lines.append('The same names mean different things in them: choose by the source.')
    return '\n'.join(map(printable, lines))


def _content(
    path: Path, graph: OnnxGraph, fits: Sequence[Fit], draft: dict[str, Any]
) -> dict[str, Any]:
    """All of it, for programs."""
    return {
        'path': str(path),
        'size_mb': round(file_size_mb(path, graph), 3),
        'opset': graph.opset,
        'opsets': dict(graph.opsets),
        'nodes': len(graph.nodes),
        'inputs': [_tensor_content(item) for item in graph.inputs],
        'outputs': [_tensor_content(item) for item in graph.outputs],
        'external_data': [
            {'file': name, 'found': (path.parent / name).is_file()}
            for name in graph.external_files
        ],
        'presets': [fit.manifest.name for fit in fits if fit.fits],
        'differences': {fit.manifest.name: list(fit.differences) for fit in fits if not fit.fits},
        'draft': draft,
    }


def _tensor_content(item: TensorInfo) -> dict[str, Any]:
    shape = None if item.shape is None else list(item.shape)
    return {
        'name': item.name,
        'dtype': item.dtype,
        'rank': None if shape is None else len(shape),
        'shape': shape,
    }


def _parser() -> CommandParser:
    parser = CommandParser(
        prog='python -m depth_core.inspect',
        description='Say what an ONNX graph takes and gives, and which presets fit it.',
        epilog='A graph that no preset fits is answered with a manifest to fill in: what its '
        'numbers mean is in no file. A blank that is left is refused when the manifest is read.',
    )
    add = parser.add_argument
    add('model', metavar='MODEL', help=f'{MODEL_HELP}; weights are not read')
    add('--draft', type=Path, metavar='FILE', help='write the manifest to fill in, in any case')
    add('--preset', metavar='NAME', help='draft from this preset, with the sizes of the graph')
    add('--json', action='store_true', help='write all of it as JSON')
    return parser


if __name__ == '__main__':
    run_command(main)
