# SPDX-License-Identifier: Apache-2.0
"""ZoeDepth gives the numbers of the authors' code, and metres where users ask for them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  torch's own name for it

from depth_core.contracts import Float32Array
from depth_core.convert import convert_state_dict
from depth_core.errors import ConfigError, ModelError
from depth_core.export import export_onnx, parity_images
from depth_core.losses import laplace_nll
from depth_core.models import create_model
from depth_core.models.zoedepth.domains import ZoeDepthNK
from depth_core.models.zoedepth.network import ZoeDepthPrediction
from depth_core.runtime import Predictor
from test.depth_core.zoe_official import NAMES, TINY, model_name, official_state
from test.reference.zoedepth_infer import zoedepth_infer
from test.rounding import BothPrecisions, assert_within_rounding, in_both_precisions

pytestmark = pytest.mark.numeric

Reference = Callable[[str], dict[str, Tensor]]

DEPTH_CEILING = {'N': 7e-5, 'K': 2.5e-4, 'NK': 2e-4}
"""Relative to the largest depth (13, 78 and 4 m). Centres are drawn to points with a slope of 300
and more, which amplifies the rounding of float32: the authors' float32 differs from their float64
by up to 0.2 mm (N) and 5.5 mm (K)."""
FEATURE_CEILING = 1e-4
"""Relative to the largest value of a map: float32 sums through 4 blocks and 10 convolutions."""
DOUBLE_TOLERANCE = 1e-9
"""Metres: float64 sums in another order, amplified likewise."""


def tiny(name: str, **options: Any) -> Any:
    options = {**TINY[name], **options}
    model = create_model(model_name(name), **options)
    converted = convert_state_dict(model_name(name), official_state(name), **options)
    model.load_state_dict(converted)
    return model.eval()


def image_of(arrays: dict[str, Tensor]) -> Tensor:
    return arrays['image_u8'].float() / 255.0


@pytest.fixture(scope='module', params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope='module')
def model(name: str) -> Any:
    return tiny(name)


@pytest.fixture(scope='module')
def arrays(name: str, reference: Reference) -> dict[str, Tensor]:
    return reference(f'zoe_tiny_{name}')


def _outputs(model: Any, images: Tensor) -> BothPrecisions:
    return in_both_precisions(model, lambda dtype: model.official_forward(images.to(dtype)))


@pytest.fixture(scope='module')
def outputs(model: Any, arrays: dict[str, Tensor]) -> BothPrecisions:
    return _outputs(model, image_of(arrays))


def test_outputs_of_the_whole_network(
    outputs: BothPrecisions, arrays: dict[str, Tensor], name: str
) -> None:
    depth = {'metric_depth': arrays['metric_depth']}
    assert_within_rounding(outputs, depth, ceiling=DEPTH_CEILING[name])
    others = ('rel_depth', 'domain_logits') if name == 'NK' else ('rel_depth',)
    expected = {key: arrays[key] for key in others}
    assert_within_rounding(outputs, expected, ceiling=FEATURE_CEILING)


def test_features_on_the_way(model: Any, arrays: dict[str, Tensor]) -> None:
    expected = {
        key: value for key, value in arrays.items() if key.startswith(('tap_', 'reassembled_'))
    }

    def run(dtype: torch.dtype) -> dict[str, Tensor]:
        images = image_of(arrays).to(dtype)
        features = model.core(images)
        maps = model.core.pyramid((images - 0.5) / 0.5)
        found = {f'reassembled_{level}': value for level, value in enumerate(maps, start=1)}
        found |= {f'tap_r{4 - place}': value for place, value in enumerate(features.fused)}
        found |= {'tap_l4_rn': features.bottleneck, 'tap_out_conv': features.last}
        # Of the large ones, every eighth channel of an image is stored.
        return {
            key: value if value.shape == expected[key].shape else value[:1, ::8]
            for key, value in found.items()
        }

    found = in_both_precisions(model, run)
    assert found.float64.keys() == expected.keys()
    assert_within_rounding(found, expected, ceiling=FEATURE_CEILING)


@pytest.mark.parametrize('name', ['N', 'K'], indirect=True)
def test_bins_on_the_way(model: Any, arrays: dict[str, Tensor], name: str) -> None:
    def run(dtype: torch.dtype) -> dict[str, Tensor]:
        features = model.core(image_of(arrays).to(dtype))
        x, embeddings = model.embedding(features.bottleneck, features.fused)
        last = torch.cat((features.last, features.relative.unsqueeze(1)), dim=1)
        bins = model.head(x, embeddings, last)
        maps = {'centres': bins.centres, 'probabilities': bins.probabilities}
        return {key: value[0, :, ::8, ::8] for key, value in maps.items()}

    found = in_both_precisions(model, run)
    centres, probabilities = ({key: arrays[key]} for key in ('centres', 'probabilities'))
    assert_within_rounding(found, centres, ceiling=DEPTH_CEILING[name])
    assert_within_rounding(found, probabilities, ceiling=FEATURE_CEILING)


def test_the_port_of_hugging_face_agrees(
    outputs: BothPrecisions, arrays: dict[str, Tensor], name: str
) -> None:
    # Its norms add 1e-12 where ours and the authors' add 1e-6.
    expected = {'metric_depth': arrays['hf_predicted_depth'].unsqueeze(1)}
    assert_within_rounding(outputs, expected, ceiling=DEPTH_CEILING[name])


@torch.no_grad()
@pytest.mark.parametrize('padding', [False, True])
@pytest.mark.parametrize('flip', [False, True])
def test_inference_as_published(reference: Reference, *, padding: bool, flip: bool) -> None:
    arrays = reference('zoe_infer')
    model = tiny('N').double()  # the rest rounds too, and is not amplified

    def predict(pixels: Float32Array) -> Float32Array:
        x = torch.from_numpy(pixels).double().permute(2, 0, 1).unsqueeze(0)
        depth: Float32Array = model.official_forward(x)['metric_depth'][0, 0].float().numpy()
        return depth

    image = arrays['infer/image_u8'][0].permute(1, 2, 0).numpy().astype(np.float32) / 255.0
    found = zoedepth_infer(predict, image, size=(64, 96), padding=padding, flip=flip)
    expected = arrays[f'infer/pad={padding},flip={flip}'][0, 0]
    # As for the network, and bicubic overshoots a little more.
    ceiling = 2.0 * DEPTH_CEILING['N'] * float(expected.max())
    np.testing.assert_allclose(found, expected.numpy(), rtol=0.0, atol=ceiling)


# Routing


@torch.no_grad()
def test_another_head_where_the_router_says_so(reference: Reference) -> None:
    arrays = reference('zoe_tiny_NK')
    model = tiny('NK')
    assert model.domains == ('nyu', 'kitti')
    model.router.out.bias += arrays['forced_bias_delta'].float()
    outputs = _outputs(model, image_of(arrays))
    expected = {key: arrays[f'forced_{key}'] for key in ('metric_depth', 'domain_logits')}
    assert_within_rounding(outputs, expected, ceiling=DEPTH_CEILING['NK'])
    for precision in (outputs.float32, outputs.float64):
        assert torch.equal(precision['metric_depth'], precision['metric_depth_nyu'])


@torch.no_grad()
def test_images_are_routed_alone_unless_the_batch_votes(reference: Reference) -> None:
    images = image_of(reference('zoe_tiny_NK')).double()
    voting, alone = (tiny('NK', routing=routing).double() for routing in ('batch', 'image'))
    logits = alone(images).domain_logits
    # Shift the logits until the images disagree, image 0 being the surer.
    middle = (logits[:, 0] - logits[:, 1]).mean()
    for model in (voting, alone):
        model.router.out.bias[0] -= middle + 0.05
    each = alone.official_forward(images)
    assert each['domain_logits'].argmax(dim=1).tolist() == [1, 0]
    assert torch.equal(each['metric_depth'][0], each['metric_depth_kitti'][0])
    assert torch.equal(each['metric_depth'][1], each['metric_depth_nyu'][1])
    voted = voting.official_forward(images)
    assert torch.equal(voted['metric_depth'], voted['metric_depth_kitti'])
    # So the vote answers image 1 otherwise in company, and routing alone does not.
    assert not torch.allclose(voting(images[1:]).metric_depth, voting(images).metric_depth[1:])
    torch.testing.assert_close(
        alone(images[1:]).metric_depth,
        alone(images).metric_depth[1:],
        rtol=0.0,
        atol=DOUBLE_TOLERANCE,
    )


@torch.no_grad()
def test_a_named_head_answers_always(reference: Reference) -> None:
    images = image_of(reference('zoe_tiny_NK'))
    model = tiny('NK', routing='image')
    both = model.official_forward(images)
    for domain in model.domains:
        fixed = tiny('NK', routing=domain)
        for depth in (fixed(images).metric_depth, fixed.official_forward(images)['metric_depth'],
                      model(images, head=domain).metric_depth):  # fmt: skip
            assert torch.equal(depth, both[f'metric_depth_{domain}'])
    share = both['domain_logits'].softmax(dim=1)[:, :, None, None]
    blend = share[:, :1] * both['metric_depth_nyu'] + share[:, 1:] * both['metric_depth_kitti']
    torch.testing.assert_close(model(images, head='blend').metric_depth, blend)
    voted = model(images, head='vote').metric_depth
    assert torch.equal(voted, both['metric_depth_kitti'])
    with pytest.raises(ModelError, match="did you mean 'kitti'"):
        model(images, head='kiti')


# What is ours


@torch.no_grad()
def test_depth_is_clipped_and_sigma_is_the_spread_of_the_bins(
    arrays: dict[str, Tensor], name: str
) -> None:
    model = tiny(name, min_depth=2.0, max_depth=80.0)
    images = image_of(arrays)
    prediction = model(images)
    assert isinstance(prediction, ZoeDepthPrediction)
    outputs = model.official_forward(images)
    torch.testing.assert_close(prediction.metric_depth, outputs['metric_depth'])
    assert torch.equal(prediction.depth, prediction.metric_depth[:, 0].clamp(2.0, 80.0))
    assert torch.equal(prediction.relative_depth, outputs['rel_depth'])
    before = prediction.sigma
    model.calibration.log_scale.fill_(float(np.log(3.0)))
    torch.testing.assert_close(model(images).sigma, 3.0 * before)


def test_training_sigma_cannot_move_the_depth(model: Any, arrays: dict[str, Tensor]) -> None:
    prediction = model(image_of(arrays))
    target = torch.full_like(prediction.depth, 4.0)
    laplace_nll(prediction.depth, prediction.sigma, target).backward()
    moved = {key for key, weight in model.named_parameters()
             if weight.grad is not None and weight.grad.any()}  # fmt: skip
    model.zero_grad()
    assert moved == {f'calibration.{name}' for name in ('log_scale', 'slope', 'depth_slope')}


def test_centres_of_every_type_stay_finite_and_train() -> None:
    torch.manual_seed(0)
    images = torch.rand(1, 3, 64, 64)
    for centres in ('softplus', 'normed', 'hybrid1', 'hybrid2'):
        for kind, attraction in (('mean', 'exp'), ('sum', 'inv')):
            options = {**TINY['N'], 'bin_centers_type': centres, 'attractor_kind': kind,
                       'attractor_type': attraction, 'bin_embedding_dim': 16}  # fmt: skip
            model: Any = create_model('zoedepth_n', **options)
            depth = model(images).metric_depth
            assert torch.isfinite(depth).all()
            if centres in ('normed', 'hybrid2'):
                assert 1e-3 <= float(depth.detach().min()) <= float(depth.detach().max()) <= 10.0
            depth.mean().backward()
            assert all(torch.isfinite(weight.grad).all() for weight in model.head.parameters())


@torch.no_grad()
@pytest.mark.parametrize(
    ('encoder', 'options'),
    [
        ('vit', {'img_size': 64, 'embed_dim': 32, 'depth': 4, 'num_heads': 2}),
        ('swin2', {'img_size': 64, 'embed_dim': 16, 'depths': (2, 2, 2, 2),
                   'num_heads': (1, 2, 4, 4), 'window_size': 4}),
    ],
)  # fmt: skip
def test_other_cores(encoder: str, options: dict[str, Any]) -> None:
    torch.manual_seed(0)
    model: Any = create_model(
        'zoedepth_n', encoder=encoder, encoder_options=options, features=16, n_bins=8,
        bin_embedding_dim=16, hooks=(0, 1, 2, 3) if encoder == 'vit' else (1, 1, 1, 1),
        neck_channels=(8, 8, 16, 16) if encoder == 'vit' else None,
    ).eval().double()  # fmt: skip
    images = torch.rand(2, 3, 64, 64).double()
    maps = model.core.pyramid(images)
    assert [tuple(tap.shape[-2:]) for tap in maps] == [(16, 16), (8, 8), (4, 4), (2, 2)]
    prediction = model(images)
    assert torch.isfinite(prediction.depth).all()
    torch.testing.assert_close(
        model(images[:1]).metric_depth, prediction.metric_depth[:1],
        rtol=0.0, atol=DOUBLE_TOLERANCE,
    )  # fmt: skip
    if encoder == 'vit':
        assert model(torch.rand(1, 3, 32, 96).double()).depth.shape == (1, 32, 96)
    else:
        assert model.spec.default_size == (64, 64)
        with pytest.raises(ModelError, match=r'64x64 pixels and cannot take 64x96.*64x64'):
            model(torch.rand(1, 3, 64, 96).double())


def test_vit_taps_are_timms_own() -> None:
    # timm's own forward at the size of training: the positions need no resize there.
    import timm  # noqa: PLC0415  only this test needs it

    torch.manual_seed(0)
    sizes: dict[str, Any] = {'img_size': 64, 'embed_dim': 32, 'depth': 4, 'num_heads': 2}
    model: Any = create_model(
        'zoedepth_n', encoder='vit', encoder_options=sizes, hooks=(0, 1, 2, 3),
        neck_channels=(8, 8, 16, 16), features=16, n_bins=8, bin_embedding_dim=16,
    ).eval()  # fmt: skip
    network: Any = timm.create_model('vit_large_patch16_384', num_classes=0, **sizes).eval()
    model.double(), network.double()
    missing = network.load_state_dict(model.core.pyramid.trunk.state_dict(), strict=False)
    assert set(missing.missing_keys) == {'norm.weight', 'norm.bias'}
    images = torch.rand(2, 3, 64, 64).double()
    with torch.no_grad():
        expected = network.forward_intermediates(images, norm=False, output_fmt='NLC',
                                                 return_prefix_tokens=True,
                                                 intermediates_only=True)  # fmt: skip
        for found, (patches, prefix) in zip(
            model.core.pyramid.trunk(images), expected, strict=True
        ):
            torch.testing.assert_close(found, torch.cat((prefix, patches), dim=1))


def test_the_position_of_a_patch_follows_the_shape_of_the_window() -> None:
    table = torch.randn(1, 17, 8)
    spatial = table[:, 1:].reshape(1, 4, 4, 8).permute(0, 3, 1, 2)
    resized = F.interpolate(spatial, size=(2, 6), mode='bilinear', align_corners=False)
    options = {'img_size': 64, 'embed_dim': 8, 'depth': 4, 'num_heads': 2}
    model: Any = create_model(
        'zoedepth_n', encoder='vit', encoder_options=options, hooks=(0, 1, 2, 3),
        neck_channels=(8, 8, 8, 8), features=8, n_bins=8, bin_embedding_dim=8,
    )  # fmt: skip
    with torch.no_grad():
        model.core.pyramid.trunk.pos_embed.copy_(table)
    found = model.core.pyramid.trunk._positions((2, 6))
    torch.testing.assert_close(found[:, 1:], resized.flatten(2).transpose(1, 2))
    torch.testing.assert_close(found[:, 0], table[:, 0])


def test_what_all_levels_of_nk_have() -> None:
    with torch.device('meta'):
        published: Any = create_model('zoedepth_nk', **TINY['NK'])
        meant: Any = create_model('zoedepth_nk', **TINY['NK'], attractors_per_level=True)
    counts = [
        [layer.net.out.out_channels for layer in network.heads['nyu'].attractors]
        for network in (published, meant)
    ]
    assert counts == [[16, 16, 16, 16], [16, 8, 4, 1]]
    assert isinstance(published, ZoeDepthNK)


@pytest.mark.parametrize(
    ('name', 'options', 'text'),
    [
        ('zoedepth_n', {'n_attractors': (16, 8, 4)}, 'n_attractors [16, 8, 4]'),
        ('zoedepth_n', {'n_bins': 1}, 'n_bins 1'),
        ('zoedepth_k', {'bin_centers_type': 'normd'}, "did you mean 'normed'"),
        ('zoedepth_k', {'attractor_kind': 'max'}, 'mean, sum'),
        ('zoedepth_k', {'features': 1}, 'features is 1'),
        ('zoedepth_k', {'max_depth': 1e-4}, '0.0001'),
        ('zoedepth_nk', {'routing': 'kiti'}, "did you mean 'kitti'"),
        ('zoedepth_nk', {'domains': ('nyu',)}, "domains ['nyu']"),
        ('zoedepth_nk', {'domain_max_depths': (10.0, 90.0)}, '90.0'),
        ('zoedepth_nk', {'bin_embedding_dim': 12}, 'bin_embedding_dim is 12'),
        ('zoedepth_n', {'encoder_options': {'img_sise': 64}}, "did you mean 'img_size'"),
        ('zoedepth_n', {'hooks': (5, 11, 17, 24)}, 'hooks [5, 11, 17, 24]'),
        ('zoedepth_n', {'hooks': (5, 5, 17, 23)}, 'must rise'),
        ('zoedepth_n', {'neck_channels': (256, 512)}, 'neck_channels [256, 512]'),
        ('zoedepth_n', {'encoder': 'swin2', 'neck_channels': (1, 1, 1, 1)}, 'neck_channels is'),
    ],
)
def test_an_option_out_of_range_is_refused(name: str, options: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError) as error, torch.device('meta'):
        create_model(name, **options)
    assert text in str(error.value)


def test_an_unknown_encoder_is_answered_with_the_known_ones() -> None:
    with pytest.raises(ModelError, match='swin2_tiny_256'):
        create_model('zoedepth_n', encoder='resnet18')


def test_a_voting_network_is_exported_too(tmp_path: Path) -> None:
    # Through the graph of the package, which compares its answers with those of torch.
    torch.manual_seed(0)
    sizes = {'img_size': 32, 'embed_dim': 16, 'depth': 4, 'num_heads': 2}
    model = create_model(
        'zoedepth_nk', encoder_options=sizes, hooks=(0, 1, 2, 3), neck_channels=(8, 8, 8, 8),
        features=8, n_bins=8, bin_embedding_dim=8, router_ff=8, routing='batch',
    )  # fmt: skip
    path = tmp_path / 'nk.onnx'
    manifest = export_onnx(model, path, height=64, width=96)
    assert manifest.parity is not None
    pixels = parity_images(seed=manifest.parity.seed, height=64, width=96)
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255.0
    predictor = Predictor.open(path, backend='onnxruntime', threads=1)
    answers = np.stack([predictor.predict(image).depth_m for image in pixels])

    def run(dtype: torch.dtype) -> dict[str, Tensor]:
        # One by one, as a vote would give all of them the head of one.
        return {'depth': torch.cat([model(image[None].to(dtype)).depth for image in images])}

    found = in_both_precisions(model.eval(), run)
    assert_within_rounding(found, {'depth': torch.from_numpy(answers)}, ceiling=1e-4)
