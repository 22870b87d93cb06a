# SPDX-License-Identifier: Apache-2.0
"""The command `python -m depth_core.export`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from depth_core.arguments import CommandParser, count, positive
from depth_core.contracts import DepthKind
from depth_core.errors import run_command
from depth_core.export.onnx import OPSET, export_onnx
from depth_core.export.parity import TOLERANCE
from depth_core.manifest import Manifest, manifest_path
from depth_core.runtime.parity_images import SEED
from depth_core.weights.checkpoint import load_model, read_checkpoint


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command with `arguments`, those of the process when None."""
    options = _parser().parse_command(arguments)
    checkpoint = read_checkpoint(options.checkpoint)
    provenance = dict(checkpoint.provenance or {})
    manifest = export_onnx(
        load_model(options.checkpoint),
        options.output,
        height=options.height,
        width=options.width,
        batch=options.batch,
        training=provenance,
        licence=options.licence or str(provenance.get('licence', '')),
        seed=options.seed,
        tolerance=options.tolerance,
    )
    sys.stdout.write(summary(options.output, manifest))


def summary(output: Path, manifest: Manifest) -> str:
    """Say in a few lines what was written to `output`, its numbers with their unit."""
    taken, given, parity = manifest.input, manifest.output, manifest.parity
    unit = ' m' if given.kind is DepthKind.METRIC else ' in its own unit'
    images = taken.batch or 'any number'
    lines = [
        f'{output}: {manifest.name}, opset {OPSET}, {output.stat().st_size / 1e6:.1f} MB',
        f'  takes image uint8 [{images}, {taken.height}, {taken.width}, 3] RGB',
        f'  gives depth and sigma, {given.kind}, {given.min_depth:g} to {given.max_depth:g}{unit}',
    ]
    if parity is not None:
        lines.append(
            f'  ONNX Runtime against torch on {parity.images} images: depth within '
            f'{parity.depth_max_rel:.2g} of the depth ({parity.depth_max_abs:.2g}{unit}), sigma '
            f'within {parity.sigma_max_rel:.2g}; allowed {parity.tolerance:g}'
        )
    lines.append(f'  manifest inside it and in {manifest_path(output)}')
    return '\n'.join(lines) + '\n'


def _batch(text: str) -> int:
    """Read a number of images, or `free`, which a manifest writes as 0; an argparse type."""
    return 0 if text == 'free' else count(text)


def _parser() -> CommandParser:
    parser = CommandParser(
        prog='python -m depth_core.export',
        description=f'Write a checkpoint as one ONNX file (opset {OPSET}) with its manifest. The '
        'graph is compared with the network before it appears under its name.',
    )
    add = parser.add_argument
    add('--checkpoint', type=Path, required=True, help='.ckpt file of this package')
    add('--output', type=Path, required=True, help='.onnx file to write; <stem>.json beside it')
    add('--height', type=count, help='rows of the input, pixels; as trained when left out')
    add('--width', type=count, help='columns of the input, pixels; as trained when left out')
    add(
        '--batch',
        type=_batch,
        default=1,
        metavar='N|free',
        help='images the graph takes at once; free leaves their number open',
    )
    add('--licence', default='', help='licence of the weights; what the checkpoint says if empty')
    add('--seed', type=int, default=SEED, help='seed of the images that are compared')
    add(
        '--tolerance',
        type=positive,
        default=TOLERANCE,
        help='largest difference allowed, as a fraction of the depth',
    )
    return parser


if __name__ == '__main__':
    run_command(main)
