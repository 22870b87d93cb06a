# SPDX-License-Identifier: Apache-2.0
"""Version 2 of the manifest: its groups, and what contradicts itself."""

from __future__ import annotations

import json
from typing import Any

import pytest

from depth_core.contracts import DepthKind, SizeRule
from depth_core.errors import ConfigError
from depth_core.manifest import Confidence, Manifest, Mask
from depth_core.runtime.sizes import input_size


def text(**sections: Any) -> str:
    """A canonical graph with a sky, with keys of its sections changed; None takes a key out."""
    content: dict[str, Any] = {
        'version': 2,
        'name': 'a',
        'input': {
            'name': 'image',
            'dtype': 'f32',
            'layout': 'nchw',
            'colour': 'bgr',
            'size': {'fixed': [280, 504], 'multiple': 14},
        },
        'depth': {
            'output': 'depth',
            'kind': 'canonical',
            'canonical_focal_px': 300,
            'min_m': 0.1,
            'max_m': 200,
        },
        'masks': [{'output': 'sky', 'polarity': 'high_is_sky', 'threshold': 0.3, 'fill': 'max'}],
    }
    for name, change in sections.items():
        if isinstance(change, dict) and isinstance(content.get(name), dict):
            content[name] = {
                key: value
                for key, value in {**content[name], **change}.items()
                if value is not None
            }
        else:
            content[name] = change
    return json.dumps(content)


def test_every_word_reaches_its_attribute_and_comes_back() -> None:
    manifest = Manifest.from_json(text())
    assert (manifest.input.height, manifest.input.width, manifest.input.multiple) == (280, 504, 14)
    assert (manifest.input.dtype, manifest.input.layout) == ('float32', 'NCHW')
    assert manifest.input.channels == 'BGR'
    output = manifest.output
    assert (output.kind, output.coding, output.depth) == (DepthKind.CANONICAL, 'depth', 'depth')
    assert (output.min_depth, output.max_depth, output.sigma) == (0.1, 200.0, None)
    assert manifest.masks == (
        Mask(output='sky', polarity='high_is_sky', threshold=0.3, fill='max'),
    )
    assert manifest.outputs == ('depth', 'sky')
    assert manifest.needs_intrinsics
    again = json.loads(manifest.to_json())
    assert again['version'] == 2
    assert again['input']['size'] == {'fixed': [280, 504], 'multiple': 14}
    assert again['depth']['kind'] == 'canonical'
    assert again['masks'] == json.loads(text())['masks']
    assert Manifest.from_json(manifest.to_json()) == manifest


@pytest.mark.parametrize(
    ('word', 'more', 'kind', 'coding'),
    [
        ('metric', {}, DepthKind.METRIC, 'depth'),
        ('inverse_canonical', {'canonical_focal_px': 9}, DepthKind.CANONICAL, 'inverse'),
        ('up_to_scale', {}, DepthKind.UP_TO_SCALE, 'depth'),
        ('inverse_affine', {}, DepthKind.INVERSE, 'depth'),
        ('inverse', {}, DepthKind.INVERSE, 'depth'),
        (
            'sigmoid_disparity', {'sig': {'min': 0.1, 'max': 100}}, DepthKind.METRIC,
            'sigmoid_disparity',
        ),
    ],
)  # fmt: skip
def test_kinds(word: str, more: dict[str, Any], kind: DepthKind, coding: str) -> None:
    depth = {'canonical_focal_px': None, 'kind': word, **more}
    manifest = Manifest.from_json(text(depth=depth))
    assert (manifest.output.kind, manifest.output.coding) == (kind, coding)
    assert Manifest.from_json(manifest.to_json()) == manifest


def test_metres_that_must_not_be_published_are_up_to_scale() -> None:
    sigmoid = {'kind': 'sigmoid_disparity', 'sig': {'min': 0.1, 'max': 100}}
    depth = {**sigmoid, 'canonical_focal_px': None}
    manifest = Manifest.from_json(text(depth=depth, domain={'publish_metric': False}))
    assert manifest.output.kind is DepthKind.UP_TO_SCALE
    assert manifest.output.coding == 'sigmoid_disparity'
    assert Manifest.from_json(manifest.to_json()) == manifest


