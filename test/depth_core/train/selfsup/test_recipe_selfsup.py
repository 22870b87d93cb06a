# SPDX-License-Identifier: Apache-2.0
"""Training without depth: the terms, what they move, and what each setting does."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from depth_core.data.sample import Sample
from depth_core.errors import CheckpointError, ConfigError
from depth_core.models import create_model
from depth_core.models.base import DepthModel
from depth_core.models.selfsup.inverse_depth import InverseDepthPrediction
from depth_core.models.selfsup.pose import Motion, create_pose_network
from depth_core.train.command_line import plain
from depth_core.train.recipes.base import evaluating
from depth_core.train.recipes.selfsup import SelfSupRecipe, SelfSupStep, poses_of
from depth_core.weights.pose_file import save_pose_network
from test.depth_core.train.selfsup.sequence_batch import HEIGHT, WIDTH


def moved(step: SelfSupStep, terms: dict[str, Tensor], name: str) -> tuple[bool, bool, bool]:
    """Whether a term moves the depth, the pose and the sigma weights."""
    step.zero_grad()
    terms[name].backward(retain_graph=True)

    def any_gradient(prefix: str, *, without: str = 'none') -> bool:
        return any(
            weight.grad is not None and bool(weight.grad.any())
            for key, weight in step.named_parameters()
            if key.startswith(prefix) and without not in key
        )

    depth = any_gradient('model.', without='sigma_head')
    return depth, any_gradient('pose.'), any_gradient('model.sigma_head')


def test_each_term_moves_what_it_should(metric_model: DepthModel, sample: Sample) -> None:
    recipe = SelfSupRecipe(velocity_weight=0.1, supervised_weight=0.5)
    step = recipe.open(metric_model).train()
    terms = step.losses(sample, 0)
    assert {name: moved(step, terms, name) for name in terms} == {
        'photometric': (True, True, False),
        'smoothness': (True, False, False),
        'velocity': (False, True, False),
        'supervised': (True, False, False),
        'sigma': (False, False, True),
    }


@pytest.mark.parametrize('sigma', ['flip', 'photometric'])
def test_without_extras_there_are_three_terms(
    model: DepthModel, sample: Sample, sigma: str
) -> None:
    step = SelfSupRecipe(sigma=sigma).open(model).train()  # type: ignore[arg-type]
    terms = step.losses(sample, 0)
    assert set(terms) == {'photometric', 'smoothness', 'sigma'}
    assert moved(step, terms, 'sigma') == (False, False, True)
    for value in terms.values():
        assert (value.shape, value.dtype) == (torch.Size(()), torch.float32)


def test_shares_and_weights(metric_model: DepthModel, sample: Sample) -> None:
    def losses(recipe: SelfSupRecipe) -> dict[str, float]:
        torch.manual_seed(1)  # of the pose network
        step = recipe.open(metric_model).eval()
        return {name: term.item() for name, term in step.losses(sample, 0).items()}

    plain = losses(SelfSupRecipe(supervised_weight=0.5, velocity_weight=0.1))
    other = losses(
        SelfSupRecipe(
            supervised_weight=0.9, velocity_weight=0.3, smoothness_weight=2e-3, sigma_weight=0.02
        )
    )
    assert other['photometric'] == pytest.approx(plain['photometric'] * 0.1 / 0.5, rel=1e-5)
    assert other['smoothness'] == pytest.approx(plain['smoothness'] * 2 * 0.1 / 0.5, rel=1e-5)
    assert other['supervised'] == pytest.approx(plain['supervised'] * 0.9 / 0.5, rel=1e-5)
    assert other['velocity'] == pytest.approx(plain['velocity'] * 3, rel=1e-5)
    assert other['sigma'] == pytest.approx(plain['sigma'] * 2, rel=1e-5)
    # The pose network starts near no motion: 1 m in 0.1 s at 10 m/s is what is missing.
    assert plain['velocity'] == pytest.approx(0.1 * 1.0, rel=0.05)


def test_losses_look_at_the_clean_images(model: DepthModel, sample: Sample) -> None:
    torch.manual_seed(1)
    step = SelfSupRecipe(automask=False).open(model).eval()
    jittered = replace(
        sample,
        clean_image=torch.zeros_like(sample.image),
        clean_neighbour_images=torch.zeros(2, 2, 3, HEIGHT, WIDTH),
    )
    assert step.losses(jittered, 0)['photometric'].item() == pytest.approx(0.0, abs=1e-6)
    assert step.losses(sample, 0)['photometric'].item() > 0.1


def test_mirroring_around_the_network_is_undone(model: DepthModel, sample: Sample) -> None:
    torch.manual_seed(1)
    always = SelfSupRecipe(flip_probability=1.0).open(model).eval()
    plain = always._predict(sample.image)
    with torch.no_grad():
        expected = model.eval()(sample.image.flip(-1))
    assert isinstance(expected, InverseDepthPrediction)
    for found, mirrored in zip(plain.inv_depths, expected.inv_depths, strict=True):
        torch.testing.assert_close(found, mirrored.flip(-1))
    torch.testing.assert_close(plain.depth, expected.depth.flip(-1))
    torch.testing.assert_close(plain.sigma, expected.sigma.flip(-1))
    drawn = SelfSupRecipe(flip_probability=0.5).open(model).eval()
    torch.manual_seed(0)
    first = [drawn.losses(sample, 0)['photometric'].item() for _ in range(6)]
    assert len(set(first)) == 2


@pytest.mark.parametrize(
    'options',
    [
        {'upsampling': 'none'},
        {'upsampling': 'bilinear', 'smoothness_native': True, 'smoothness_guard': 'added'},
        {'padding': 'border', 'align_corners': False, 'tie_break': 1e-5},
        {'automask': False, 'reduction': 'mean'},
        {'clip': 0.5},
        {'mask_out_of_view': True},
        {'ssim_weight': 0.0},
        {'scales': 1},
        {'supervised_weight': 0.5, 'supervised_loss': 'berhu'},
    ],
)
def test_every_setting_changes_the_loss_and_stays_finite(
    metric_model: DepthModel, sample: Sample, options: dict[str, object]
) -> None:
    def total(recipe: SelfSupRecipe) -> float:
        torch.manual_seed(1)
        step = recipe.open(metric_model).eval()
        with torch.no_grad():
            motion = torch.tensor([0.5, 0, 3, 0, 0.5, 0, -0.5, 0, -3, 0, 0.5, 0])
            step.pose.get_parameter('out.bias').copy_(motion)
        return float(sum(term.item() for term in step.losses(sample, 0).values()))

    base = SelfSupRecipe()
    if 'supervised_weight' in options:
        base = SelfSupRecipe(supervised_weight=0.5)
    changed = total(replace(base, **options))  # type: ignore[arg-type]
    assert math.isfinite(changed)
    assert changed != pytest.approx(total(base), rel=1e-6)


@pytest.mark.parametrize('name', ['posenet', 'poseresnet18', 'monodepth2_resnet18',
                                  'monodepth2_posecnn'])  # fmt: skip
def test_every_pose_network_trains(model: DepthModel, sample: Sample, name: str) -> None:
    step = SelfSupRecipe(pose_network=name).open(model).train()  # type: ignore[arg-type]
    terms = step.losses(sample, 0)
    assert moved(step, terms, 'photometric')[:2] == (True, True)


def test_an_inverted_motion_is_turned_back() -> None:
    vector = torch.tensor([[[0.0, 0.0, 1.0], [0.0, 0.0, 1.0]]])
    turn = torch.tensor([[[0.0, math.pi / 2, 0.0], [0.0, math.pi / 2, 0.0]]])
    motion = Motion(
        translation=vector, rotation=turn, form='axis_angle',
        inverted=torch.tensor([[False, True]]),
    )  # fmt: skip
    plain, turned = poses_of(motion)[0]
    point = torch.tensor([0.0, 0.0, 2.0, 1.0])
    torch.testing.assert_close(plain @ point, torch.tensor([2.0, 0.0, 1.0, 1.0]))
    torch.testing.assert_close(turned @ (plain @ point), point)


def test_a_perfect_view_costs_nothing_and_a_wrong_depth_does() -> None:
    # A slanted plane with a pattern, seen from 0.5 m further right: the views are computed here
    # from the true depth, and the loss is computed for the true and for a wrong inverse depth.
    rows, columns = torch.meshgrid(torch.arange(HEIGHT), torch.arange(WIDTH), indexing='ij')
    depth = (4.0 + rows / 16.0).float()

    def pattern(u: Tensor) -> Tensor:
        x = (u - 31.5) / 60.0 * depth
        return torch.stack((torch.sin(3 * x), torch.cos(5 * x), torch.sin(2 * x + 1))) / 2 + 0.5

    image = pattern(columns.float())
    right = pattern(columns.float() + 60.0 * 0.5 / depth)  # rows keep their depth
    camera = torch.tensor([[60.0, 0.0, 31.5], [0.0, 60.0, 31.5], [0.0, 0.0, 1.0]])
    pose = torch.eye(4)
    pose[0, 3] = -0.5
    step = SelfSupRecipe(automask=False, mask_out_of_view=True, neighbours=1).open(
        create_model('selfsup_resnet18')
    )

    def error(inverse: Tensor) -> float:
        _, errors = step._photometric(
            [inverse[None, None]], image[None], right[None, None], camera[None], pose[None, None]
        )
        return errors.median().item()  # windows at the edge of what is seen hold black pixels

    true = error(1.0 / depth)
    assert true < 1e-3  # what bilinear sampling of a wave leaves
    assert error(1.0 / (1.2 * depth)) > 50 * true
    assert error(1.0 / (0.8 * depth)) > 50 * true


def test_asking_in_eval_mode_leaves_no_statistics(model: DepthModel, sample: Sample) -> None:
    model.train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with evaluating(model):
        assert not model.training
        model(sample.image)
    assert model.training
    assert all(layer.training for layer in model.modules())
    for key, value in model.state_dict().items():
        assert torch.equal(value, before[key]), key


@pytest.mark.parametrize('flip_probability', [0.0, 1.0])
def test_sigma_learns_the_difference_of_mirrored_answers_and_of_nothing_else(
    sample: Sample, flip_probability: float
) -> None:
    torch.manual_seed(0)
    model = create_model('selfsup_resnet18')
    # Running statistics far from those of the batch, as early in a training.
    with torch.no_grad():
        for layer in model.modules():
            if isinstance(layer, torch.nn.BatchNorm2d):
                layer.get_buffer('running_var').fill_(0.5)
    step = SelfSupRecipe(flip_probability=flip_probability, sigma='flip').open(model).train()
    prediction = step._predict(sample.image)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    found = step._sigma(sample, prediction, torch.zeros(()))
    for key, value in model.state_dict().items():
        assert torch.equal(value, before[key]), key
    assert all(layer.training for layer in model.modules())
    model.eval()
    with torch.no_grad():
        own = model(sample.image).depth
        mirrored = model(sample.image.flip(-1)).depth.flip(-1)
        off = (own - mirrored).abs() / own
        sigma = prediction.sigma / prediction.depth
        b = sigma / math.sqrt(2.0)
        expected = (off / b + (2.0 * b).log()).mean()
        mixed = (prediction.depth - mirrored).abs() / prediction.depth  # of two modes
        assert float(((mixed - off) / b).abs().mean()) > 1e-2
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_a_training_starts_from_a_published_pose_network(
    model: DepthModel, sample: Sample, tmp_path: Path
) -> None:
    path = tmp_path / 'pose.ckpt'
    torch.manual_seed(5)
    source = create_pose_network('posenet', neighbours=2)
    save_pose_network(path, 'posenet', source.state_dict())
    step = SelfSupRecipe(pose_weights=path).open(model).train()
    for key, value in source.state_dict().items():
        assert torch.equal(step.pose.state_dict()[key], value), key
    assert moved(step, step.losses(sample, 0), 'photometric')[:2] == (True, True)
    with pytest.raises(ConfigError, match='is a posenet, and pose_network is poseresnet18'):
        SelfSupRecipe(pose_weights=path, pose_network='poseresnet18').open(model)
    with pytest.raises(ConfigError, match='takes 2 neighbours, and neighbours is 1'):
        SelfSupRecipe(pose_weights=path, neighbours=1).open(model)
    with pytest.raises(CheckpointError, match='does not exist'):
        SelfSupRecipe(pose_weights=tmp_path / 'none.ckpt').open(model)
    both = SelfSupRecipe(pose_weights=path, pose_pretrained=True)
    assert 'pose_pretrained loads others' in both.problems(model)[0]


def test_a_training_goes_on_with_the_pose_network_of_another(
    model: DepthModel, tmp_path: Path
) -> None:
    recipe, path = SelfSupRecipe(), tmp_path / 'last.ckpt'
    former = recipe.open(model)
    training = {'settings': {'recipe': plain(recipe)}, 'companions': former.companions_state()}
    recipe.save(path, model, training=training, provenance={})
    state = SelfSupRecipe(pose_weights=path).open(model).pose.state_dict()
    for key, value in former.pose.state_dict().items():
        assert torch.equal(state[key], value), key
    with pytest.raises(ConfigError, match='is a posenet, and pose_network is poseresnet18'):
        SelfSupRecipe(pose_weights=path, pose_network='poseresnet18').open(model)
    recipe.save(path, model, training=None, provenance={})
    with pytest.raises(CheckpointError, match='no pose network beside its depth network'):
        SelfSupRecipe(pose_weights=path).open(model)


def test_problems_are_named_all_at_once(model: DepthModel, metric_model: DepthModel) -> None:
    recipe = SelfSupRecipe(
        ssim_weight=1.5, smoothness_weight=-1.0, scales=5, neighbours=0, sigma_weight=0.0,
        reduction='mean',
    )  # fmt: skip
    text = ' '.join(recipe.problems(model))
    for part in (
        'ssim_weight is 1.5; give a share', 'smoothness_weight is -1.0; give at least 0',
        'scales is 5', 'neighbours is 0', 'sigma_weight is 0.0', 'automask needs the minimum',
    ):  # fmt: skip
        assert part in text
    assert (
        'give model.options.metric true' in SelfSupRecipe(velocity_weight=0.1).problems(model)[0]
    )
    assert 'what a metre is' in SelfSupRecipe().problems(metric_model)[0]
    assert SelfSupRecipe(velocity_weight=0.1).problems(metric_model) == []
    assert SelfSupRecipe().problems(model) == []
    other = create_model('densedepth_small', encoder='mobilenetv3_small_050')
    assert 'is of family densedepth' in SelfSupRecipe().problems(other)[0]


@pytest.mark.parametrize('mask_out_of_view', [True, False])
def test_sigma_does_not_learn_from_views_that_lie_outside(
    model: DepthModel, sample: Sample, *, mask_out_of_view: bool
) -> None:
    recipe = SelfSupRecipe(
        automask=False, mask_out_of_view=mask_out_of_view, sigma='photometric', neighbours=1
    )
    step = recipe.open(model).eval()
    inverse = torch.full((2, 1, HEIGHT, WIDTH), 0.1)
    pose = torch.eye(4).repeat(2, 1, 1, 1)
    pose[..., 0, 3] = 5.0  # 60 px * 5 m / 10 m: 30 columns move out of view
    _, errors = step._photometric(
        [inverse], sample.image, sample.image[:, None], sample.intrinsics, pose
    )
    outside = torch.arange(WIDTH) > WIDTH - 30
    assert torch.isinf(errors[..., outside]).all() == mask_out_of_view
    assert torch.isfinite(errors[..., : WIDTH - 32]).all()
    prediction = step._predict(sample.image)
    found = step._sigma(sample, prediction, errors)
    counted = torch.isfinite(errors)
    b = (prediction.sigma / prediction.depth)[counted] / math.sqrt(2.0)
    torch.testing.assert_close(found, (errors[counted] / b + (2.0 * b).log()).mean())
