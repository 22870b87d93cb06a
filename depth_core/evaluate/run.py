# SPDX-License-Identifier: Apache-2.0
"""Score a predictor on a data set under a protocol, and keep some pictures for the report."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from depth_core.data.places import place_of
from depth_core.data.sample import DepthDataset, sample_to_score
from depth_core.errors import ConfigError, DataError, unknown_name
from depth_core.evaluate.panels import Panel, PanelKeeper, choose_indices, panel_scale_of
from depth_core.evaluate.pipeline import ahead, in_thread
from depth_core.evaluate.scaling import SPARSE_POINTS, ScaleSource
from depth_core.evaluate.scoring import PredictsClasses, PredictsDepth, Scorer
from depth_core.manifest import CalibratedSigma
from depth_core.metrics import Align, CalibrationMetrics, Evaluation, ImageScore, Protocol
from depth_core.preview import ColourScale
from depth_core.runtime.flip import FLIP_AVERAGES, FlipAverage


@dataclass(frozen=True, kw_only=True)
class Recording:
    """What became of one recording."""

    path: str
    evaluation: Evaluation | None
    """None when no image of it was scored."""
    flicker: float | None
    """How much the mean of ln(prediction / truth) changes from one scored image to the next, mean
    of the amounts: 0 when errors stay as they are. None without neighbours."""
    parts: int
    """How many parts it has."""
    parts_done: int
    """How many were evaluated: fewer where it is damaged."""
    error: str | None = None
    """Why it was evaluated in part or not at all."""
    notes: tuple[str, ...] = ()

    @property
    def is_partial(self) -> bool:
        """Whether the numbers leave out parts of it."""
        return self.parts_done < self.parts or self.error is not None


@dataclass(frozen=True, kw_only=True)
class Calibrated:
    """What came of it, for the report."""

    output: str
    """The model that was written; it is the one that is scored."""
    data: str
    """The images it was fitted on, in words; none of them is scored."""
    images: int
    factor: float
    power: float
    fitted_before: CalibrationMetrics
    """On the images of the fit, as the model was."""
    fitted_after: CalibrationMetrics
    scored_before: CalibrationMetrics
    """On the images that are scored, as the model was; those of the report are after."""

    @property
    def record(self) -> CalibratedSigma:
        """What the manifest says of it."""
        return CalibratedSigma(
            factor=self.factor,
            power=self.power,
            data=self.data,
            images=self.images,
            error_before=self.fitted_before.calibration_error,
            error_after=self.fitted_after.calibration_error,
        )


@dataclass(frozen=True, kw_only=True)
class Run:
    """The outcome of evaluating a data set."""

    evaluation: Evaluation
    scores: tuple[ImageScore, ...]
    panels: tuple[Panel, ...]
    """Some scored images at even distances through the set."""
    worst: Panel | None
    """The scored image of largest AbsRel."""
    panel_scale: ColourScale
    """The colours of depth in all pictures."""
    flip_average: FlipAverage
    source: ScaleSource
    """Where the scale came from."""
    scale_states: Mapping[str, int]
    """How many images each state of the scale had; empty where it is not found from the image."""
    backend: str
    """What computed the depth, as the predictor named it."""
    best: Panel | None = None
    """The scored image of smallest AbsRel."""
    frames: Path | None = None
    """Table of single images (CSV), where they are too many to be kept as `scores`."""
    frame_abs_rel: tuple[float, ...] = ()
    """AbsRel of each scored image, in order; empty takes those of `scores`."""
    recordings: tuple[Recording, ...] = ()
    """What became of each recording, where several were evaluated."""
    calibrated: Calibrated | None = None
    """How sigma was calibrated before these images were scored, where it was."""
    labels_from: str | None = None
    """Where the classes of pixels came from; None = from the data, where it has labels."""
    inference_s: tuple[float, ...] = field(compare=False)
    """Time inside the backend for each image, both passes when averaging flipped ones."""
    elapsed_s: float = field(compare=False)


def evaluate_dataset(
    predictor: PredictsDepth,
    dataset: DepthDataset,
    *,
    protocol: Protocol,
    align: Align = 'none',
    flip_average: FlipAverage = 'none',
    camera_height_m: float | None = None,
    sparse_points: int = SPARSE_POINTS,
    labels: PredictsClasses | None = None,
    limit: int | None = None,
    panels: int = 6,
    on_image: Callable[[ImageScore], None] | None = None,
) -> Run:
    """Predict and score the images of `dataset`, in order.

    Args:
        predictor: Gives depth for an image.
        dataset: Images with ground truth; those without are counted.
        protocol: Which pixels are scored.
        align: How each prediction is brought to the metres of its ground truth first.
        flip_average: Whether and how a second pass on the mirrored image is averaged in.
        camera_height_m: Height of the camera above the ground, metres; for ground_plane alone.
        sparse_points: True depths of each image that `sparse` is given; they are not scored.
        labels: Predicts the class of each pixel for the metrics by class, in place of the labels
            of the data; those are taken, where there are some, when None.
        limit: Take this many images at even distances; all when None.
        panels: How many scored images are kept for pictures; the worst is kept beside them.
        on_image: Called after each image, for progress.

    Raises:
        ConfigError: An option is unknown or contradicts the kind of depth.
        DataError: The data set is empty or damaged, or no image could be scored.
    """
    if flip_average not in FLIP_AVERAGES:
        raise ConfigError(unknown_name('flip average', flip_average, FLIP_AVERAGES))
    source = ScaleSource(align=align, camera_height_m=camera_height_m, sparse_points=sparse_points)
    scorer = Scorer(predictor, protocol, source=source, flip_average=flip_average, labels=labels)
    keeper = PanelKeeper(panels)
    inference_s: list[float] = []
    started_s = time.perf_counter()
    views = (
        scorer.look(sample_to_score(dataset, index), place_of(dataset, index))
        for index in choose_indices(len(dataset), limit)
    )
    for found in in_thread(scorer.score, map(scorer.predict, ahead(views))):
        keeper.add(found.score, found.image, found.answer, found.target_m)
        inference_s.append(found.answer.inference_s)
        if on_image is not None:
            on_image(found.score)
    shown = [*keeper.chosen(), *(item for item in (keeper.worst, keeper.best) if item is not None)]
    return Run(
        evaluation=scorer.result(),
        scores=scorer.scores,
        panels=keeper.chosen(),
        worst=keeper.worst,
        best=keeper.best,
        panel_scale=panel_scale_of(shown, protocol),
        flip_average=flip_average,
        source=source,
        scale_states=dict(scorer.states),
        backend=found.answer.backend,
        labels_from=None if labels is None else labels.source,
        inference_s=tuple(inference_s),
        elapsed_s=time.perf_counter() - started_s,
    )


def check_whole(run: Run, remedy: str) -> None:
    """Let a command fail where recordings were left out, in part or whole; the report is there.

    Args:
        run: The outcome.
        remedy: What helps.

    Raises:
        DataError: As said.
    """
    partial = [item for item in run.recordings if item.is_partial]
    if partial:
        message = (
            f'{len(partial)} of {len(run.recordings)} recordings were not evaluated whole '
            f'({", ".join(item.path for item in partial)}); the report is marked partial. {remedy}'
        )
        raise DataError(message)


def scored_abs_rel(run: Run) -> tuple[float, ...]:
    """AbsRel of each scored image, in order."""
    if run.frame_abs_rel:
        return run.frame_abs_rel
    return tuple(score.sums.abs_rel / score.sums.count for score in run.scores if score.sums)
