# SPDX-License-Identifier: Apache-2.0
"""The command `python -m depth_core.predict`: depth of images, folders of images and videos."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from depth_core.arguments import CommandParser, count, names, positive
from depth_core.contracts import DepthMap, Float32Array, Uint8Array
from depth_core.errors import ConfigError, DataError, DepthError, run_command
from depth_core.files import replaced_atomically
from depth_core.focal_options import add_assumed_option, add_focal_options, camera_of_file
from depth_core.images import IMAGE_SUFFIXES, read_image
from depth_core.names import printable, printable_lines, show_log
from depth_core.presets import MANIFEST_HELP
from depth_core.preview import ColourScale, scale_for, scale_of_scene, side_by_side
from depth_core.runtime import Framing, Precision, Predictor
from depth_core.runtime.backends import describe_backends
from depth_core.runtime.flip import FLIP_AVERAGES
from depth_core.runtime.video_file import VIDEO_SUFFIXES, open_video, write_video
from depth_core.scale import KnownDistance
from depth_core.shipped import MODEL_HELP
from depth_core.sources import find_sources

PNG_CODES_PER_METRE: Final = 256.0
"""Of the 16-bit depth images, as KITTI writes them: 4 mm steps up to 256 m, and 0 for no value."""

_LARGEST_CODE: Final = 65535
_FFMPEG_QUIET: Final = -8


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command with `arguments`, those of the process when None."""
    options = _parser().parse_command(arguments)
    show_log(logging.WARNING, form='%(levelname)s: %(message)s')
    _quieten_opencv()
    sources = find_sources(options.input, options.output)
    _check_known_distance(options, sources)
    predictor = Predictor.open(
        options.model,
        manifest=options.manifest,
        backend=options.backend,
        precision=options.precision,
        strict=options.strict,
        threads=options.threads,
        assumed_hfov_deg=options.assumed_hfov_deg,
        framing=Framing(
            padding=options.padding,
            keep_aspect=options.keep_aspect,
            flip_average=options.flip_average,
        ),
    )
    failed = _predict_all(sources, _Writer(predictor, options))
    done = f'{len(sources) - len(failed)} of {len(sources)} files predicted by '
    done += f'{predictor.manifest.name} on {predictor.backend}, in {options.output}'
    sys.stdout.write(printable(done) + '\n')
    if failed:
        listed = ', '.join(path.name for path in failed)
        message = (
            f'{len(failed)} of {len(sources)} files failed: {listed}. The reasons stand above; '
            'the others are written.'
        )
        raise DataError(message)


def _check_known_distance(options: argparse.Namespace, sources: Iterable[Path]) -> None:
    """Refuse a known distance that belongs to no single image."""
    images = [path.suffix.lower() in IMAGE_SUFFIXES for path in sources]
    if options.known_distance is not None and images != [True]:
        message = (
            f'--known_distance belongs to one image, and {sum(images)} images and '
            f'{len(images) - sum(images)} videos are given; give the image alone.'
        )
        raise ConfigError(message)


def _quieten_opencv() -> None:
    """Leave it to this command to say what failed, with the name of the file."""
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    os.environ.setdefault('OPENCV_FFMPEG_LOGLEVEL', str(_FFMPEG_QUIET))


def _predict_all(sources: Mapping[Path, str], writer: _Writer) -> list[Path]:
    """Predict each file, whatever happens to the others; return those that failed."""
    failed = []
    for source, name in sources.items():
        try:
            writer.predict(source, name)
        except Exception as error:  # noqa: PERF203  libraries have errors of their own
            expected = isinstance(error, DepthError)
            if len(sources) == 1 and expected:
                raise
            failed.append(source)
            reason = str(error) if expected else f'{source}: {type(error).__name__}: {error}'
            sys.stderr.write(f'error: {printable_lines(reason)}\n')
    return failed


class _Writer:
    """Predicts one file after the other and writes what was asked for."""

    def __init__(self, predictor: Predictor, options: argparse.Namespace) -> None:
        self._predictor = predictor
        self._folder: Path = options.output
        self._all_frames: bool = options.frames
        self._known: KnownDistance | None = options.known_distance
        self._camera = partial(camera_of_file, predictor.manifest, options)
        output = predictor.manifest.output
        self._scale = scale_for(output, near=options.near_m, far=options.far_m)
        self._follows_scene = self._scale is not None and options.near_m is options.far_m is None
        self._metric = output.kind.is_metric
        if not self._metric:
            sys.stdout.write(
                f'{printable(predictor.manifest.name)} states {output.kind} depth, not metres: '
                'the numbers are in its own unit, and no depth PNG is written\n'
            )

    def predict(self, source: Path, name: str) -> None:
        """Predict one image or video and write the files whose names begin with `name`."""
        if source.suffix.lower() in VIDEO_SUFFIXES:
            said = self._video(source, name)
        else:
            image = read_image(source)
            camera, focal = self._camera(source, image.shape[:2])
            answer = self._predictor.predict(image, camera)
            self._write_arrays(self._folder, f'{name}_', answer)
            _write_png(
                self._folder / f'{name}_preview.png',
                cv2.cvtColor(
                    side_by_side(image, answer, self._scale_of(answer)), cv2.COLOR_RGB2BGR
                ),
            )
            said = describe_depth(answer) + focal + self._known_distance(answer)
        written = '' if name == source.stem else f' (written as {name}_*)'
        sys.stdout.write(f'{printable(f"{source}{written}")}: {printable_lines(said)}\n')

    def _known_distance(self, answer: DepthMap) -> str:
        """What the manifest must say for the known distance to come out."""
        if self._known is None:
            return ''
        if not self._metric:
            message = (
                f'--known_distance corrects metres, and {self._predictor.manifest.name} states '
                f'{answer.kind} depth; give it a scale first.'
            )
            raise ConfigError(message)
        correction = self._predictor.manifest.output.scale_correction
        return f'\n  {self._known.compare(answer.depth_m, scale_correction=correction)}'

    def _write_arrays(self, folder: Path, prefix: str, answer: DepthMap) -> None:
        if self._metric:
            _write_png(folder / f'{prefix}depth.png', depth_codes(answer.depth_m))
        _write_npy(folder / f'{prefix}depth.npy', answer.depth_m)
        _write_npy(folder / f'{prefix}sigma.npy', answer.sigma_m)

    def _scale_of(self, answer: DepthMap) -> ColourScale | None:
        """The colours of one picture: as asked for, or those of what it shows."""
        return (self._follows_scene and scale_of_scene(answer.depth_m)) or self._scale

    def _video(self, source: Path, name: str) -> str:
        self._video_scale: ColourScale | None = None
        with open_video(source) as video:
            write_video(
                self._folder / f'{name}_preview.mp4',
                (
                    self._frame(source, name, number, image)
                    for number, image in enumerate(video.frames())
                ),
                rate_hz=video.rate_hz,
            )
            video.check_whole()
            return f'{video.frames_read} frames at {video.rate_hz:g} Hz'

    def _frame(self, source: Path, name: str, number: int, image: Uint8Array) -> Uint8Array:
        answer = self._predictor.predict(image, self._camera(source, image.shape[:2])[0])
        if self._all_frames:
            self._write_arrays(self._folder / f'{name}_frames', f'{number:06d}_', answer)
        if self._video_scale is None:  # one scale for all frames: else colours would flicker
            self._video_scale = self._scale_of(answer)
        return side_by_side(image, answer, self._video_scale)


