# SPDX-License-Identifier: Apache-2.0
"""The command `python -m depth_core.export`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from depth_core.arguments import CommandParser, count, positive
from depth_core.contracts import DepthKind
from depth_core.errors import ConfigError, run_command
from depth_core.export.half_weights import TOLERANCE as ROUNDED_TOLERANCE
from depth_core.export.onnx import export_onnx
from depth_core.export.opset import LOWEST, OPSET, OPSETS
from depth_core.export.parity import TOLERANCE
from depth_core.export.precision.command import (
    add_precision_options,
    make_precision,
    precision_request,
)
from depth_core.manifest import Manifest, manifest_path
from depth_core.models.base import DepthModel
from depth_core.names import printable
from depth_core.presets import MANIFEST_HELP
from depth_core.runtime.engine.ahead import build_ahead
from depth_core.runtime.parity_images import SEED
from depth_core.weights.checkpoint import (
    SUFFIX,
    network_of,
    read_checkpoint,
    save_model,
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command with `arguments`, those of the process when None."""
    options = _parser().parse_command(arguments)
    _check(options)
    path = options.onnx or options.output
    request = precision_request(options, path)
    if options.checkpoint is not None:
        sys.stdout.write(_export(options))
    if request is not None:
        sys.stdout.write(make_precision(request))
    if options.engine:
        sys.stdout.write(
            build_ahead(
                path,
                manifest=options.manifest,
                precision=options.precision,
                max_batch=options.max_batch or 1,
                workspace_mb=options.workspace_mb,
            )
        )


def _export(options: argparse.Namespace) -> str:
    """Write the checkpoint as a graph, and say what was written."""
    checkpoint = read_checkpoint(options.checkpoint)
    provenance = dict(checkpoint.provenance or {})
    network = network_of(checkpoint, source=str(options.checkpoint))
    manifest = export_onnx(
        network,
        options.output,
        height=options.height,
        width=options.width,
        batch=1 if options.batch is None else options.batch,
        free_size=options.free_size,
        resize=options.resize,
        training=provenance,
        licence=options.licence or str(provenance.get('licence', '')),
        seed=options.seed,
        tolerance=options.tolerance,
        half_weights=options.half_weights is not None,
        opset=options.opset or OPSET,
    )
    said = summary(options.output, manifest, opset=options.opset or OPSET)
    if options.trainable:
        provenance['licence'] = manifest.licence
        said += _write_trainable(options.output.with_suffix(SUFFIX), network, provenance)
    return said


def _write_trainable(path: Path, network: DepthModel, provenance: Mapping[str, object]) -> str:
    """Write what training can start from beside the graph, and say what it is.

    Raises:
        DepthError: It cannot be written.
    """
    save_model(path, network, provenance=provenance, half=True)
    return (
        f'{printable(path)}: its weights to start training from, float16 (vectors float32), '
        f'{path.stat().st_size / 1e6:.1f} MB\n'
    )


def _check(options: argparse.Namespace) -> None:
    """Refuse what contradicts itself, before any work.

    Raises:
        ConfigError: An option is missing or has no effect.
    """
    for name in ('max_batch', 'workspace_mb', 'manifest'):
        if not options.engine and getattr(options, name) is not None:
            message = f'--{name} is for building an engine; add --engine, or leave it out.'
            raise ConfigError(message)
    if options.engine and options.target == 'cpu':
        message = '--target cpu is for processors; leave it out to build an engine of the graph.'
        raise ConfigError(message)
    if options.checkpoint is not None:
        if options.output is None:
            message = '--output is missing; name the .onnx file that --checkpoint is written to.'
            raise ConfigError(message)
        beside = options.output.with_suffix(SUFFIX)
        if options.trainable and beside.exists() and beside.samefile(options.checkpoint):
            message = (
                f'--trainable would write {beside} in float16 over the checkpoint that is '
                'exported; give another --output.'
            )
            raise ConfigError(message)
        return
    for name in (
        'output',
        'height',
        'width',
        'free_size',
        'resize',
        'batch',
        'licence',
        'trainable',
        'half_weights',
        'opset',
    ):
        if getattr(options, name) is not None:
            message = (
                f'--{name} is for a --checkpoint; the graph of --onnx stays as it is, and what '
                'is made of it stands beside it.'
            )
            raise ConfigError(message)
    if options.precision == 'fp32' and not options.engine:
        message = (
            '--onnx is a graph already; say what to make of it, as with --precision fp16 or '
            '--engine.'
        )
        raise ConfigError(message)


