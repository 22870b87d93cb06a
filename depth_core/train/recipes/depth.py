# SPDX-License-Identifier: Apache-2.0
"""What all recipes of depth networks share: registry, metrics, pictures, checkpoints."""

from __future__ import annotations

from abc import ABC
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Final

import torch
from torch import Tensor
from typing_extensions import Self

from depth_core.contracts import DepthKind
from depth_core.data.sample import Sample
from depth_core.data.transforms import metres_per_canonical
from depth_core.errors import DataError
from depth_core.metrics import Align, Evaluation, MetricAccumulator, find_protocol
from depth_core.metrics.alignment import depth_of_inverse, fit_inverse
from depth_core.models import create_model
from depth_core.models.base import DepthModel, ModelSpec, Prediction, make_canonical
from depth_core.preview import ColourScale, scale_of_range
from depth_core.train.drawing import Tile, depth_tile
from depth_core.train.recipes.base import Recipe, Score, Scorer
from depth_core.train.recipes.rule import USUAL_RULE, Rule
from depth_core.weights.checkpoint import Checkpoint, load_weights, read_checkpoint, save_model

_ALIGNMENTS: Final[Mapping[DepthKind, Align]] = {
    DepthKind.METRIC: 'none',
    DepthKind.CANONICAL: 'none',
    DepthKind.UP_TO_SCALE: 'median',
    DepthKind.INVERSE: 'affine_inverse',
}

_RANGES: Final[Mapping[DepthKind, tuple[float | None, float | None]]] = {
    DepthKind.UP_TO_SCALE: (None, None),
    DepthKind.CANONICAL: (1e-3, 1e4),
}
"""Depths that are scored where the range of a network is not in metres; None = the protocol's."""

UNTRAINED: Final = ', for the sigma head would keep its random weights'
"""Why the weight of sigma must not be 0."""

_CERTAINTY: Final = ColourScale(near=2.0, far=200.0)
"""Colours of depth / sigma."""


@dataclass(frozen=True, kw_only=True)
class DepthRecipe(Recipe[DepthModel], ABC):
    """A scheme for a network of the registry, scored by the metrics of depth."""

    best_metrics: ClassVar[tuple[str, ...]] = ('abs_rel', 'a1', 'rmse')

    def create(
        self, name: str, options: Mapping[str, Any], *, size: tuple[int, int]
    ) -> DepthModel:
        """Build a network of the registry."""
        model = create_model(name, **options)
        model.check_input(torch.empty(0, 3, *size))
        return model

    def make_canonical(self, model: DepthModel, focal_px: float) -> None:
        """Declare that `model` learns depth as a camera of `focal_px` would see it."""
        make_canonical(model, focal_px)

    def scorer(self, network: DepthModel, rule: Rule = USUAL_RULE) -> Scorer[DepthModel]:
        """Begin to score depth by a rule; by default by every pixel the network can state."""
        return DepthScorer(network.spec, scores_for(network.spec, rule), rule)

    def picture(self, network: DepthModel, sample: Sample) -> Sequence[Tile]:
        """Draw image | true depth | predicted depth | depth / sigma, side by side.

        Depth has the colours of every picture of this package, on the range of the network; sigma
        is red from half of the depth and blue up to a 200th of it. Black is unknown.
        """
        depth, sigma, metres = in_metres(network(sample.image), sample, network.spec)
        image = (sample.image[0] * 255.0).round().to(torch.uint8).permute(1, 2, 0).cpu().numpy()
        target_m, valid = sample.depth_m[0].cpu().numpy(), sample.valid[0].cpu().numpy()
        depth_m, sigma_m = depth[0].float().cpu().numpy(), sigma[0].float().cpu().numpy()
        if network.spec.kind is DepthKind.INVERSE:
            try:
                fitted = fit_inverse(depth_m, target_m, valid)
            except DataError:  # no ground truth to fit to: nothing to draw on its scale
                fitted = float('nan'), float('nan')
            depth_m, sigma_m = depth_of_inverse(depth_m, sigma_m, *fitted)
        factor = float(metres)
        scale = scale_of_range((network.spec.min_depth * factor, network.spec.max_depth * factor))
        unit = ' m' if network.spec.kind.is_metric else ''
        return (
            Tile(title='image', pixels=image),
            depth_tile('truth', target_m, scale, unit),
            depth_tile('depth', depth_m, scale, unit),
            depth_tile('depth / sigma', depth_m / sigma_m, _CERTAINTY),
        )

    def save(
        self,
        path: Path,
        network: DepthModel,
        *,
        training: Mapping[str, object] | None = None,
        provenance: Mapping[str, object] | None = None,
    ) -> None:
        """Write a checkpoint of this package."""
        save_model(path, network, training=training, provenance=provenance)

    def read(self, path: Path) -> Checkpoint:
        """Read a checkpoint of this package."""
        return read_checkpoint(path)

    def load(self, network: DepthModel, state: Mapping[str, Tensor], *, source: str) -> None:
        """Put the weights of a checkpoint into `network`."""
        load_weights(network, state, source=source)

    def _below_0(self, *names: str) -> list[str]:
        """The settings among `names`, numbers or tuples of these, that are negative."""
        values = {name: getattr(self, name) for name in names}
        return [
            f'recipe.{name} is {value}; give at least 0.'
            for name, value in values.items()
            if not (min(value) if isinstance(value, tuple) else value) >= 0.0
        ]

    def _not_above_0(self, *names: str, reason: str = '') -> list[str]:
        """The settings among `names` that are 0 or negative."""
        return [
            f'recipe.{name} is {getattr(self, name)}; give more than 0{reason}.'
            for name in names
            if not getattr(self, name) > 0.0
        ]

    def _of_another_family(self, family: str, model: DepthModel) -> list[str]:
        if model.spec.family == family:
            return []
        problem = (
            f'recipe {self.name} trains models of the {family} family, and {model.spec.name} is '
            f'of family {model.spec.family}.'
        )
        return [problem]