def test_a_size_rule_has_the_size_for_4_to_3_until_a_camera_is_known() -> None:
    size = {'mode': 'short', 'target': 518, 'multiple': 14}
    manifest = Manifest.from_json(text(input={'size': size}))
    # 518 * 4 / 3 = 690.67, and 49 * 14 = 686 is the nearest multiple.
    assert (manifest.input.height, manifest.input.width) == (518, 686)
    assert manifest.input.size == SizeRule(mode='short', target=518)
    assert Manifest.from_json(manifest.to_json()) == manifest


def test_no_side_is_below_the_least() -> None:
    size = {'mode': 'pixels', 'target': 64 * 96, 'multiple': 32, 'min_side': 40}
    manifest = Manifest.from_json(text(input={'size': size}))
    assert (manifest.input.height, manifest.input.width) == (64, 96)
    assert Manifest.from_json(manifest.to_json()) == manifest
    # 6144 pixels of 10:1 are 24.8 x 247.9: the first multiple of 32 from 40 on is 64.
    assert input_size(manifest, (12, 120)) == (64, 256)
    assert input_size(
        Manifest.from_json(text(input={'size': {**size, 'min_side': 1}})), (12, 120)
    ) == (32, 256)
    rule: dict[str, Any] = {'fixed': [32, 96], 'min_side': 64}
    with pytest.raises(ConfigError, match=r'input\.height is 32 and input\.size\.min_side is 64'):
        Manifest.from_json(text(input={'size': rule}))
    with pytest.raises(ConfigError, match=r'input\.size\.min_side is 0; give a whole number'):
        Manifest.from_json(text(input={'size': {**size, 'min_side': 0}}))


@pytest.mark.parametrize(
    ('rule', 'image', 'expected'),
    [
        (SizeRule(mode='short', target=518), (375, 1242), (518, 1722)),  # 1715.6 -> 122.5 -> 123
        (SizeRule(mode='long', target=504), (1080, 1920), (280, 504)),  # 283.5 = 20.25 * 14
        (SizeRule(mode='long', target=504, round='up'), (1080, 1920), (294, 504)),
        (SizeRule(mode='long', target=504, round='down'), (1080, 1920), (280, 504)),
        (SizeRule(mode='pixels', target=196 * 100), (100, 100), (140, 140)),
        (SizeRule(mode='long', target=28), (1, 1000), (14, 28)),  # never nothing
    ],
)
def test_the_size_of_a_camera(
    rule: SizeRule, image: tuple[int, int], expected: tuple[int, int]
) -> None:
    assert rule.choose(*image, multiple=14) == expected


def test_a_strip_does_not_become_an_input_of_any_length() -> None:
    rule = SizeRule(mode='short', target=518)
    assert rule.choose(10, 160, multiple=14) == (518, 8288)
    with pytest.raises(ConfigError, match='images of 10x161 have a side more than 16 times'):
        rule.choose(10, 161, multiple=14)
    assert SizeRule(mode='pixels', target=196 * 100).choose(8, 2000, multiple=14) == (14, 2212)


def test_a_sigma_is_the_output_s_and_a_rank_is_none() -> None:
    stated = {'output': 'sigma', 'meaning': 'sigma_m'}
    manifest = Manifest.from_json(text(confidence=stated))
    assert (manifest.output.sigma, manifest.confidence) == ('sigma', None)
    assert manifest.outputs == ('depth', 'sigma', 'sky')
    assert json.loads(manifest.to_json())['confidence'] == stated
    ranked = Manifest.from_json(text(confidence={'output': 'c', 'meaning': 'rank_high_bad'}))
    assert ranked.output.sigma is None
    assert ranked.confidence == Confidence(output='c', meaning='rank_high_bad')
    assert ranked.outputs == ('depth', 'sky')  # nothing is made of it


