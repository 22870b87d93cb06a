# SPDX-License-Identifier: Apache-2.0
"""Training without depth: an image is explained by its neighbours, through depth and motion.

The recipe of monodepth2 (Godard et al., ICCV 2019) and of packnet-sfm (Guizilini et al., CVPR and
ICLR 2020), whose codes differ in a dozen choices; each is a setting here, and the files in
config/train put them together. A pose network is trained beside the depth network and kept in the
checkpoint, but serves no purpose afterwards.

What is logged as photometric is the photometric term alone. (packnet-sfm adds the smoothness to
it in place, so that its log shows their sum under that name; its optimised loss is this one.)
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import torch
from torch import Tensor

from depth_core import losses
from depth_core.contracts import DepthKind
from depth_core.data.sample import DepthDataset, Sample, collate
from depth_core.errors import DataError, ModelError
from depth_core.losses import photometric, smoothness, view_synthesis
from depth_core.losses.selfsup_supervised import InverseDepthLoss
from depth_core.models.base import DepthModel
from depth_core.models.selfsup.inverse_depth import InverseDepthPrediction
from depth_core.models.selfsup.pose import Motion, create_pose_network
from depth_core.train.recipes.base import TrainingStep, evaluating
from depth_core.train.recipes.depth import UNTRAINED, DepthRecipe
from depth_core.train.recipes.sequences import distance_m, neighbours_of
from depth_core.weights.pose_file import read_fitting_pose_network

_LOG: Final = logging.getLogger(__name__)
_DEPTHLESS_AT_MOST: Final = 10
"""Batches in a row without depth before that is said."""

_SEARCHED: Final = 200
"""Samples, evenly spaced, that are looked at for one that says what a metre is."""


@dataclass(frozen=True, kw_only=True)
class SelfSupRecipe(DepthRecipe):
    """Photometric error of views from neighbouring frames; the defaults are packnet-sfm's."""

    name: Literal['selfsup'] = 'selfsup'
    """Name of the recipe."""
    pose_network: Literal[
        'posenet',
        'poseresnet18',
        'poseresnet50',
        'monodepth2_resnet18',
        'monodepth2_resnet50',
        'monodepth2_posecnn',
    ] = 'posenet'
    """Network that estimates the motion between frames; posenet, poseresnet as in packnet-sfm."""
    pose_pretrained: bool = False
    """Start a ResNet pose encoder from ImageNet weights, which are downloaded."""
    pose_weights: Path | None = None
    """Pose network to start from: what python -m depth_core.convert --pose_output writes, or the
    checkpoint of another training, from which it takes the pose network alone."""
    neighbours: int = 2
    """Neighbouring frames of a sample, as many as data.train.options.neighbours names."""
    scales: int = 4
    """How many of the network's inverse depths are compared, finest first."""
    upsampling: photometric.Upsampling = 'nearest'
    """How coarse inverse depths come to full size before comparing: nearest (packnet-sfm),
    bilinear (monodepth2), or none: each scale is compared at its own size."""
    padding: view_synthesis.Padding = 'zeros'
    """What a view shows beyond its image: zeros (packnet-sfm) or border (monodepth2)."""
    align_corners: bool = True
    """Sample views exactly; false is half a pixel off, as monodepth2 under torch 1.3 and later."""
    mask_out_of_view: bool = False
    """Leave out pixels whose view lies beyond its image; both codes let them take part."""
    ssim_weight: float = 0.85
    """Share of SSIM in the photometric error, the rest is L1."""
    clip: float = 0.0
    """Errors above mean + clip * deviation are cut there; 0 = off, as configured there."""
    reduction: photometric.Reduction = 'min'
    """min = the neighbour that explains a pixel best counts; mean = all alike."""
    automask: bool = True
    """Let the neighbours as they are compete, so that what moves along does not count."""
    tie_break: float = 0.0
    """Deviation of the noise on these: 1e-5 in monodepth2, none in packnet-sfm."""
    smoothness_weight: float = 1e-3
    """Weight of the edge-aware smoothness, halved at each coarser scale."""
    smoothness_guard: smoothness.MeanGuard = 'floor'
    """What keeps its mean from zero: floor (packnet-sfm) or added (monodepth2)."""
    smoothness_native: bool = False
    """Smooth each scale at its own size, as monodepth2 does although it compares at full size."""
    flip_probability: float = 0.0
    """Of giving the depth network the mirrored batch and mirroring its output back; the rest of
    the step does not notice. 0.5 in packnet-sfm."""
    velocity_weight: float = 0.0
    """Weight of the speed of the camera, which makes depth metric: 0.1 in packnet-sfm's code,
    0.05 in its paper."""
    supervised_weight: float = 0.0
    """Share w of depth from the data, as (1 - w) photometric and smoothness + w supervised: 0.9
    in packnet-sfm's semi-supervised networks."""
    supervised_loss: InverseDepthLoss = 'l1'
    """How it is compared, on inverse depth: l1, mse, berhu, silog, abs_rel."""
    sigma: Literal['photometric', 'flip'] = 'photometric'
    """What sigma is trained on, without moving the depth: photometric = the error of the best
    view, as a likelihood; flip = how much depth differs from that of the mirrored image, which
    takes two more passes. The recipe self_teaching has a third. docs/self_supervised.md compares
    them: photometric sorts relative errors best, flip errors in metres."""
    sigma_weight: float = 0.01
    """Weight of the likelihood that trains sigma."""

    @property
    def needs_depth(self) -> bool:
        """Whether depth of the data is trained on beside the views."""
        return bool(self.supervised_weight)

    def problems(self, model: DepthModel) -> list[str]:
        """Say what contradicts itself or does not go with `model`."""
        problems = [
            f'recipe.{key} is {value}; give a share in [0, 1].'
            for key, value in (
                ('ssim_weight', self.ssim_weight),
                ('flip_probability', self.flip_probability),
                ('supervised_weight', self.supervised_weight),
            )
            if not 0.0 <= value <= 1.0
        ]
        problems += self._below_0('smoothness_weight', 'velocity_weight', 'clip', 'tie_break')
        if not 1 <= self.scales <= 4:  # noqa: PLR2004  inverse depths of the family's networks
            problems.append(f'recipe.scales is {self.scales}; the networks give 1 to 4.')
        if self.neighbours < 1:
            problems.append(f'recipe.neighbours is {self.neighbours}; give at least 1.')
        if self.pose_pretrained and self.pose_weights is not None:
            problems.append(
                'recipe.pose_weights brings the weights of the pose network along, and '
                'recipe.pose_pretrained loads others; give one of them.'
            )
        problems += self._not_above_0('sigma_weight', reason=UNTRAINED)
        if self.automask and self.reduction == 'mean':
            problems.append(
                'recipe.automask needs the minimum over views and recipe.reduction is mean; give '
                'reduction min or automask false.'
            )
        if other := self._of_another_family('selfsup', model):
            return problems + other
        return problems + self._scale_problems(metric=model.spec.kind is not DepthKind.UP_TO_SCALE)

    def check_data(self, dataset: DepthDataset) -> None:
        """Refuse data of which no sample can make depth metric, which the model says it is.

        Which of its samples can, and in which batch they come, does not matter.

        Raises:
            DataError: None of up to 200 samples, evenly spaced, has a known speed or depth.
        """
        if not (self.velocity_weight or self.supervised_weight):
            return
        every = -(-len(dataset) // _SEARCHED)
        looked_at = range(0, len(dataset), every)
        if any(self._says_a_metre(collate([dataset[index]])) for index in looked_at):
            return
        message = (
            f'none of {len(looked_at)} samples that were looked at, of {len(dataset)} '
            f'({dataset[0].key} ...), says what a metre is: there is no known speed or time for '
            'recipe.velocity_weight, and no depth for recipe.supervised_weight. Give data with '
            'OXTS, odometry_topic, velocity_topic or depth; or both weights 0 and '
            'model.options.metric false. Of a bag the log says, when it is opened, which speeds '
            'are unknown and why.'
        )
        raise DataError(message)

    def _says_a_metre(self, sample: Sample) -> bool:
        if self.supervised_weight and bool(sample.valid.any()):
            return True
        if not self.velocity_weight:
            return False
        _, dt_s, _ = neighbours_of(sample, self.pose_network, expected=self.neighbours)
        return bool(torch.isfinite(distance_m(sample, dt_s)).any())

    def open(self, model: DepthModel) -> SelfSupStep:
        """Put `model` together with its pose network.

        Raises:
            CheckpointError: The pose weights cannot be read.
            ConfigError: They are of another pose network, or for other neighbours.
        """
        return SelfSupStep(model, self)

    def _scale_problems(self, *, metric: bool) -> list[str]:
        scaled = self.velocity_weight > 0.0 or self.supervised_weight > 0.0
        if scaled == metric:
            return []
        problem = (
            'recipe.velocity_weight or recipe.supervised_weight makes depth metric, and the model '
            'says it is up to scale; give model.options.metric true.'
            if scaled
            else 'model.options.metric is true, but no term of the recipe defines what '
            'a metre is; give a velocity_weight or a supervised_weight, or metric false.'
        )
        return [problem]


class SelfSupStep(TrainingStep[DepthModel]):
    """A depth network, a pose network, and their losses."""

    def __init__(self, model: DepthModel, recipe: SelfSupRecipe) -> None:
        super().__init__(model)
        self.pose = (
            create_pose_network(
                recipe.pose_network,
                neighbours=recipe.neighbours,
                pretrained=recipe.pose_pretrained,
            )
            if recipe.pose_weights is None
            else read_fitting_pose_network(
                recipe.pose_weights, recipe.pose_network, neighbours=recipe.neighbours
            )
        )
        self.recipe = recipe
        self._depthless_in_a_row = 0
        self._warned_depthless = False

    def losses(self, sample: Sample, step: int) -> dict[str, Tensor]:
        """Predict depth and motion, synthesise the views of the neighbours, and compare."""
        del step
        recipe = self.recipe
        neighbours, dt_s, earlier = neighbours_of(
            sample, recipe.pose_network, expected=recipe.neighbours
        )
        prediction = self._predict(sample.image)
        inverse_depths = prediction.inv_depths[: recipe.scales]
        motion = self.pose(sample.image, neighbours, earlier)
        image = sample.image if sample.clean_image is None else sample.clean_image
        if sample.clean_neighbour_images is not None:
            neighbours = sample.clean_neighbour_images
        with torch.autocast(image.device.type, enabled=False):
            own = 1.0 - recipe.supervised_weight
            terms = {'smoothness': own * self._smoothness(inverse_depths, image)}
            error, view_error = self._photometric(
                inverse_depths, image, neighbours, sample.intrinsics, poses_of(motion)
            )
            terms['photometric'] = own * error
            if recipe.velocity_weight:
                way_m = distance_m(sample, dt_s)
                terms['velocity'] = recipe.velocity_weight * losses.velocity_loss(
                    motion.translation, way_m, torch.isfinite(way_m)
                )
            if recipe.supervised_weight:
                self._warn_of_missing_depth(sample)
                terms['supervised'] = recipe.supervised_weight * losses.inverse_depth_loss(
                    inverse_depths,
                    sample.depth_m.unsqueeze(1),
                    sample.valid.unsqueeze(1),
                    method=recipe.supervised_loss,
                )
            sigma = self._sigma(sample, prediction, view_error)
            terms['sigma'] = recipe.sigma_weight * sigma
        return terms

    def _warn_of_missing_depth(self, sample: Sample) -> None:
        """Warn once where supervised_weight is set and batches have no depth."""
        self._depthless_in_a_row = 0 if sample.valid.any() else self._depthless_in_a_row + 1
        if self._depthless_in_a_row == _DEPTHLESS_AT_MOST and not self._warned_depthless:
            self._warned_depthless = True
            _LOG.warning(
                'no depth in %d batches in a row, the last with sample %s: '
                'recipe.supervised_weight %g takes its share from the photometric loss for '
                'nothing; give data with depth, or recipe.supervised_weight 0',
                _DEPTHLESS_AT_MOST,
                sample.key[0],
                self.recipe.supervised_weight,
            )

    def _predict(self, images: Tensor) -> InverseDepthPrediction:
        """Run the depth network, on the mirrored batch with flip_probability."""
        chance = self.recipe.flip_probability
        mirror = chance > 0.0 and torch.rand(()).item() < chance
        prediction = self.model(images.flip(-1) if mirror else images)
        if not isinstance(prediction, InverseDepthPrediction):
            message = f'{self.model.spec.name} gives no inverse depths; use another recipe.'
            raise ModelError(message)
        if not mirror:
            return prediction
        return InverseDepthPrediction(
            depth=prediction.depth.flip(-1),
            sigma=prediction.sigma.flip(-1),
            inv_depths=tuple(item.flip(-1) for item in prediction.inv_depths),
            features=prediction.features.flip(-1),
        )

    def _smoothness(self, inverse_depths: Sequence[Tensor], image: Tensor) -> Tensor:
        recipe = self.recipe
        maps = list(inverse_depths)
        if not recipe.smoothness_native:
            maps = [photometric.at_size(item, _size(image), recipe.upsampling) for item in maps]
        images = [photometric.shrunk(image, _size(item)) for item in maps]
        return recipe.smoothness_weight * losses.multi_scale_smoothness(
            maps, images, guard=recipe.smoothness_guard
        )

    def _photometric(
        self,
        inverse_depths: Sequence[Tensor],
        image: Tensor,
        neighbours: Tensor,
        camera: Tensor,
        poses: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """The mean over scales, and at the finest the error of the best view; inf without one."""
        recipe = self.recipe
        terms = []
        finest = None
        for inverse_depth in inverse_depths:
            compared = photometric.at_size(inverse_depth, _size(image), recipe.upsampling)
            maps, seen = photometric.view_errors(
                image,
                neighbours,
                compared,
                camera,
                poses,
                padding=recipe.padding,
                align_corners=recipe.align_corners,
                ssim_weight=recipe.ssim_weight,
                clip=recipe.clip,
            )
            still = []
            if recipe.automask:
                still = photometric.still_errors(
                    image,
                    neighbours,
                    _size(compared),
                    ssim_weight=recipe.ssim_weight,
                    clip=recipe.clip,
                    tie_break=recipe.tie_break,
                )
            within = seen if recipe.mask_out_of_view else None
            terms.append(photometric.reduced(maps, recipe.reduction, seen=within, still=still))
            if finest is None:
                error, usable = photometric.least_error(maps, seen=within)
                finest = torch.where(usable, error.detach(), torch.inf).squeeze(1)
        if finest is None:
            message = 'the network gave no inverse depth; use another recipe.'
            raise ModelError(message)
        return torch.stack(terms).mean(), finest

    def _sigma(
        self, sample: Sample, prediction: InverseDepthPrediction, view_error: Tensor
    ) -> Tensor:
        """The likelihood that trains sigma; no gradient reaches the depth."""
        depth = prediction.depth.detach()
        if self.recipe.sigma == 'photometric':
            # The head gives sigma = r depth; r is trained to be the deviation of the error.
            relative = prediction.sigma / depth
            return losses.laplace_nll(
                torch.zeros_like(depth), relative, view_error, torch.isfinite(view_error)
            )
        # Both in eval mode, as the network is used: beside an output in train mode, sigma would
        # learn how batch statistics differ from running ones.
        with torch.no_grad(), evaluating(self.model):
            both = self.model(torch.cat((sample.image, sample.image.flip(-1)))).depth
        own, mirrored = both.chunk(2)
        relative = prediction.sigma / depth
        return losses.laplace_nll(torch.ones_like(own), relative, mirrored.flip(-1) / own)


def poses_of(motion: Motion) -> Tensor:
    """Rigid transforms [B, N, 4, 4] from the image's camera to each neighbour's."""
    matrix = {
        'euler_xyz': view_synthesis.euler_to_matrix,
        'axis_angle': view_synthesis.axis_angle_to_matrix,
    }[motion.form]
    pose = view_synthesis.rigid(matrix(motion.rotation), motion.translation)
    inverse = view_synthesis.inverse_rigid(pose)
    return torch.where(motion.inverted[..., None, None], inverse, pose)


def _size(maps: Tensor) -> tuple[int, int]:
    return maps.shape[-2], maps.shape[-1]
