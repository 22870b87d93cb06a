# SPDX-License-Identifier: Apache-2.0
"""Names of ZoeDepth's published weights: the authors' files, MiDaS cores, Hugging Face's port.

The authors' names are the common tongue. A MiDaS file is a core without its prefix. Hugging Face
(transformers 4 on the hub, transformers 5 in memory) parts the joint projections of attention,
which are put together again.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

import torch
from torch import Tensor

from depth_core.errors import CheckpointError

_CORE: Final = 'core.core.'
_MIDAS: Final = ('pretrained.', 'scratch.')
_HUGGING_FACE: Final = ('backbone.', 'neck.', 'relative_head.', 'metric_head.')
_PARTS: Final = ('query', 'key', 'value')

_Rules = tuple[tuple[re.Pattern[str], str], ...]


def _compiled(*rules: tuple[str, str]) -> _Rules:
    return tuple((re.compile(pattern), template) for pattern, template in rules)


def _mapped(key: str, rules: _Rules) -> str | None:
    """Apply the first rule that fits the whole key; `{n}` counts up and `{n-}` down one."""
    for pattern, template in rules:
        match = pattern.fullmatch(key)
        if match is None:
            continue
        groups = match.groupdict()
        for name in ('i', 'n'):
            if groups.get(name) is not None:
                number = int(groups[name])
                groups |= {f'{name}_up': str(number + 1), f'{name}_down': str(number - 1)}
        return template.format(**groups)
    return None


# Our names to the authors'

_MLP = r'(?P<layer>hidden|out)\.(?P<end>weight|bias)'
_DOMAIN = r'heads\.(?P<domain>\w+)\.'

_OURS: Final = _compiled(
    (
        r'core\.pyramid\.trunk\.layers\.(?P<i>\d)\.downsample\.(?P<rest>.+)',
        'core.core.pretrained.model.layers.{i_down}.downsample.{rest}',
    ),
    (r'core\.pyramid\.trunk\.(?P<rest>.+)', 'core.core.pretrained.model.{rest}'),
    (
        r'core\.pyramid\.readouts\.(?P<i>\d)\.(?P<end>\w+)',
        'core.core.pretrained.act_postprocess{i_up}.0.project.0.{end}',
    ),
    (
        r'core\.pyramid\.projections\.(?P<i>\d)\.(?P<end>\w+)',
        'core.core.pretrained.act_postprocess{i_up}.3.{end}',
    ),
    (
        r'core\.pyramid\.resizes\.(?P<i>\d)\.(?P<end>\w+)',
        'core.core.pretrained.act_postprocess{i_up}.4.{end}',
    ),
    (r'core\.narrow\.(?P<i>\d)\.weight', 'core.core.scratch.layer{i_up}_rn.weight'),
    (
        r'core\.fusions\.(?P<i>\d)\.skip_unit\.(?P<rest>.+)',
        'core.core.scratch.refinenet{i_up}.resConfUnit1.{rest}',
    ),
    (
        r'core\.fusions\.(?P<i>\d)\.unit\.(?P<rest>.+)',
        'core.core.scratch.refinenet{i_up}.resConfUnit2.{rest}',
    ),
    (
        r'core\.fusions\.(?P<i>\d)\.out\.(?P<end>\w+)',
        'core.core.scratch.refinenet{i_up}.out_conv.{end}',
    ),
    (r'core\.head\.narrow\.(?P<end>\w+)', 'core.core.scratch.output_conv.0.{end}'),
    (r'core\.head\.features\.(?P<end>\w+)', 'core.core.scratch.output_conv.2.{end}'),
    (r'core\.head\.out\.(?P<end>\w+)', 'core.core.scratch.output_conv.4.{end}'),
    (r'embedding\.bottleneck\.(?P<end>\w+)', 'conv2.{end}'),
    (rf'embedding\.projectors\.0\.{_MLP}', 'seed_projector._net.{layer}.{end}'),
    (rf'embedding\.projectors\.(?P<i>\d)\.{_MLP}', 'projectors.{i_down}._net.{layer}.{end}'),
    (rf'head\.seed\.net\.{_MLP}', 'seed_bin_regressor._net.{layer}.{end}'),
    (rf'head\.attractors\.(?P<i>\d)\.net\.{_MLP}', 'attractors.{i}._net.{layer}.{end}'),
    (rf'head\.likelihood\.{_MLP}', 'conditional_log_binomial.mlp.{layer}.{end}'),
    (rf'{_DOMAIN}seed\.net\.{_MLP}', 'seed_bin_regressors.{domain}._net.{layer}.{end}'),
    (
        rf'{_DOMAIN}attractors\.(?P<i>\d)\.net\.{_MLP}',
        'attractors.{domain}.{i}._net.{layer}.{end}',
    ),
    (
        rf'{_DOMAIN}likelihood\.{_MLP}',
        'conditional_log_binomial.{domain}.mlp.{layer}.{end}',
    ),
    (
        r'router\.transformer\.embed\.(?P<end>\w+)',
        'patch_transformer.embedding_convPxP.{end}',
    ),
    (
        r'router\.transformer\.layers\.(?P<i>\d)\.qkv\.(?P<end>\w+)',
        'patch_transformer.transformer_encoder.layers.{i}.self_attn.in_proj_{end}',
    ),
    (
        r'router\.transformer\.layers\.(?P<i>\d)\.project\.(?P<end>\w+)',
        'patch_transformer.transformer_encoder.layers.{i}.self_attn.out_proj.{end}',
    ),
    (
        r'router\.transformer\.layers\.(?P<i>\d)\.hidden\.(?P<end>\w+)',
        'patch_transformer.transformer_encoder.layers.{i}.linear1.{end}',
    ),
    (
        r'router\.transformer\.layers\.(?P<i>\d)\.out\.(?P<end>\w+)',
        'patch_transformer.transformer_encoder.layers.{i}.linear2.{end}',
    ),
    (
        r'router\.transformer\.layers\.(?P<i>\d)\.(?P<rest>norm.+)',
        'patch_transformer.transformer_encoder.layers.{i}.{rest}',
    ),
    (rf'router\.{_MLP}', 'mlp_classifier.{layer}.{end}'),
)
_SEQUENTIAL: Final = {'.hidden.': '.0.', '.out.': '.2.'}


def official_key(key: str) -> str:
    """Name of a weight of ours in the authors' state dict."""
    official = _mapped(key, _OURS)
    if official is None:
        return key
    for ours, theirs in _SEQUENTIAL.items():
        official = official.replace(ours, theirs)
    return official


