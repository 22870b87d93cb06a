# SPDX-License-Identifier: Apache-2.0
"""The ZoeDepth recipes: which terms there are, on which pixels, and what they move."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.nn import functional as F  # noqa: N812  torch's own name for it

from depth_core import losses
from depth_core.data.sample import Sample
from depth_core.errors import ConfigError
from depth_core.models import create_model
from depth_core.models.base import DepthModel
from depth_core.models.zoedepth.domains import ZoeDepthNK
from depth_core.models.zoedepth.small import ZoeDepthSmall
from depth_core.train.recipes.relative import RelativeRecipe
from depth_core.train.recipes.zoedepth import ZoeDepthRecipe

SMALL: dict[str, Any] = {
    'encoder': 'mobilenetv3_small_050', 'decoder_channels': (16, 8, 8, 8, 8), 'n_bins': 8,
    'bin_embedding_dim': 8, 'min_depth': 1.0, 'max_depth': 50.0,
}  # fmt: skip
NK: dict[str, Any] = {
    'encoder_options': {'img_size': 32, 'embed_dim': 16, 'depth': 4, 'num_heads': 2},
    'hooks': (0, 1, 2, 3), 'neck_channels': (8, 8, 8, 8), 'features': 8, 'n_bins': 8,
    'bin_embedding_dim': 8, 'router_ff': 8,
}  # fmt: skip


@pytest.fixture
def model() -> DepthModel:
    torch.manual_seed(0)
    return create_model('zoedepth_small', **SMALL).eval()


@pytest.fixture
def nk() -> ZoeDepthNK:
    return build_nk()


def build_nk(**options: Any) -> ZoeDepthNK:
    torch.manual_seed(0)
    network = create_model('zoedepth_nk', **NK, **options).eval()
    assert isinstance(network, ZoeDepthNK)
    return network


@pytest.fixture
def sample() -> Sample:
    generator = torch.Generator().manual_seed(0)
    return Sample(
        image=torch.rand(2, 3, 64, 64, generator=generator),
        depth_m=2.0 + 40.0 * torch.rand(2, 64, 64, generator=generator),
        valid=torch.ones(2, 64, 64, dtype=torch.bool),
        intrinsics=torch.eye(3).expand(2, 3, 3),
        key=('a', 'b'),
    )


def of_domain(sample: Sample, domain: int) -> Sample:
    return replace(sample, domain=torch.full((2,), domain))


def moved(terms: dict[str, torch.Tensor], model: DepthModel, name: str) -> set[str]:
    """First names of the weights a term moves."""
    model.zero_grad()
    terms[name].backward(retain_graph=True)
    return {
        key.split('.')[0]
        for key, weight in model.named_parameters()
        if weight.grad is not None and weight.grad.any()
    }


def test_the_default_is_the_authors_loss_and_a_sigma(model: DepthModel, sample: Sample) -> None:
    terms = ZoeDepthRecipe().open(model).eval().losses(sample, 0)
    assert set(terms) == {'silog', 'sigma'}
    metric = model(sample.image).metric_depth[:, 0]
    torch.testing.assert_close(terms['silog'], losses.silog_unbiased(metric, sample.depth_m))
    assert moved(terms, model, 'sigma') == {'calibration'}
    assert moved(terms, model, 'silog') >= {'encoder', 'decoder', 'embedding', 'head'}


def test_terms_are_weighted(model: DepthModel, sample: Sample) -> None:
    weights: dict[str, Any] = {'silog_weight': 0.5, 'gradient_weight': 2.0, 'log_l1_weight': 3.0,
               'sigma_weight': 4.0}  # fmt: skip
    terms = ZoeDepthRecipe(**weights).open(model).eval().losses(sample, 0)
    metric, depth_m = model(sample.image).metric_depth[:, 0], sample.depth_m
    expected = {
        'silog': 0.5 * losses.silog_unbiased(metric, depth_m),
        'gradient': 2.0 * losses.gradient_l1(metric, depth_m),
        'log_l1': 3.0 * losses.log_l1(metric, depth_m),
    }
    for name, value in expected.items():
        torch.testing.assert_close(terms[name], value)


def test_images_may_be_resized_and_the_truth_not(model: DepthModel, sample: Sample) -> None:
    recipe = ZoeDepthRecipe(network_height=32, network_width=96)
    terms = recipe.open(model).eval().losses(sample, 0)
    small = F.interpolate(sample.image, (32, 96), mode='bilinear', align_corners=True)
    metric = model(small).metric_depth
    large = F.interpolate(metric, (64, 64), mode='bilinear', align_corners=True)[:, 0]
    torch.testing.assert_close(terms['silog'], losses.silog_unbiased(large, sample.depth_m))


def test_truth_beyond_the_range_is_dropped_or_clipped(model: DepthModel, sample: Sample) -> None:
    far = sample.depth_m.clone()
    far[:, :8] = 60.0
    sky, invalid = far.clone(), sample.valid.clone()
    sky[:, :8] = torch.inf
    invalid[:, :8] = False
    dropped, clipped = (ZoeDepthRecipe(beyond=how) for how in ('drop', 'clip'))
    at_end = sample.depth_m.clone()
    at_end[:, :8] = 50.0

    def silog(recipe: ZoeDepthRecipe, depth_m: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
        changed = replace(sample, depth_m=depth_m, valid=valid)
        return recipe.open(model).eval().losses(changed, 0)['silog']

    without = silog(dropped, sample.depth_m, invalid)
    torch.testing.assert_close(silog(dropped, far, sample.valid), without)
    torch.testing.assert_close(silog(dropped, sky, invalid), without)
    counted = silog(clipped, at_end, sample.valid)
    torch.testing.assert_close(silog(clipped, far, sample.valid), counted)
    torch.testing.assert_close(silog(clipped, sky, invalid), counted)
    assert counted != without
    # Sigma is measured against what was measured.
    sky_only = replace(sample, depth_m=sky, valid=invalid)
    measured = replace(sample, valid=invalid)
    torch.testing.assert_close(
        clipped.open(model).eval().losses(sky_only, 0)['sigma'],
        clipped.open(model).eval().losses(measured, 0)['sigma'],
    )


def test_no_valid_pixel_is_no_loss_but_a_gradient(model: DepthModel, sample: Sample) -> None:
    nothing = replace(sample, valid=torch.zeros_like(sample.valid))
    terms = ZoeDepthRecipe(log_l1_weight=1.0).open(model).losses(nothing, 0)
    total = torch.stack(tuple(terms.values())).sum()
    assert total == 0.0
    total.backward()
    assert all(weight.grad is not None for weight in model.parameters())


@pytest.mark.parametrize('name', ['zoedepth_small', 'zoedepth_nk'])
def test_sigma_may_be_calibrated_alone(name: str, sample: Sample) -> None:
    network = build_nk() if name == 'zoedepth_nk' else create_model(name, **SMALL)
    recipe = ZoeDepthRecipe(trains='sigma')
    assert recipe.problems(network) == []
    step = recipe.open(network)
    step.train()
    assert not network.training, 'norms keep their statistics'
    depth = network(sample.image).depth
    optimizer = torch.optim.Adam(
        [weight for weight in network.parameters() if weight.requires_grad], lr=0.1
    )
    history = []
    for _ in range(25):
        optimizer.zero_grad()
        terms = step.losses(sample, 0)
        assert set(terms) == {'sigma'}
        terms['sigma'].backward()
        optimizer.step()
        history.append(terms['sigma'].item())
    assert history[-1] < history[0] - 0.5
    assert torch.equal(network(sample.image).depth, depth)


# The three routers


def test_a_trained_router_learns_the_data_set_and_the_vote_answers(
    nk: ZoeDepthNK, sample: Sample
) -> None:
    step = ZoeDepthRecipe().open(nk).eval()
    terms = step.losses(of_domain(sample, 1), 0)
    logits = nk(sample.image).domain_logits
    assert logits is not None
    entropy = -100.0 * logits.log_softmax(dim=1)[:, 1].mean()
    torch.testing.assert_close(terms['domain'], entropy)
    assert 'router' in moved(terms, nk, 'domain')
    voted = nk.domains[int(logits.sum(dim=0).argmax())]
    terms['silog'].backward()
    touched = {key.split('.')[1] for key, weight in nk.named_parameters()
               if key.startswith('heads.') and weight.grad is not None}  # fmt: skip
    assert touched == {voted}, 'the other head is left alone, its momentum too'


@pytest.mark.parametrize('domain', [0, 1])
def test_a_labeled_batch_takes_the_head_of_its_data_set(sample: Sample, domain: int) -> None:
    nk = build_nk(routing='kitti')
    terms = ZoeDepthRecipe(router='labeled').open(nk).eval().losses(of_domain(sample, domain), 0)
    assert set(terms) == {'silog', 'sigma'}
    metric = nk(sample.image, head=nk.domains[domain]).metric_depth[:, 0]
    near = sample.depth_m < (10.0, 80.0)[domain]
    torch.testing.assert_close(terms['silog'], losses.silog_unbiased(metric, sample.depth_m, near))
    assert 'router' not in moved(terms, nk, 'silog')


def test_an_auto_router_is_trained_by_the_depth_alone(nk: ZoeDepthNK, sample: Sample) -> None:
    terms = ZoeDepthRecipe(router='auto').open(nk).eval().losses(sample, 0)
    assert set(terms) == {'silog', 'sigma'}
    assert {'router', 'heads'} <= moved(terms, nk, 'silog')
    torch.testing.assert_close(
        terms['silog'],
        losses.silog_unbiased(nk(sample.image, head='blend').metric_depth[:, 0], sample.depth_m),
    )


@pytest.mark.parametrize('domain', [None, torch.tensor([2, 2])])
def test_a_router_that_needs_the_domain_says_so(
    nk: ZoeDepthNK, sample: Sample, domain: torch.Tensor | None
) -> None:
    step = ZoeDepthRecipe().open(nk)
    with pytest.raises(ConfigError, match='mix with 2 datasets'):
        step.losses(replace(sample, domain=domain), 0)


@pytest.mark.parametrize(
    ('routing', 'recipe', 'text'),
    [
        ('image', {'router': 'labeled'}, 'name of a domain there (nyu, kitti)'),
        ('nyu', {'router': 'trained'}, 'the others need image or batch'),
        ('image', {'domain_weight': 0.0}, 'nothing trains the router'),
        ('image', {'silog_weight': 0.0}, 'nothing trains depth'),
        ('image', {'sigma_weight': 0.0}, 'recipe.sigma_weight is 0.0'),
        ('image', {'silog_beta': -1.0}, 'recipe.silog_beta is -1.0'),
        ('image', {'network_height': 384}, '384 and None'),
        ('image', {'network_height': 384, 'network_width': 500}, 'multiples of 32'),
    ],
)
def test_contradictions_are_named(routing: str, recipe: dict[str, Any], text: str) -> None:
    problems = ZoeDepthRecipe(**recipe).problems(build_nk(routing=routing))
    assert len(problems) == 1
    assert text in problems[0]


def test_settings_that_agree_have_no_problem(model: DepthModel, nk: ZoeDepthNK) -> None:
    assert ZoeDepthRecipe().problems(model) == []
    assert ZoeDepthRecipe(router='auto', domain_weight=0.0).problems(nk) == []
    assert ZoeDepthRecipe(router='labeled').problems(build_nk(routing='nyu')) == []
    other = create_model('densedepth_small', encoder='mobilenetv3_small_050')
    for recipe in (ZoeDepthRecipe(), RelativeRecipe()):
        assert 'densedepth' in recipe.problems(other)[0]


# Relative pre-training


def test_relative_training_moves_the_core_alone(model: DepthModel, sample: Sample) -> None:
    assert isinstance(model, ZoeDepthSmall)
    step = RelativeRecipe().open(model).eval()
    terms = step.losses(sample, 0)
    assert set(terms) == {'relative', 'gradient'}
    relative = F.interpolate(
        model.relative_depth(sample.image).unsqueeze(1), (64, 64), mode='bilinear'
    )[:, 0]
    inverse = 1.0 / sample.depth_m
    torch.testing.assert_close(
        terms['relative'], losses.trimmed_scale_shift_invariant(relative, inverse)
    )
    torch.testing.assert_close(
        terms['gradient'], 0.5 * losses.gradient_matching(relative, inverse)
    )
    assert moved(terms, model, 'relative') == {'encoder', 'decoder'}
    trained = {key.split('.')[0] for key, weight in model.named_parameters()
               if weight.requires_grad}  # fmt: skip
    assert trained == {'encoder', 'decoder'}


def test_relative_training_of_the_published_core(nk: ZoeDepthNK, sample: Sample) -> None:
    terms = RelativeRecipe(alignment='least_squares').open(nk).losses(sample, 0)
    assert moved(terms, nk, 'relative') == {'core'}


def test_sky_is_infinitely_far_or_left_out(model: DepthModel, sample: Sample) -> None:
    valid = sample.valid.clone()
    valid[:, :16] = False
    sky = replace(sample, valid=valid, depth_m=torch.where(valid, sample.depth_m, torch.inf))
    very_far = replace(sample, depth_m=torch.where(valid, sample.depth_m, 1e9))
    counted = RelativeRecipe().open(model).eval().losses(sky, 0)
    for name, value in RelativeRecipe().open(model).eval().losses(very_far, 0).items():
        torch.testing.assert_close(counted[name], value)
    without = RelativeRecipe(sky_is_far=False).open(model).eval().losses(sky, 0)
    assert without['relative'] != counted['relative']


def test_relative_contradictions_are_named(model: DepthModel) -> None:
    assert RelativeRecipe().problems(model) == []
    problems = RelativeRecipe(trim=1.0, gradient_weight=-1.0, gradient_scales=0).problems(model)
    assert [problem.split(' is ')[0] for problem in problems] == [
        'recipe.trim', 'recipe.gradient_weight', 'recipe.gradient_scales'
    ]  # fmt: skip


def test_two_small_heads_and_their_router_are_trained(sample: Sample) -> None:
    options = {**SMALL, 'domains': ['rooms', 'streets'], 'domain_max_depths': [10.0, 50.0]}
    torch.manual_seed(0)
    model = create_model('zoedepth_small', **options).eval()
    assert isinstance(model, ZoeDepthNK)
    recipe = ZoeDepthRecipe(domain_weight=0.2)
    assert recipe.problems(model) == []
    domain = torch.ones(len(sample.key), dtype=torch.long)
    streets = replace(sample, domain=domain)
    terms = recipe.open(model).losses(streets, 0)
    assert set(terms) == {'sigma', 'silog', 'domain'}
    prediction = model(sample.image)
    assert prediction.depth.shape == sample.depth_m.shape
    assert prediction.domain_logits is not None
    entropy = torch.nn.functional.cross_entropy(prediction.domain_logits, domain)
    torch.testing.assert_close(terms['domain'], 0.2 * entropy)


def test_small_heads_answer_alone_as_the_router_says() -> None:
    options = {**SMALL, 'domains': ['rooms', 'streets'], 'domain_max_depths': [10.0, 50.0]}
    model = create_model('zoedepth_small', **options).eval()
    assert isinstance(model, ZoeDepthNK)
    images = torch.rand(3, 3, 64, 64)
    with torch.no_grad():
        routed = model(images)
        assert routed.domain_logits is not None
        heads = [model(images, head=name).depth for name in model.domains]
        for index, domain in enumerate(routed.domain_logits.argmax(dim=1).tolist()):
            torch.testing.assert_close(routed.depth[index], heads[domain][index])


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'domains': ['rooms'], 'domain_max_depths': [10.0]}, 'give two or more'),
        ({'domain_max_depths': [10.0]}, 'give two or more'),
        ({'domains': ['a', 'b'], 'domain_max_depths': [10.0, 80.0]}, 'do not lie between'),
        (
            {'domains': ['a', 'b'], 'domain_max_depths': [9.0, 50.0], 'bin_embedding_dim': 12},
            'multiple of 8',
        ),
    ],
)
def test_small_domains_that_cannot_be_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        create_model('zoedepth_small', **{**SMALL, **options})
