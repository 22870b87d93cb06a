# SPDX-License-Identifier: Apache-2.0
"""What the command `python -m depth_core.evaluate` is asked for, and what that opens."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, get_args

from depth_core.arguments import CommandParser, count, names, positive, whole
from depth_core.contracts import Intrinsics
from depth_core.data import DATASETS, DepthDataset, detect_dataset, open_dataset
from depth_core.data.registry import evaluation_options
from depth_core.data.remarks import remarks_of
from depth_core.errors import ConfigError
from depth_core.evaluate.cameras import TakenWith
from depth_core.evaluate.scaling import SPARSE_POINTS, ScaleSource
from depth_core.focal_options import add_assumed_option
from depth_core.geometry import intrinsics_from_focal, intrinsics_from_hfov
from depth_core.metrics import ALIGNMENTS, PROTOCOLS
from depth_core.presets import MANIFEST_HELP
from depth_core.runtime import Precision, Predictor
from depth_core.runtime.backends import describe_backends
from depth_core.runtime.flip import FLIP_AVERAGES
from depth_core.shipped import MODEL_HELP

_LOG = logging.getLogger(__name__)

_SYNTHETIC: Final = 'synthetic'
_SYNTHETIC_IMAGES: Final = 100
_VIEW: Final = 'hfov_deg'
"""What data sets that are rendered call their field of view."""


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line.

    Raises:
        ConfigError: An argument is unknown (the nearest is named), missing or malformed.
    """
    return _parser().parse_command(arguments)


def _parser() -> CommandParser:
    parser = CommandParser(
        prog='python -m depth_core.evaluate',
        description='Evaluate a depth model and write a report folder. Depths are metres.',
        epilog='protocols:\n'
        + '\n'.join(f'  {item.name:24} {item.description}' for item in PROTOCOLS.values()),
    )
    group = parser.add_argument_group('model')
    add = group.add_mutually_exclusive_group(required=True).add_argument
    add('--model', help=MODEL_HELP)
    add('--checkpoint', dest='model', help='checkpoint of this package (.ckpt)')
    add('--onnx', dest='model', help='ONNX file with its manifest')
    add = group.add_argument
    add('--manifest', metavar='FILE|NAME', help=MANIFEST_HELP)
    add('--backend', type=names, help=f'the first that can run it is used: {describe_backends()}')
    add('--precision', default='fp32', choices=get_args(Precision), help='computed in')
    add_assumed_option(add)
    add_data(parser)
    add_scoring(parser)
    _add_calibration(parser)
    add = parser.add_argument_group('report').add_argument
    add('--output', type=Path, required=True, help='report folder; a former report is replaced')
    add('--pictures', type=whole, default=6, help='scored images to show in the report')
    add('--parquet', action='store_true', help='write frames.parquet too, beside frames.csv')
    return parser


def add_data(parser: CommandParser, *, required: bool = True) -> None:
    """Add the options that name images."""
    add = parser.add_argument_group('data').add_argument
    add('--data', required=required, help="folder or bag, or the word 'synthetic'")
    add('--dataset', default='auto', choices=('auto', *DATASETS), help='what it is; auto looks')
    add('--split', type=Path, help='list of the samples to take')
    add('--limit', type=count, help='take this many images, evenly spaced; for synthetic how many')
    add('--height', type=count, help='resize images to this height, pixels; native when left out')
    add('--width', type=count, help='resize images to this width, pixels; native when left out')
    add('--focal_px', type=positive, help='focal length of the camera of all images, pixels')
    for name, option in evaluation_options().items():
        others = '; others: of the camera of all images' if name == _VIEW else ''
        add(f'--{name}', type=option.kind, help=option.help + others)


