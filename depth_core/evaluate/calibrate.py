# SPDX-License-Identifier: Apache-2.0
"""Make the stated sigma of a model honest on held-out images: `evaluate --calibrate`.

Two numbers are fitted (`SigmaCalibration`) on images that are not scored, and written into a copy
of the model. What they can mend is a sigma that is off by one law on all images; they cannot tell
which images a model fails on.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np

from depth_core.contracts import DepthKind, SigmaCalibration
from depth_core.data.remarks import lost_of
from depth_core.data.sample import DepthDataset, Sample
from depth_core.errors import ConfigError, DataError
from depth_core.evaluate.run import Calibrated
from depth_core.evaluate.scoring import Scored, Scorer
from depth_core.files import FileState, read_unchanged
from depth_core.manifest import CalibratedSigma, Manifest
from depth_core.metrics import CalibrationMetrics
from depth_core.metrics.sigma_fit import Seen, fit
from depth_core.weights.checkpoint import SUFFIX as CHECKPOINT
from depth_core.weights.checkpoint import network_of, read_checkpoint, save_model

_PIXELS: Final = 2000
"""Pixels taken of each image: neighbours say the same."""
_LEAST: Final = 2


class Chosen:
    """Some samples of a data set."""

    def __init__(self, dataset: DepthDataset, indices: Sequence[int]) -> None:
        self._dataset = dataset
        self._indices = indices
        self.lost = lost_of(dataset)

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, index: int) -> Sample:
        """The sample at `index` of those chosen."""
        return self._dataset[self._indices[index]]


def halves(dataset: DepthDataset, indices: Sequence[int]) -> tuple[Chosen, Chosen]:
    """The first half of the images, to fit on, and the second, to score.

    Neighbouring images of a recording show the same, so that they are not dealt out in turn.

    Raises:
        DataError: There are less than two.
    """
    if len(indices) < _LEAST:
        message = (
            f'{len(indices)} image is to be scored, and calibration takes half of them; give '
            'more, or other images with --calibrate_data.'
        )
        raise DataError(message)
    middle = len(indices) // 2
    return Chosen(dataset, indices[:middle]), Chosen(dataset, indices[middle:])


def check_calibration(model: Path, output: Path) -> None:
    """Refuse what cannot be written, before any work.

    Raises:
        ConfigError: The name is that of another kind of file, or of the model itself.
    """
    if output.suffix != model.suffix:
        message = (
            f'--calibrate {output}: a copy of {model} is written, so the name has to end in '
            f'{model.suffix}.'
        )
        raise ConfigError(message)
    if output.resolve() == model.resolve():
        message = f'--calibrate {output} is the model itself; name another file.'
        raise ConfigError(message)


def look(scorer: Scorer, dataset: DepthDataset) -> Seen:
    """Predict images, and keep sigma and error of some of their pixels.

    Raises:
        ConfigError: The model gives no sigma, or inverse depth, whose sigma is not relative.
        DataError: No pixel has truth and prediction.
    """
    relative, ratio = [], []
    for index in range(len(dataset)):
        found = scorer(dataset[index])
        if found.answer.kind is DepthKind.INVERSE or np.isnan(found.answer.sigma_m).all():
            message = (
                'the model gives no sigma in the unit of its depth, so that there is nothing to '
                'calibrate; leave --calibrate out.'
            )
            raise ConfigError(message)
        stated, true = _pixels(found, index)
        relative.append(stated)
        ratio.append(true)
    seen = Seen(np.concatenate(relative), np.concatenate(ratio))
    if not len(seen.ratio):
        message = (
            f'none of {len(dataset)} images to calibrate on has a pixel with truth and prediction '
            'under this protocol; give others with --calibrate_data.'
        )
        raise DataError(message)
    return seen


def _pixels(found: Scored, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Of some pixels, sigma / depth and truth / depth."""
    depth, sigma, truth = found.answer.depth_m, found.answer.sigma_m, found.target_m
    usable = np.isfinite(depth) & np.isfinite(sigma) & np.isfinite(truth)
    usable &= (depth > 0.0) & (sigma > 0.0)
    places = np.flatnonzero(usable)
    if len(places) > _PIXELS:
        places = np.random.default_rng(seed).choice(places, _PIXELS, replace=False)
    depth, sigma, truth = (plane.ravel()[places] for plane in (depth, sigma, truth))
    scale = np.float32(found.score.scale)
    return sigma / depth, truth / (depth * scale)


def calibrate(
    model: Path,
    output: Path,
    seen: Seen,
    *,
    data: str,
    images: int,
    before: CalibrationMetrics,
    manifest: Manifest | None = None,
    state: FileState | None = None,
) -> Calibrated:
    """Fit a calibration and write the model with it.

    Args:
        model: ONNX graph or checkpoint.
        output: What is written, of the same kind.
        seen: Pixels of held-out images.
        data: Those images, in words.
        images: How many they were.
        before: How well the confidence comes true on the images that will be scored.
        manifest: In place of that of the graph.
        state: Of the model's file when the pixels were predicted; None where nobody changes it.

    Raises:
        ConfigError: The graph cannot be corrected.
        DataError: The file is another since then.
        DepthError: A file cannot be read or written.
    """
    found = fit(seen)
    result = Calibrated(
        output=str(output),
        data=data,
        images=images,
        factor=found.factor,
        power=found.power,
        fitted_before=seen.metrics(SigmaCalibration()),
        fitted_after=seen.metrics(found),
        scored_before=before,
    )
    if model.suffix == CHECKPOINT:
        _write_checkpoint(model, output, found, result.record, state)
    else:
        from depth_core.evaluate.graph_sigma import write_calibrated  # noqa: PLC0415  needs onnx

        write_calibrated(model, output, found, result.record, manifest, state=state)
    return result


def _write_checkpoint(
    path: Path,
    output: Path,
    found: SigmaCalibration,
    record: CalibratedSigma,
    state: FileState | None,
) -> None:
    """Write a checkpoint with its calibration corrected by another."""
    with read_unchanged(path, state):
        checkpoint = read_checkpoint(path)
    model = network_of(checkpoint, source=str(path))
    provenance = dict(checkpoint.provenance or {})
    provenance.pop('sigma_calibration', None)
    provenance['calibration'] = {
        'images': record.images,
        'data': record.data,
        'error_before': record.error_before,
        'error_after': record.error_after,
    }
    both = found.after(model.spec.sigma_calibration)
    model.spec = dataclasses.replace(model.spec, sigma_calibration=both)
    save_model(output, model, provenance=provenance)