def summary(output: Path, manifest: Manifest, *, opset: int) -> str:
    """Say in a few lines what was written to `output`, its numbers with their unit."""
    taken, given, parity = manifest.input, manifest.output, manifest.parity
    units = {
        DepthKind.METRIC: ' m',
        DepthKind.CANONICAL: f' m at {given.canonical_focal_px or 0.0:g} px of focal length',
    }
    unit = units.get(given.kind, ' in its own unit')
    images = taken.batch or 'any number'
    proven = () if parity is None else parity.sizes
    sizes = f', other sizes too ({_listed(proven[1:])} were proven)' if proven else ''
    name = printable(f'{output}: {manifest.name}')
    lines = [
        f'{name}, opset {opset}, {output.stat().st_size / 1e6:.1f} MB',
        f'  takes image uint8 [{images}, {taken.height}, {taken.width}, 3] RGB{sizes}',
        f'  gives depth and sigma, {given.kind}, {given.min_depth:g} to {given.max_depth:g}{unit}',
    ]
    if parity is not None:
        lines.append(
            f'  ONNX Runtime against torch on {parity.images} images: depth within '
            f'{parity.depth_max_rel:.2g} of the depth ({parity.depth_max_abs:.2g}{unit}), sigma '
            f'within {parity.sigma_max_rel:.2g}; allowed {parity.tolerance:g}'
        )
    lines.append(f'  manifest inside it and in {printable(manifest_path(output))}')
    return '\n'.join(lines) + '\n'


def _listed(sizes: Sequence[tuple[int, int]]) -> str:
    return ' and '.join(f'{height}x{width}' for height, width in sizes)


def _batch(text: str) -> int:
    """Read a number of images, or `free`, which a manifest writes as 0; an argparse type."""
    return 0 if text == 'free' else count(text)


def _parser() -> CommandParser:
    parser = CommandParser(
        prog='python -m depth_core.export',
        description='Write a checkpoint as one ONNX file with its manifest. The '
        'graph is compared with the network before it appears under its name. Of it, or of an '
        'ONNX file that is there already, make one of lower precision.',
    )
    add = parser.add_mutually_exclusive_group(required=True).add_argument
    add('--checkpoint', type=Path, help='.ckpt file of this package, to be written as --output')
    add('--onnx', type=Path, help='.onnx file with its manifest, to make another precision of')
    add = parser.add_argument
    add(
        '--output',
        type=Path,
        help='.onnx file to write; <stem>.json and <stem>.answers.npz beside it',
    )
    add(
        '--height',
        type=count,
        help='rows of the input, pixels; left out, they are free where the network allows that, '
        'and as trained elsewhere',
    )
    add('--width', type=count, help='columns of the input, pixels; likewise')
    add(
        '--free_size',
        action=argparse.BooleanOptionalAction,
        default=None,
        help='leave height and width free, so that one graph serves cameras of every shape',
    )
    add(
        '--resize',
        choices=('keep_aspect', 'stretch'),
        help='of a graph of free size: to the shape of the camera, as when left out, or to the '
        'size of the network whatever the shape, as images were in training',
    )
    add(
        '--batch',
        type=_batch,
        metavar='N|free',
        help='images the graph takes at once, 1 when left out; free leaves their number open',
    )
    add('--licence', help='licence of the weights; what the checkpoint says when left out')
    add(
        '--trainable',
        action='store_const',
        const=True,
        help='write <stem>.ckpt beside the graph too: the weights in float16, to start training '
        'from (--model.weights of depth_core.train)',
    )
    add(
        '--half_weights',
        action='store_const',
        const=True,
        help='keep large weights as float16, which halves the file; it computes in float32',
    )
    add(
        '--opset',
        type=int,
        choices=OPSETS,
        help=f'of the graph, {OPSET} when left out; {LOWEST} is for TensorRT 8.5 and 8.6',
    )
    add('--seed', type=int, default=SEED, help='seed of the images that are compared')
    add(
        '--tolerance',
        type=positive,
        help=f'largest difference allowed, as a fraction of the depth; {TOLERANCE:g} when left '
        f'out, {ROUNDED_TOLERANCE:g} with --half_weights',
    )
    add_precision_options(parser)
    add(
        '--engine',
        action='store_true',
        help='build the TensorRT engine for the GPU that is here, compare it with the graph, and '
        'keep it; where there is no GPU or TensorRT, the ONNX file is kept all the same',
    )
    add('--manifest', metavar='FILE|NAME', help=f'for --engine: {MANIFEST_HELP}')
    add('--max_batch', type=count, help='most images the engine takes at once, 1 when left out')
    add('--workspace_mb', type=count, help='most GPU memory for scratch while building, MiB')
    return parser


if __name__ == '__main__':
    run_command(main)