def add_scoring(parser: CommandParser, *, required: bool = True) -> None:
    """Add the options of how depth is scored."""
    add = parser.add_argument_group('scoring').add_argument
    add('--protocol', required=required, help='which pixels are scored, see below')
    add('--min_depth_m', type=float, help="smallest depth scored, protocol 'none' only, metres")
    add('--max_depth_m', type=float, help="largest depth scored, protocol 'none' only, metres")
    add(
        '--align',
        default='none',
        choices=ALIGNMENTS,
        help='before scoring an image: nothing; scale it to the median of its ground truth '
        '(lower_median as packnet-sfm), by the ground seen in it (ground_plane), or by some true '
        'depths (sparse); or fit scale and shift of inverse depth',
    )
    add('--camera_height_m', type=positive, help='ground_plane: height of the camera, metres')
    add('--sparse_points', type=count, default=SPARSE_POINTS, help='sparse: true depths an image')
    add(
        '--flip_average',
        nargs='?',
        const='mean',
        default='none',
        choices=FLIP_AVERAGES,
        help='average with the mirrored image: mean of depths (when no value is given), blended '
        'towards each side, or blended_inverse, the same of inverse depths, by which networks '
        'trained without depth are scored',
    )
    add(
        '--semantic_weights',
        type=Path,
        help='checkpoint (.ckpt) of a guided network, or of depth_core.train.semantic: metrics by '
        'class then go by the classes it predicts, not by labels of the data',
    )


def _add_calibration(parser: CommandParser) -> None:
    add = parser.add_argument_group('calibration of sigma').add_argument
    add(
        '--calibrate',
        type=Path,
        metavar='FILE',
        help='write a copy of the model (.onnx or .ckpt, as it is) whose stated confidence comes '
        'true on held-out images, and score that; the first half of the data is held out, the '
        'second scored, unless other images are given',
    )
    add('--calibrate_data', help='images to calibrate on, of the same kind; --data when left out')
    add('--calibrate_split', type=Path, help='list of the images to calibrate on')


def open_model(model: Path, options: argparse.Namespace) -> Predictor:
    """Open a model file as the options ask."""
    return Predictor.open(
        model,
        manifest=options.manifest,
        backend=options.backend,
        precision=options.precision,
        assumed_hfov_deg=options.assumed_hfov_deg,
    )


def open_data(options: argparse.Namespace) -> tuple[DepthDataset, str]:
    """Open the images that the options name, and say what data set they are."""
    name = options.dataset
    if name == 'auto':
        name = detect_dataset(Path(options.data))
    stated = [options.focal_px, None if _chooses_view(name) else options.hfov_deg]
    if None not in stated:
        message = '--focal_px and --hfov_deg say the same of a camera; give one of them.'
        raise ConfigError(message)
    dataset = _open(name, options)
    for remark in remarks_of(dataset):
        _LOG.warning('%s', remark)
    if stated == [None, None]:
        return dataset, name
    return TakenWith(dataset, partial(_camera, options)), name


def _chooses_view(name: str) -> bool:
    """Whether the images of a data set are made with the field of view that is asked for."""
    return _VIEW in DATASETS[name].options


def _camera(options: argparse.Namespace, height: int, width: int) -> Intrinsics:
    """The camera that the options state."""
    if options.focal_px is not None:
        return intrinsics_from_focal(options.focal_px, height=height, width=width)
    return intrinsics_from_hfov(float(options.hfov_deg), height=height, width=width)


def _open(name: str, options: argparse.Namespace) -> DepthDataset:
    chosen = data_options(options)
    if not _chooses_view(name):
        chosen.pop(_VIEW, None)
    if name == _SYNTHETIC:
        chosen = {
            'seed': 1_000_000,
            'height': 480,
            'width': 640,
            'length': options.limit or _SYNTHETIC_IMAGES,
        } | chosen
        return open_dataset(name, split=options.split, **chosen)
    return open_dataset(name, root=options.data, split=options.split, **chosen)


def data_options(options: argparse.Namespace) -> dict[str, Any]:
    """What goes to the data set as it is; it refuses an option that it does not take."""
    values = {name: getattr(options, name) for name in ('height', 'width', *evaluation_options())}
    return {name: value for name, value in values.items() if value is not None}


def scale_source(options: argparse.Namespace) -> ScaleSource:
    """Where the options take the scale of depth from."""
    return ScaleSource(
        align=options.align,
        camera_height_m=options.camera_height_m,
        sparse_points=options.sparse_points,
    )