def describe_depth(answer: DepthMap) -> str:
    """Say in one line what an answer holds."""
    finite = answer.depth_m[np.isfinite(answer.depth_m)]
    height, width = answer.depth_m.shape
    if not finite.size:
        return f'{width}x{height}, no pixel has a depth within the range of the model'
    low, middle, high = np.percentile(finite, (0, 50, 100))
    unit = ' m' if answer.kind.is_metric else ''
    return (
        f'{width}x{height}, depth {low:.2f} to {high:.2f}{unit}, median {middle:.2f}{unit}, '
        f'{1.0 - finite.size / answer.depth_m.size:.0%} out of range or unknown, '
        f'{answer.inference_s * 1e3:.1f} ms'
    )


def depth_codes(depth_m: Float32Array) -> NDArray[np.uint16]:
    """Turn metres into 16-bit codes, 1/256 m each; 0 where there is no finite depth."""
    finite = np.where(np.isfinite(depth_m), depth_m, 0.0)
    codes = np.rint(finite.astype(np.float64) * PNG_CODES_PER_METRE)
    return np.clip(codes, 0, _LARGEST_CODE).astype(np.uint16)


def _write_png(path: Path, pixels: NDArray[Any]) -> None:
    with replaced_atomically(path) as temporary:
        encoded, content = cv2.imencode('.png', pixels)
        if not encoded:
            message = f'{path} cannot be encoded as PNG, {pixels.dtype} {list(pixels.shape)}.'
            raise DepthError(message)
        temporary.write_bytes(content.tobytes())


def _write_npy(path: Path, plane: Float32Array) -> None:
    with replaced_atomically(path) as temporary, temporary.open('wb') as file:
        np.save(file, plane)


def _parser() -> CommandParser:
    parser = CommandParser(
        prog='python -m depth_core.predict',
        description='Predict the depth of images, of the images in folders, and of videos.',
        epilog='Written for each image: NAME_depth.png (16 bits, 1/256 m each as in KITTI, 0 = no '
        'value), NAME_depth.npy and NAME_sigma.npy (float32 metres; NaN no estimate, inf '
        'beyond and -inf nearer than the range of the model) and NAME_preview.png; for each '
        'video: NAME_preview.mp4. NAME is that of the file without its ending, or with it where '
        'several files share a name.',
    )
    add = parser.add_argument
    add('input', nargs='+', type=Path, metavar='INPUT', help='images, videos, folders of them')
    add('--model', required=True, help=MODEL_HELP)
    add('--manifest', metavar='FILE|NAME', help=MANIFEST_HELP)
    add('--output', type=Path, default=Path('predictions'), help='folder to write to')
    add(
        '--backend',
        type=names,
        metavar='NAME[,NAME...]',
        help=f'the first that can run the model is used: {describe_backends()}',
    )
    add('--precision', default='fp32', choices=get_args(Precision), help='computed in')
    add('--strict', action='store_true', help='use the first backend or none')
    add('--threads', type=count, help='most CPU threads to compute with; all when left out')
    add_focal_options(parser, default=' (an image: what its EXIF data state)')
    add_assumed_option(add)
    add(
        '--known_distance',
        type=KnownDistance.parse,
        metavar='COLUMN,ROW,METRES',
        help='a distance along the optical axis measured in the image, at a pixel or in a '
        'rectangle LEFT,TOP,RIGHT,BOTTOM,METRES: says which scale_correction puts it right',
    )
    add('--padding', action='store_true', help='reflect the image around its edges first')
    add('--keep_aspect', action='store_true', help='do not stretch the image')
    add(
        '--flip_average',
        default='none',
        choices=FLIP_AVERAGES,
        help='average with the answer for the mirrored image',
    )
    add(
        '--near_m',
        type=positive,
        help='first colour of the preview, metres; of the scene if left out',
    )
    add(
        '--far_m',
        type=positive,
        help='last colour of the preview, metres; of the scene if left out',
    )
    add('--frames', action='store_true', help='of videos, also write the arrays of every frame')
    return parser


if __name__ == '__main__':
    run_command(main)