_DROPPED: Final = re.compile(
    r'core\.core\.pretrained\.model\.(?:(?:fc_norm|norm|head)\..+'
    r'|.+\.(?:relative_position_index|relative_coords_table|attn_mask|k_bias))'
    r'|core\.core\.scratch\.refinenet4\.resConfUnit1\..+'
    r'|conditional_log_binomial\.(?:\w+\.)?log_binomial_transform\.\w+'
)


def dropped(key: str) -> bool:
    """Whether a key of the authors' has no place here.

    The classifier and last norm of the encoder and the first unit of the coarsest fusion are never
    run; index tables, masks and the binomial coefficients are computed.
    """
    return _DROPPED.fullmatch(key) is not None


def is_midas(key: str) -> bool:
    """Whether a key of the authors' is of the relative-depth core."""
    return key.startswith(_CORE)


# Other publications to the authors' names

_TABLE: Final = 'relative_position_bias_table'
_MLPS: Final = '(?:seed_bin_regressors?|seed_projector|projectors|attractors)'

_FROM_HUGGING_FACE: Final = _compiled(
    (r'embeddings\.(?P<rest>cls_token)', 'core.core.pretrained.model.{rest}'),
    (
        r'embeddings\.patch_embeddings\.projection\.(?P<end>\w+)',
        'core.core.pretrained.model.patch_embed.proj.{end}',
    ),
    (
        r'layer\.(?P<i>\d+)\.lambda_(?P<n>[12])',
        'core.core.pretrained.model.blocks.{i}.gamma_{n}',
    ),
    (
        r'layer\.(?P<i>\d+)\.layernorm_before\.(?P<end>\w+)',
        'core.core.pretrained.model.blocks.{i}.norm1.{end}',
    ),
    (
        r'layer\.(?P<i>\d+)\.layernorm_after\.(?P<end>\w+)',
        'core.core.pretrained.model.blocks.{i}.norm2.{end}',
    ),
    (
        rf'layer\.(?P<i>\d+)\.(?:attention\.attention\.)?relative_position_bias\.{_TABLE}',
        'core.core.pretrained.model.blocks.{i}.attn.relative_position_bias_table',
    ),
    (
        r'layer\.(?P<i>\d+)\.(?:attention\.output\.dense|attention\.o_proj)\.(?P<end>\w+)',
        'core.core.pretrained.model.blocks.{i}.attn.proj.{end}',
    ),
    (
        r'layer\.(?P<i>\d+)\.(?:intermediate\.dense|mlp\.fc1)\.(?P<end>\w+)',
        'core.core.pretrained.model.blocks.{i}.mlp.fc1.{end}',
    ),
    (
        r'layer\.(?P<i>\d+)\.(?:output\.dense|mlp\.fc2)\.(?P<end>\w+)',
        'core.core.pretrained.model.blocks.{i}.mlp.fc2.{end}',
    ),
    (
        r'neck\.reassemble_stage\.readout_projects\.(?P<i>\d)\.0\.(?P<end>\w+)',
        'core.core.pretrained.act_postprocess{i_up}.0.project.0.{end}',
    ),
    (
        r'neck\.reassemble_stage\.layers\.(?P<i>\d)\.projection\.(?P<end>\w+)',
        'core.core.pretrained.act_postprocess{i_up}.3.{end}',
    ),
    (
        r'neck\.reassemble_stage\.layers\.(?P<i>\d)\.resize\.(?P<end>\w+)',
        'core.core.pretrained.act_postprocess{i_up}.4.{end}',
    ),
    (r'neck\.convs\.(?P<i>\d)\.weight', 'core.core.scratch.layer{i_up}_rn.weight'),
    (r'relative_head\.conv1\.(?P<end>\w+)', 'core.core.scratch.output_conv.0.{end}'),
    (r'relative_head\.conv2\.(?P<end>\w+)', 'core.core.scratch.output_conv.2.{end}'),
    (r'relative_head\.conv3\.(?P<end>\w+)', 'core.core.scratch.output_conv.4.{end}'),
    (
        rf'metric_head\.(?P<rest>{_MLPS}(?:\.\w+){{0,2}})\.conv1\.(?P<end>\w+)',
        '{rest}._net.0.{end}',
    ),
    (
        rf'metric_head\.(?P<rest>{_MLPS}(?:\.\w+){{0,2}})\.conv2\.(?P<end>\w+)',
        '{rest}._net.2.{end}',
    ),
    (r'metric_head\.mlp_classifier\.linear1\.(?P<end>\w+)', 'mlp_classifier.0.{end}'),
    (r'metric_head\.mlp_classifier\.linear2\.(?P<end>\w+)', 'mlp_classifier.2.{end}'),
    (
        r'metric_head\.patch_transformer\.transformer_encoder\.(?P<i>\d)\.(?P<rest>.+)',
        'patch_transformer.transformer_encoder.layers.{i}.{rest}',
    ),
    (r'metric_head\.(?P<rest>.+\.log_binomial_transform\.)k_minus_1', '{rest}K_minus_1'),
    (r'metric_head\.(?P<rest>.+)', '{rest}'),
)
_FUSION: Final = re.compile(r'neck\.fusion_stage\.layers\.([0-3])\.(.+)')
_FUSION_NAMES: Final = {
    'projection': 'out_conv',
    'residual_layer': 'resConfUnit',
    'convolution': 'conv',
}
_BACKBONE: Final = re.compile(r'backbone\.(?:encoder\.|beit\.)?(.+)')
_SPLIT: Final = re.compile(
    r'layer\.(?P<block>\d+)\.attention\.(?:attention\.)?'
    r'(?P<part>query|key|value|q_proj|k_proj|v_proj)\.(?P<end>weight|bias)'
    r'|metric_head\.patch_transformer\.transformer_encoder\.(?P<layer>\d)\.self_attn\.'
    r'(?P<router_part>query|key|value)\.(?P<router_end>weight|bias)'
)
_SHORT: Final = {'q_proj': 'query', 'k_proj': 'key', 'v_proj': 'value'}


