# SPDX-License-Identifier: Apache-2.0
"""The command `python -m depth_core.presets`: which public graphs are known, and how they run."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from depth_core.arguments import CommandParser
from depth_core.contracts import DepthKind
from depth_core.errors import run_command
from depth_core.manifest import Manifest, read_manifest
from depth_core.names import printable
from depth_core.presets.files import find, preset_files

_HEAD: Final = ('name', 'what it is', 'answers', 'camera', 'input', 'licence', 'MB')
_MARKDOWN_HEAD: Final = ('preset', 'model', 'answers', 'licence', 'MB', 'how to get it', 'unsure')


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command with `arguments`, those of the process when None."""
    options = _parser().parse_command(arguments)
    files = {Path(name).stem: find(name) for name in options.name} or preset_files()
    manifests = {name: read_manifest(path) for name, path in files.items()}
    if options.json:
        content = [_described(files[name], manifest) for name, manifest in manifests.items()]
        sys.stdout.write(json.dumps(content, indent=2) + '\n')
    elif options.markdown:
        sys.stdout.write(page(manifests.values()) + '\n')
    elif options.name:
        sys.stdout.write('\n'.join(_details(files[name], one) for name, one in manifests.items()))
    else:
        rows = [_row(manifest) for manifest in manifests.values()]
        sys.stdout.write(f'{_aligned([_HEAD, *rows])}\n{_EPILOG}\n')


def page(manifests: Iterable[Manifest]) -> str:
    """Describe presets in Markdown, a row each, as docs/foreign_models.md does at its end."""
    rows = [_MARKDOWN_HEAD, ('---',) * len(_MARKDOWN_HEAD)]
    for manifest in manifests:
        graph = manifest.graph
        rows.append(
            (
                f'`{manifest.name}`',
                f'[{graph.summary}]({graph.source})',
                answers(manifest) + (', needs the camera' if manifest.needs_intrinsics else ''),
                graph.license,
                _size(manifest),
                graph.obtain if graph.obtain.startswith('http') else f'`{graph.obtain}`',
                ' '.join(graph.unsure),
            )
        )
    table = '\n'.join(f'| {" | ".join(row)} |' for row in rows)
    return f'{_PAGE_HEAD}\n\n{table}'


def answers(manifest: Manifest) -> str:
    """Say in a few words what comes of a graph."""
    output = manifest.output
    if output.kind is DepthKind.CANONICAL:
        return f'metres x f / {output.canonical_focal_px:g}'
    return {
        DepthKind.METRIC: 'metres',
        DepthKind.UP_TO_SCALE: 'depth up to scale',
        DepthKind.INVERSE: 'inverse depth, relative',
    }[output.kind]


def _row(manifest: Manifest) -> tuple[str, ...]:
    return (
        manifest.name,
        manifest.graph.summary,
        answers(manifest),
        'needed' if manifest.needs_intrinsics else '',
        _input(manifest),
        manifest.graph.license,
        _size(manifest),
    )


def _input(manifest: Manifest) -> str:
    spec = manifest.input
    if spec.size is None:
        size = f'{spec.height}x{spec.width}'
    else:
        size = f'{spec.size.mode} {spec.size.target} /{spec.multiple}'
    return f'{size} {spec.resize}'


def _size(manifest: Manifest) -> str:
    size_mb = manifest.graph.size_mb
    return '?' if size_mb is None else f'{size_mb:g}'


def _details(path: Path, manifest: Manifest) -> str:
    graph = manifest.graph
    camera = ', and needs the camera' if manifest.needs_intrinsics else ''
    lines = [
        f'{manifest.name}: {graph.summary}',
        f'  answers   {answers(manifest)}{camera}',
        f'  input     {manifest.input.name!r} {manifest.input.dtype}, {_input(manifest)}',
        f'  licence   {graph.license}',
        f'  source    {graph.source}',
        f'  get it    {graph.obtain} ({_size(manifest)} MB)',
        f'  note      {manifest.domain.note}',
        *(f'  unsure    {one}' for one in graph.unsure),
        f'  manifest  {path}',
    ]
    return '\n'.join(map(printable, lines)) + '\n'


def _described(path: Path, manifest: Manifest) -> dict[str, Any]:
    """The manifest as it stands in its file, with what follows from it."""
    content: dict[str, Any] = json.loads(path.read_text(encoding='utf-8'))
    return {
        'name': manifest.name,
        'path': str(path),
        'answers': answers(manifest),
        'needs_camera': manifest.needs_intrinsics,
        'manifest': content,
    }


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    rows = [[printable(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return '\n'.join(
        '  '.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


_PAGE_HEAD: Final = """## Known graphs

Sizes are those of the file in fp32. What is *unsure* was read in code, on model pages and in
reports of users, and not measured here: no weights of these networks were opened."""

_EPILOG: Final = (
    'Give a name to see where to get the graph and what is unsure; run it with\n'
    '  python -m depth_core.predict image.png --model graph.onnx --manifest NAME'
)


def _parser() -> CommandParser:
    parser = CommandParser(
        prog='python -m depth_core.presets',
        description='List the public depth graphs that a manifest is kept for.',
        epilog='The weights do not come with this package; each has a licence of its own.',
    )
    add = parser.add_argument
    add('name', nargs='*', metavar='NAME', help='show these in full')
    add('--json', action='store_true', help='write all there is as JSON')
    add('--markdown', action='store_true', help='write the table of docs/foreign_models.md')
    return parser


if __name__ == '__main__':
    run_command(main)