@pytest.mark.parametrize(
    ('sections', 'words'),
    [
        ({'depth': {'canonical_focal_px': None}}, ('depth.canonical_focal_px is missing',)),
        ({'depth': {'canonical_focal_px': 0}}, ('depth.canonical_focal_px is 0.0', 'positive')),
        ({'depth': {'kind': 'metric'}}, ('depth.canonical_focal_px is 300.0', 'kind is metric')),
        ({'depth': {'kind': 'metrik'}}, ('depth.kind is "metrik"', "'inverse_affine'")),
        ({'depth': {'focal': 'fz'}}, ('depth.focal is "fz"', "'mean', 'fx', 'fy'")),
        ({'depth': {'sig': {'min': 1, 'max': 2}}}, ('depth.sig is given', 'sigmoid_disparity')),
        (
            {'depth': {'min_m': 300}},
            ('depth.min_m is 300.0 and depth.max_m is 200.0', '0 < min < max'),
        ),
        ({'depth': {'scale_correction': 0}}, ('depth.scale_correction is 0.0', 'positive')),
        (
            {'depth': {'channel': {'axis': 1, 'index': -1}}},
            ('depth.channel.index is -1', '0 or more'),
        ),
        (
            {'depth': {'shift': 'median_from_K'}},
            ('depth.shift is median_from_K', 'depth.channel is missing', 'index 2'),
        ),
        ({'depth': {'rank_hint': 5}}, ('depth.rank_hint is 5', '2 to 4')),
        (
            {'depth': {'own_focal_output': 'f', 'fov_output': 'g'}},
            ("depth.own_focal_output is 'f'", "depth.fov_output is 'g'", 'give one'),
        ),
        ({'depth': {'min_depth': 1}}, ("'depth.min_depth'; did you mean 'depth.min_m'",)),
        ({'input': {'size': {'fixed': [280, 500], 'multiple': 14}}}, ('width is 500', '504')),
        (
            {'input': {'size': {'mode': 'short', 'target': 500, 'multiple': 14}}},
            ('input.size.target is 500', '14 does not divide', '504'),
        ),
        ({'input': {'size': {'mode': 'wide', 'target': 5}}}, ('input.size.mode is "wide"',)),
        ({'input': {'size': {'mode': 'short'}}}, ('input.size.target is null', 'whole number')),
        (
            {'input': {'size': {'fixed': [2, 2], 'mode': 'short'}}},
            ('input.size', 'fixed alone, or mode without it'),
        ),
        ({'input': {'size': {'fixed': [2]}}}, ('input.size.fixed is [2]', '[height, width]')),
        ({'input': {'size': None}}, ('input.size is null', '"fixed"')),
        ({'input': {'size': {'fixd': [2, 2]}}}, ("did you mean 'input.size.fixed'",)),
        ({'input': {'height': 5}}, ("'input.height'", 'input.size')),
        ({'input': {'std': [1, 0, 1]}}, ('input.std is [1.0, 0.0, 1.0]', 'positive')),
        (
            {'input': {'resize': 'keep_aspect'}},
            ('input.resize is keep_aspect', 'fixed at 280x504', 'letterbox or crop'),
        ),
        (
            {'input': {'dtype': 'uint8', 'mean': [0.5, 0.5, 0.5]}},
            ('input.dtype is uint8', 'mean [0.5, 0.5, 0.5]', 'leave scale, mean and std out'),
        ),
        ({'input': {'dtype': 'uint8', 'scale': 0.5}}, ('input.dtype is uint8 with scale 0.5,',)),
        (
            {'depth': {'kind': 'inverse_affine', 'canonical_focal_px': None, 'fov_output': 'f'}},
            ("depth.fov_output is 'f' and depth.kind is inverse", 'metres alone'),
        ),
        (
            {'depth': {'own_focal_output': 'depth'}},
            ("depth.own_focal_output is 'depth'", 'one number for each image'),
        ),
        ({'input': {'dtype': 'int8'}}, ('input.dtype is "int8"', "'float16'")),
        (
            {'input': {'pad_rgb': [0, 0, 256], 'resize': 'letterbox'}},
            ('input.pad_rgb is [0.0, 0.0, 256.0]', '0 to 255'),
        ),
        ({'extra_inputs': [{'name': 'k', 'kind': 'K4x4'}]}, ('extra_inputs[0].kind is "K4x4"',)),
        (
            {'extra_inputs': [{'name': 'k', 'kind': 'const'}]},
            ('extra_inputs[0].value is None', 'the kind is const'),
        ),
        (
            {'extra_inputs': [{'name': 'k', 'kind': 'focal', 'value': 1}]},
            ('extra_inputs[0].value is 1.0', 'the kind is focal'),
        ),
        (
            {'extra_inputs': [{'name': 'image', 'kind': 'focal'}]},
            ("extra_inputs[0].name is 'image', which input.name is too",),
        ),
        ({'masks': {}}, ('masks is {}', 'a list')),
        ({'masks': [{'output': 'a', 'polarity': 'high_is_sky'}]}, ('masks[0].threshold',)),
        (
            {'masks': [{'output': 'depth', 'polarity': 'high_is_sky', 'threshold': 1}]},
            ("masks[0].output is 'depth', which depth.output is too",),
        ),
        ({'confidence': {'output': 'c', 'meaning': 'sure'}}, ('confidence.meaning is "sure"',)),
        ({'domain': {'assumed_hfov_deg': 180}}, ('domain.assumed_hfov_deg is 180.0',)),
        ({'domain': {'publish_metric': 1}}, ('domain.publish_metric is 1', 'true or false')),
        ({'input': {'std': [1, -0.2, 1]}}, ('input.std is [1.0, -0.2, 1.0]', 'positive')),
        ({'input': {'scale': -1}}, ('input.scale is -1.0', 'positive')),
        (
            {'input': {'pad_rgb': [124, 116, 104]}},
            ('input.pad_rgb is [124.0, 116.0, 104.0]', 'input.resize is stretch', 'letterbox'),
        ),
        ({'input': {'batch': -1}}, ('input.batch is -1', 'at least 1')),
        ({'input': {'name': ''}}, ('input.name is ""', 'give a name')),
        ({'depth': {'output': ' '}}, ('depth.output is " "', 'give a name')),
        ({'depth': {'scale_output': ''}}, ('depth.scale_output is ""', 'give a name')),
        ({'confidence': {'output': '', 'meaning': 'sigma_m'}}, ('confidence.output is ""',)),
        (
            {'confidence': {'output': 'c', 'meaning': 'rank_high_bad', 'range': [2, 1]}},
            ('confidence.range is [2.0, 1.0]', 'the smaller first'),
        ),
        (
            {
                'masks': [
                    {
                        'output': 'm',
                        'polarity': 'high_is_sky',
                        'threshold': 2,
                        'activation': 'sigmoid',
                    }
                ]
            },
            ('masks[0].threshold is 2.0', 'between 0 and 1', 'sigmoid'),
        ),
        (
            {
                'masks': [
                    {
                        'output': 'm',
                        'polarity': 'high_is_sky',
                        'threshold': 0.5,
                        'channel': {'axis': 1, 'index': -2},
                    }
                ]
            },
            ('masks[0].channel.index is -2',),
        ),
        (
            {
                'depth': {
                    'kind': 'sigmoid_disparity',
                    'canonical_focal_px': None,
                    'sig': {'min': 3, 'max': 2},
                }
            },
            ('depth.sig.min is 3.0 and depth.sig.max is 2.0', '0 < min < max'),
        ),
        (
            {'extra_inputs': [{'name': 'rays', 'kind': 'rays_unit', 'at': 'camera'}]},
            ('extra_inputs[0].at is camera', 'give network'),
        ),
        ({'graph': {'opset': 'x'}}, ('graph.opset is "x"', 'a whole number')),
    ],
)
def test_contradictions_name_key_value_and_rule(
    sections: dict[str, Any], words: tuple[str, ...]
) -> None:
    with pytest.raises(ConfigError) as caught:
        Manifest.from_json(text(**sections), source='there.json')
    assert str(caught.value).startswith('there.json: ')
    for word in words:
        assert word in str(caught.value)
    assert '\n' not in str(caught.value)