def to_authors(state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Bring a MiDaS or Hugging Face state dict to the authors' names.

    Args:
        state: Names and tensors of any of the publications. One that is the authors' already, or
            that none of them has, is returned as it is; so is a name that none of them has.

    Returns:
        The authors' names; joint projections of attention are new tensors.
    """
    if state and all(key.startswith(_MIDAS) for key in state):
        return {_CORE + key: value for key, value in state.items()}
    if any(key.startswith(_HUGGING_FACE) for key in state):
        return _from_hugging_face(state)
    return state


def _from_hugging_face(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    named: dict[str, Tensor] = {}
    split: dict[str, dict[str, str]] = {}
    for key, value in state.items():
        short = _without_backbone(key)
        match = _SPLIT.fullmatch(short)
        if match is None:
            named[_from_fusion(short) or _mapped(short, _FROM_HUGGING_FACE) or key] = value
        elif match['block'] is not None:
            part = _SHORT.get(match['part'], match['part'])
            block = f'core.core.pretrained.model.blocks.{match["block"]}.attn.'
            if match['end'] == 'bias' and part != 'key':
                named[f'{block}{part[0]}_bias'] = value
            elif match['end'] == 'weight':
                split.setdefault(f'{block}qkv.weight', {})[part] = key
            else:
                named[key] = value  # the key of BEiT has no bias: a surplus name
        else:
            layer = f'patch_transformer.transformer_encoder.layers.{match["layer"]}.self_attn.'
            joint = f'{layer}in_proj_{match["router_end"]}'
            split.setdefault(joint, {})[match['router_part']] = key
    for name, parts in split.items():
        if len(parts) == len(_PARTS):  # else the joint name is missing, and reported so
            named[name] = _joint(state, [parts[part] for part in _PARTS])
    return named


def _joint(state: Mapping[str, Tensor], keys: Sequence[str]) -> Tensor:
    """Put query, key and value, which are equal in shape, on top of each other."""
    if len({state[key].shape for key in keys}) > 1:
        shapes = ', '.join(f'{key} {tuple(state[key].shape)}' for key in keys)
        message = (
            f'query, key and value of an attention differ in shape: {shapes}. The file is damaged '
            'or was changed; download it again.'
        )
        raise CheckpointError(message)
    return torch.cat([state[key] for key in keys])


def _without_backbone(key: str) -> str:
    match = _BACKBONE.fullmatch(key)
    return key if match is None else re.sub(r'^layers\.', 'layer.', match[1])


def _from_fusion(key: str) -> str | None:
    match = _FUSION.fullmatch(key)
    if match is None:
        return None
    rest = match[2]
    for theirs, authors in _FUSION_NAMES.items():
        rest = rest.replace(theirs, authors)
    return f'core.core.scratch.refinenet{4 - int(match[1])}.{rest}'
