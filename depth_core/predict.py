# SPDX-License-Identifier: Apache-2.0
"""The command `python -m depth_core.predict`: depth of images, folders of images and videos."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from depth_core.arguments import CommandParser, count, names, positive
from depth_core.contracts import DepthKind, DepthMap, Float32Array, Uint8Array
from depth_core.errors import ConfigError, DataError, DepthError, run_command
from depth_core.files import is_hidden, replaced_atomically
from depth_core.images import IMAGE_SUFFIXES, read_image
from depth_core.preview import ColourScale, scale_for, side_by_side
from depth_core.runtime import Framing, Precision, Predictor
from depth_core.runtime.backends import describe_backends
from depth_core.runtime.flip import FLIP_AVERAGES
from depth_core.runtime.video_file import VIDEO_SUFFIXES, open_video, write_video

PNG_CODES_PER_METRE: Final = 256.0
"""Of the 16-bit depth images, as KITTI writes them: 4 mm steps up to 256 m, and 0 for no value."""

_LARGEST_CODE: Final = 65535


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command with `arguments`, those of the process when None."""
    options = _parser().parse_command(arguments)
    logging.basicConfig(level=logging.WARNING, format='%(levelname)s: %(message)s')
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # we say what failed
    sources = _sources(options.input, options.output)
    predictor = Predictor.open(
        options.model,
        backend=options.backend,
        precision=options.precision,
        strict=options.strict,
        threads=options.threads,
        framing=Framing(
            padding=options.padding,
            keep_aspect=options.keep_aspect,
            flip_average=options.flip_average,
        ),
    )
    writer = _Writer(predictor, options)
    failed = 0
    for source in sources:
        try:
            writer.predict(source)
        except DataError as error:  # noqa: PERF203  the other files are worth the time
            if len(sources) == 1:
                raise
            failed += 1
            sys.stderr.write(f'error: {error}\n')
    sys.stdout.write(
        f'{len(sources) - failed} of {len(sources)} files predicted by '
        f'{predictor.manifest.name} on {predictor.backend}, in {options.output}\n'
    )
    if failed:
        message = f'{failed} of {len(sources)} files failed, named above; the others are written.'
        raise DataError(message)


class _Writer:
    """Predicts one file after the other and writes what was asked for."""

    def __init__(self, predictor: Predictor, options: argparse.Namespace) -> None:
        self._predictor = predictor
        self._folder: Path = options.output
        self._all_frames: bool = options.frames
        output = predictor.manifest.output
        self._scale: ColourScale | None = scale_for(output, near=options.near_m, far=options.far_m)
        self._metric = output.kind is DepthKind.METRIC
        if not self._metric:
            sys.stdout.write(
                f'{predictor.manifest.name} states {output.kind} depth, not metres: the numbers '
                'are in its own unit, and no depth PNG is written\n'
            )

    def predict(self, source: Path) -> None:
        """Predict one image or video."""
        if source.suffix.lower() in VIDEO_SUFFIXES:
            self._video(source)
            return
        image = read_image(source)
        answer = self._predictor.predict(image)
        self._write_arrays(self._folder, f'{source.stem}_', answer)
        _write_png(
            self._folder / f'{source.stem}_preview.png',
            cv2.cvtColor(side_by_side(image, answer, self._scale), cv2.COLOR_RGB2BGR),
        )
        sys.stdout.write(f'{source}: {describe_depth(answer)}\n')

    def _write_arrays(self, folder: Path, prefix: str, answer: DepthMap) -> None:
        if self._metric:
            _write_png(folder / f'{prefix}depth.png', depth_codes(answer.depth_m))
        _write_npy(folder / f'{prefix}depth.npy', answer.depth_m)
        _write_npy(folder / f'{prefix}sigma.npy', answer.sigma_m)

    def _video(self, source: Path) -> None:
        with open_video(source) as video:
            write_video(
                self._folder / f'{source.stem}_preview.mp4',
                (
                    self._frame(source, number, image)
                    for number, image in enumerate(video.frames())
                ),
                rate_hz=video.rate_hz,
            )
            sys.stdout.write(f'{source}: {video.frames_read} frames\n')
            video.check_whole()

    def _frame(self, source: Path, number: int, image: Uint8Array) -> Uint8Array:
        answer = self._predictor.predict(image)
        if self._all_frames:
            self._write_arrays(self._folder / f'{source.stem}_frames', f'{number:06d}_', answer)
        return side_by_side(image, answer, self._scale)


def describe_depth(answer: DepthMap) -> str:
    """Say in one line what an answer holds."""
    finite = answer.depth_m[np.isfinite(answer.depth_m)]
    height, width = answer.depth_m.shape
    if not finite.size:
        return f'{width}x{height}, no pixel has a depth within the range of the model'
    low, middle, high = np.percentile(finite, (0, 50, 100))
    unit = ' m' if answer.kind is DepthKind.METRIC else ''
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


def _sources(inputs: Sequence[Path], output: Path) -> list[Path]:
    """List the files to predict, each of which is written under another name."""
    sources: list[Path] = []
    for given in inputs:
        if given.is_dir():
            sources += _files_of(given, output)
        elif not given.is_file():
            message = f'input {given} does not exist; give images, videos or folders of them.'
            raise DataError(message)
        elif given.suffix.lower() not in (*IMAGE_SUFFIXES, *VIDEO_SUFFIXES):
            known = ' '.join((*IMAGE_SUFFIXES, *VIDEO_SUFFIXES))
            message = f'input {given} is no image or video by its ending; known are {known}.'
            raise DataError(message)
        else:
            sources.append(given)
    by_stem: dict[str, Path] = {}
    for source in sources:
        other = by_stem.setdefault(source.stem, source)
        if other is not source:
            message = (
                f'{other} and {source} would both be written as {source.stem}_*; '
                'predict them into different folders, with --output.'
            )
            raise ConfigError(message)
    return sources


def _files_of(folder: Path, output: Path) -> list[Path]:
    if output.resolve() == folder.resolve():
        message = f'output {output} is the input folder; give another, so that none is read again.'
        raise ConfigError(message)
    suffixes = (*IMAGE_SUFFIXES, *VIDEO_SUFFIXES)
    found = sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in suffixes and path.is_file() and not is_hidden(path)
    )
    if not found:
        message = f'folder {folder} holds no image or video; its subfolders are not looked into.'
        raise DataError(message)
    return found


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
        'video: NAME_preview.mp4.',
    )
    add = parser.add_argument
    add('input', nargs='+', type=Path, metavar='INPUT', help='images, videos, folders of them')
    add('--model', type=Path, required=True, help='.onnx file or .ckpt checkpoint')
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
    add('--padding', action='store_true', help='reflect the image around its edges first')
    add('--keep_aspect', action='store_true', help='do not stretch; checkpoints on torch only')
    add(
        '--flip_average',
        default='none',
        choices=FLIP_AVERAGES,
        help='average with the answer for the mirrored image',
    )
    add('--near_m', type=positive, help="first colour of the preview, metres; the model's own")
    add('--far_m', type=positive, help="last colour of the preview, metres; the model's own")
    add('--frames', action='store_true', help='of videos, also write the arrays of every frame')
    return parser


if __name__ == '__main__':
    run_command(main)
