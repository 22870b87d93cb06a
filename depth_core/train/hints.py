# SPDX-License-Identifier: Apache-2.0
"""Which setting is meant by a key that is none."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Final

_MOVED: Final = {
    'kind': 'model.name, beside recipe.name embedding',
    'max_depth_m': 'recipe.max_depth_m of recipe embedding',
    'norm_frozen_from': 'recipe.norm_frozen_from_step of recipe embedding, a number of steps',
}
"""Settings of embedding networks from when they had a schema of their own; its other keys are
found in the groups by their names."""

_STEPS: Final = 'trainer.max_steps, which counts optimizer steps'
_LOSSES: Final = 'recipe.losses of recipe supervised'
_OTHER_WORDS: Final = {
    'accumulate': 'trainer.gradient_accumulation',
    'accumulate_grad_batches': 'trainer.gradient_accumulation',
    'amp': 'trainer.precision',
    'backbone': 'model.options.encoder',
    'checkpoint': 'model.weights',
    'ckpt': 'model.weights',
    'clip_grad': 'optimizer.clip_norm',
    'crop_size': 'data.height and data.width',
    'early_stop': 'trainer.patience',
    'early_stopping': 'trainer.patience',
    'encoder': 'model.options.encoder',
    'epochs': _STEPS,
    'freeze': 'optimizer.frozen',
    'gpus': 'trainer.devices',
    'grad_clip': 'optimizer.clip_norm',
    'gradient_clip': 'optimizer.clip_norm',
    'image_size': 'data.height and data.width',
    'iterations': _STEPS,
    'learning_rate': 'optimizer.lr',
    'log_dir': 'trainer.run_dir',
    'loss': _LOSSES,
    'losses': _LOSSES,
    'max_depth': 'model.options.max_depth',
    'max_epochs': _STEPS,
    'max_grad_norm': 'optimizer.clip_norm',
    'max_iters': _STEPS,
    'min_depth': 'model.options.min_depth',
    'mixed_precision': 'trainer.precision',
    'num_epochs': _STEPS,
    'num_workers': 'data.workers',
    'output_dir': 'trainer.run_dir',
    'pretrained': 'model.weights',
    'save_dir': 'trainer.run_dir',
    'size': 'data.height and data.width',
}
"""What other trainers call a setting, by the last part of the key."""

_IN_THE_GROUP: Final = {
    'dataset': 'name',
    'dir': 'root',
    'folder': 'root',
    'kind': 'name',
    'path': 'root',
    'type': 'name',
}
"""The same of settings that several groups have."""

_NEAR: Final = 0.6
"""Least likeness of the last part of a key to one that is offered in its place."""

_BEGUN: Final = 3
"""Letters of a name that may stand for all of it, where it is the only one."""

_NEAR_IN_ALL: Final = 0.8
"""The same of whole keys, which have their groups in common."""


def hint(key: str, known: Mapping[str, bool]) -> str:
    """Say where a setting is now, or what it is called here, or what is spelt alike.

    Args:
        key: That is no setting.
        known: All keys, groups included; True for those under which any key may stand.

    Returns:
        The end of a sentence; empty where nothing is near.
    """
    if key in _MOVED:
        return f'; it is now {_MOVED[key]}'
    group, _, last = key.rpartition('.')
    if f'{group}.{_IN_THE_GROUP.get(last)}' in known:
        return _meant([f'{group}.{_IN_THE_GROUP[last]}'])
    inside = [f'{near}.{last}' for near in _groups_like(group, known)]
    nearest = [name for name in inside if name in known or known.get(name.rpartition('.')[0])]
    beside = {name.rpartition('.')[2]: name for name in known if name.rpartition('.')[0] == group}
    begun = [name for name in beside if name.startswith(last)] if len(last) >= _BEGUN else []
    alike = difflib.get_close_matches(last, beside, n=1, cutoff=_NEAR) if group else []
    own = [beside[name] for name in (begun if len(begun) == 1 else alike)]
    if not nearest:
        same = [name for name in known if name.rpartition('.')[2] == last]
        nearest = [*own, *same] if same else []
    if nearest:
        return _meant(nearest)
    if last in _OTHER_WORDS:
        return _meant([_OTHER_WORDS[last]])
    found = own or difflib.get_close_matches(key, known, n=1, cutoff=_NEAR_IN_ALL)
    if not found and group and beside:
        return f'; {group} has {", ".join(beside)}'
    return _meant(found) if found else ''


def _meant(names: Sequence[str]) -> str:
    return f'; did you mean {" or ".join(names)}?'


def _groups_like(group: str, known: Mapping[str, bool]) -> list[str]:
    """Groups that one that is none may mean: by its last part, its beginning, or its spelling."""
    groups = {name.rpartition('.')[0] for name in known} | {
        name for name, is_open in known.items() if is_open
    }
    groups -= {''}
    if not group or group in groups:
        return []
    last = group.rpartition('.')[2]
    by_end = [name for name in groups if name.rpartition('.')[2] == last]
    by_start = [name for name in groups if name.startswith(group)]
    by_spelling = difflib.get_close_matches(group, groups, n=1, cutoff=_NEAR_IN_ALL)
    return sorted(by_end or by_start, key=len)[:1] or by_spelling