@dataclass
class DepthScorer(Scorer[DepthModel]):
    """Depth and sigma against ground truth, image by image."""

    spec: ModelSpec
    scores: MetricAccumulator
    rule: Rule = field(default_factory=Rule)

    def update(self, network: DepthModel, sample: Sample) -> None:
        """Score a batch; each image counts alike in the means."""
        view = self.rule.windowed(sample)
        seen = self.rule.camera_seen(view)
        metres = torch.ones(len(sample.key))

        def predict(images: Tensor) -> tuple[Tensor, Tensor]:
            nonlocal metres
            depth_m, sigma_m, metres = in_metres(network(images), seen, self.spec)
            return depth_m, sigma_m

        depth_m, sigma_m = (x.float().cpu() for x in self.rule.answer(predict, view))
        target_m, valid = view.depth_m.cpu(), view.valid.cpu()
        semantic = None if view.semantic is None else view.semantic.cpu()
        if (
            self.spec.kind is DepthKind.CANONICAL and self.rule.protocol is None
        ):  # each image has a range of its own, then
            metres = metres.cpu()[:, None, None]
            valid = valid & (target_m >= self.spec.min_depth * metres)
            valid &= target_m <= self.spec.max_depth * metres
        for index, key in enumerate(sample.key):
            self.scores.update(
                depth_m[index].numpy(),
                target_m[index].numpy(),
                valid[index].numpy(),
                sigma_m[index].numpy(),
                key=key,
                semantic=None if semantic is None else semantic[index].numpy(),
            )

    def merge(self, other: Self) -> None:
        """Add the images of another process."""
        self.scores.extend(other.scores.scores)

    def result(self) -> Score:
        """The means over images; delta1 is a share that is right, so that its cost is negative."""
        evaluation = self.scores.result()
        mean, constant = evaluation.headline, evaluation.constant_mean
        numbers = {'protocol': self.rule.name, 'flip_average': self.rule.flip_average}
        numbers |= _numbers(evaluation)
        if mean is None or constant is None:
            return Score(
                numbers=numbers,
                costs={},
                summary='no held-out image has usable ground truth',
            )
        under = '' if self.rule.protocol is None else f' ({self.rule.name})'
        return Score(
            numbers=numbers,
            costs={'abs_rel': mean.abs_rel, 'a1': -mean.a1, 'rmse': mean.rmse},
            summary=f'AbsRel {mean.abs_rel:.4f} (best constant depth {constant.abs_rel:.4f}), '
            f'RMSE {mean.rmse:.3f} m, delta1 {mean.a1:.4f}{under}',
        )


def in_metres(
    prediction: Prediction, sample: Sample, spec: ModelSpec
) -> tuple[Tensor, Tensor, Tensor]:
    """Depth and sigma of a batch, canonical ones turned to metres, and the factor of each image.

    Raises:
        DataError: Depth is canonical and an image has no intrinsics.
    """
    if spec.canonical_focal_px is None:
        return prediction.depth, prediction.sigma, torch.ones(len(sample.key))
    metres = metres_per_canonical(sample, spec.canonical_focal_px)
    planes = metres[:, None, None]
    return prediction.depth * planes, prediction.sigma * planes, metres


def target_of(sample: Sample, spec: ModelSpec, *, sky_as_max_depth: bool) -> tuple[Tensor, Tensor]:
    """True depth of a batch within the range of the network, 1 where not valid; where it is valid.

    Args:
        sample: The batch.
        spec: That of the network.
        sky_as_max_depth: Count sky as valid, at the largest depth.

    Returns:
        [B, H, W] metres and [B, H, W] bool.
    """
    depth_m, valid = sample.depth_m, sample.valid
    if sky_as_max_depth:
        valid = valid | torch.isposinf(depth_m)
    return torch.where(valid, depth_m.clamp(spec.min_depth, spec.max_depth), 1.0), valid


def scores_for(spec: ModelSpec, rule: Rule = USUAL_RULE) -> MetricAccumulator:
    """Begin to score a network by every pixel whose true depth it can state.

    Depth up to scale, or inverse depth up to scale and shift, is aligned image by image. The range
    of depth up to scale is not in metres: truth of 1 mm to 80 m counts. That of canonical depth is
    in metres only with the focal length of an image, so that the scorer leaves out the rest.
    """
    align = rule.align or _ALIGNMENTS[spec.kind]
    if rule.protocol is not None:
        return MetricAccumulator(rule.protocol, align=align)
    low, high = _RANGES.get(spec.kind, (spec.min_depth, spec.max_depth))
    return MetricAccumulator(find_protocol('none', min_depth_m=low, max_depth_m=high), align=align)


def _numbers(evaluation: Evaluation) -> dict[str, Any]:
    numbers: dict[str, Any] = {
        'images': evaluation.images,
        'images_scored': evaluation.images_scored,
        'align': evaluation.align,
    }
    if evaluation.headline is not None:
        numbers |= asdict(evaluation.headline)
    if evaluation.constant_mean is not None:
        numbers['constant_depth_m'] = evaluation.constant_depth_m
        numbers['constant_abs_rel'] = evaluation.constant_mean.abs_rel
    if evaluation.uncertainty is not None:
        numbers['nll'] = evaluation.uncertainty.nll
        numbers['calibration_error'] = evaluation.uncertainty.calibration_error
    for group in evaluation.by_group:
        numbers[f'abs_rel_{group.name}'] = group.metrics.abs_rel
    return numbers
