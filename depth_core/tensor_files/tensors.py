# SPDX-License-Identifier: Apache-2.0
"""Named tensors from a file: what tools add beside the weights, and which values are usable."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

import numpy as np
import torch
from torch import Tensor

from depth_core.errors import CheckpointError
from depth_core.tensor_files.differences import shown

_WRAPPER: Final = re.compile(r'(?:^|(?<=\.))(?:module|_orig_mod)\.')
"""What DataParallel and torch.compile put before the names of what they wrap."""

_BESIDE: Final = frozenset(
    {'total_ops', 'total_params', 'height', 'width', 'use_stereo', 'epoch', 'step', 'n_averaged'}
)
"""Last part of the names of single numbers that are no weights: the counters of the profiler thop,
the size of the images, how far a training was."""

_COUNTER: Final = 'num_batches_tracked'
"""Of batch norm since PyTorch 0.4.1; not used in evaluation."""

_FLOATS: Final = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def cleaned(given: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Leave out what tools add beside the weights, and before their names.

    Args:
        given: Names, with `module.` (DataParallel) and `_orig_mod.` (torch.compile) before any
            part, and tensors, or NumPy arrays as npz files have them.

    Raises:
        CheckpointError: Two names become the same.
    """
    weights: dict[str, Tensor] = {}
    for name, value in given.items():
        tensor = torch.from_numpy(value) if isinstance(value, np.ndarray) else value
        if _is_beside(name, tensor):
            continue
        key = _WRAPPER.sub('', name)
        if key in weights:
            message = f'{name} and another entry both stand for {key}; keep one of them.'
            raise CheckpointError(message)
        weights[key] = tensor
    return weights


def with_counters(given: Mapping[str, Tensor], expected: Iterable[str]) -> dict[str, Tensor]:
    """Add the batch counters that files from before PyTorch 0.4.1 lack, at 0."""
    zero = torch.zeros((), dtype=torch.int64)
    absent = (key for key in expected if key.endswith(f'.{_COUNTER}') and key not in given)
    return {**given, **dict.fromkeys(absent, zero)}


def as_weights(
    given: Mapping[str, Tensor], like: Mapping[str, Tensor], *, source: str
) -> dict[str, Tensor]:
    """Copy tensors to the CPU in the types of a network.

    Args:
        given: Tensors of the right shapes; half, bfloat16 and double precision are converted.
        like: Tensors of the network by the same names; their values are not looked at.
        source: Where `given` comes from, for the error message.

    Raises:
        CheckpointError: A value is NaN or infinite, or a tensor is complex, sparse, quantised,
            without values (meta) or of a type that no weight has.
    """
    _refuse_types({name: given[name] for name in like}, like, source)
    weights = {
        name: given[name]
        .detach()
        .to('cpu', expected.dtype)
        .clone(memory_format=torch.preserve_format)
        for name, expected in like.items()
    }
    _refuse_not_finite(weights, source)
    return weights


def refuse_unusable(
    given: Mapping[str, Tensor], like: Mapping[str, Tensor], *, source: str
) -> None:
    """Refuse tensors that are no weights of a network; arguments and errors as of `as_weights`."""
    _refuse_types(given, like, source)
    doubles = torch.float64  # the only type with numbers that are infinite in another
    used = {
        name: value.to(like[name].dtype) if value.dtype == doubles else value
        for name, value in given.items()
    }
    _refuse_not_finite(used, source)


def refuse_not_stored(given: Mapping[str, Tensor], *, source: str, stored_bytes: int) -> None:
    """Refuse tensors that declare more values than their file holds, before they are used.

    Args:
        given: Tensors by name, of any type.
        source: Where they come from, for the error message.
        stored_bytes: Size of that file.

    Raises:
        CheckpointError: There are such.
    """
    larger = [
        f'{name} ({list(value.shape)})'
        for name, value in given.items()
        if value.layout == torch.strided
        and not value.is_meta
        and value.numel() * value.element_size() > stored_bytes
    ]
    if larger:
        message = (
            f'{source}: {len(larger)} tensors declare more values than the file of {stored_bytes} '
            f'bytes holds: {shown(larger)}. Save the state dict again.'
        )
        raise CheckpointError(message)


def _is_beside(name: str, value: Tensor) -> bool:
    """Whether a single number is no weight: networks have none outside their layers."""
    counted = name.rpartition('.')[2] in _BESIDE and value.numel() == 1
    return counted or (value.ndim == 0 and '.' not in name)


def _refuse_types(given: Mapping[str, Tensor], like: Mapping[str, Tensor], source: str) -> None:
    reasons = {name: _unusable(value, like[name]) for name, value in given.items()}
    unusable = [f'{name} ({reason})' for name, reason in reasons.items() if reason]
    if unusable:
        message = (
            f'{source}: {len(unusable)} tensors are of a type that is no weight of a network: '
            f'{shown(unusable)}. Save the state dict in float32, dense, on the CPU.'
        )
        raise CheckpointError(message)


def _refuse_not_finite(weights: Mapping[str, Tensor], source: str) -> None:
    broken = [name for name, value in weights.items() if not torch.isfinite(value).all()]
    if broken:
        message = (
            f'{source}: {len(broken)} of {len(weights)} tensors have values that are NaN or '
            f'infinite: {shown(broken)}. Give weights from before the training diverged, or '
            'download the file again.'
        )
        raise CheckpointError(message)


def _unusable(value: Tensor, expected: Tensor) -> str:
    """Say why a tensor cannot be a weight; an empty text when it can."""
    if value.is_meta:
        return 'without values, on the meta device'
    if value.is_quantized:
        return f'quantised, {value.dtype}'
    if value.is_nested or value.layout != torch.strided:
        return f'not dense, {value.layout}'
    floating = expected.dtype.is_floating_point
    if value.dtype not in _FLOATS and (floating or value.dtype.is_complex):
        return str(value.dtype).removeprefix('torch.')
    return ''
