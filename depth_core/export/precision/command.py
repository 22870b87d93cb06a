# SPDX-License-Identifier: Apache-2.0
"""The options of `python -m depth_core.export` that concern precision."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final, get_args

from depth_core.arguments import CommandParser, positive
from depth_core.errors import ConfigError
from depth_core.export.precision.int8 import Target
from depth_core.export.precision.make import Fp16Method, PrecisionRequest, write_precision
from depth_core.export.precision.measure import DEFAULT_LIMITS, Limits
from depth_core.manifest import ErrorSpread, Manifest
from depth_core.metrics import PROTOCOLS
from depth_core.names import printable

_ANY: Final = ('calibration', 'max_error', 'truth', 'protocol')


def add_precision_options(parser: CommandParser) -> None:
    """Add the options to `parser`."""
    limits = ', '.join(
        f'{name} {limit.p999:g} {limit.max:g}' for name, limit in DEFAULT_LIMITS.items()
    )
    add = parser.add_argument_group('lower precision, in a file beside the model').add_argument
    add('--precision', default='fp32', choices=('fp32', *DEFAULT_LIMITS), help='to make as well')
    add(
        '--calibration',
        help='folder of images, data set, or the word synthetic, to calibrate with one half of '
        'and compare on the other; drawn images when left out',
    )
    add('--target', choices=get_args(Target), help='int8: for whom; tensorrt when left out')
    add(
        '--fp16_method',
        choices=get_args(Fp16Method),
        help='fp16: what keeps fp32, by the rule of this package (when left out) or by AutoCast '
        'of nvidia-modelopt',
    )
    add(
        '--max_error',
        type=positive,
        nargs='+',
        metavar=('P999', 'MAX'),
        help='largest difference of 99.9%% of the pixels and of all, as fractions of the answer '
        f'in fp32; one number is for both. Left out: {limits}, or what noise of one code in the '
        'images changes, if that is within what the parity gate lets pass',
    )
    add('--truth', help='data with ground truth, or synthetic: measures the change of AbsRel')
    add('--protocol', choices=tuple(PROTOCOLS), help='which of its pixels are scored; none')


def precision_request(options: argparse.Namespace, onnx: Path) -> PrecisionRequest | None:
    """Read the options; None when no lower precision is asked for.

    Raises:
        ConfigError: An option is given that has no effect, or `--max_error` has three numbers.
    """
    wrong = {
        'fp32': (*_ANY, 'target', 'fp16_method'),
        'fp16': ('target',),
        'int8': ('fp16_method',),
    }[options.precision]
    for name in wrong:
        if getattr(options, name) is not None:
            message = (
                f'--{name} has no effect with --precision {options.precision}; leave it out, or '
                'ask for another precision.'
            )
            raise ConfigError(message)
    if options.protocol is not None and options.truth is None:
        message = f'--protocol {options.protocol} scores ground truth; give that with --truth.'
        raise ConfigError(message)
    if options.precision == 'fp32':
        return None
    return PrecisionRequest(
        onnx=onnx,
        precision=options.precision,
        target=options.target or 'tensorrt',
        calibration=options.calibration,
        fp16_method=options.fp16_method or 'rule',
        limits=_limits(options.max_error),
        truth=options.truth,
        protocol=options.protocol or 'none',
    )


def make_precision(request: PrecisionRequest) -> str:
    """Make the file and say in a few lines what it is."""
    path, manifest = write_precision(request)
    return describe(path, manifest)


def describe(path: Path, manifest: Manifest) -> str:
    """Say in a few lines what the file at `path` costs, from its manifest."""
    error = manifest.precision_error
    target = f' for {manifest.precision_target}' if manifest.precision_target else ''
    size = f'{path.stat().st_size / 1e6:.1f} MB'
    lines = [printable(f'{path}: {manifest.precision}{target}, {size}')]
    lines.append(f'  calibrated on {printable(manifest.calibration)}')
    if error is not None:
        lines.append(f'  against {error.reference} on {error.images}, by {error.method}:')
        lines.append(
            f'  depth {_text(error.depth)}; {error.max_p999:.3g}, {error.max_max:.3g} allowed'
        )
        if error.sigma is not None:
            lines.append(f'  sigma {_text(error.sigma)}')
        if error.noise_depth is not None:
            lines.append(f'  noise of one code in the image: depth {_text(error.noise_depth)}')
        if error.abs_rel_change is not None:
            lines.append(f'  AbsRel {error.abs_rel_change:+.2%} on {error.abs_rel_set}')
    return '\n'.join(lines) + '\n'


def _text(spread: ErrorSpread) -> str:
    return f'{spread.mean:.2g} in the mean, 99.9 % within {spread.p999:.2g}, all {spread.max:.2g}'


def _limits(numbers: list[float] | None) -> Limits | None:
    if numbers is None:
        return None
    if len(numbers) > 2:  # noqa: PLR2004  for most pixels, for all
        message = f'--max_error has {len(numbers)} numbers; give P999 and MAX, or one for both.'
        raise ConfigError(message)
    return Limits(p999=numbers[0], max=numbers[-1])
