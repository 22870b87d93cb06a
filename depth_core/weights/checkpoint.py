# SPDX-License-Identifier: Apache-2.0
"""The one checkpoint format of this package: what training writes and everything else reads.

A checkpoint holds tensors and plain Python values alone, so that reading it can run no code. It
names the model and its options: nothing beside the file is needed to rebuild the network.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

import torch
from torch import Tensor

from depth_core.contracts import SigmaCalibration
from depth_core.errors import CheckpointError, ConfigError
from depth_core.models.base import DepthModel, make_canonical
from depth_core.tensor_files.differences import differences
from depth_core.tensor_files.own import CHECKPOINT
from depth_core.tensor_files.tensors import refuse_unusable
from depth_core.weights.rebuilding import rebuild

SUFFIX: Final = '.ckpt'
"""What checkpoint files end with."""

_MOST_PIXELS: Final = 61_000_000
"""Of the images a network is trained on: what the largest image that is read has."""

_NUMBERS: Final = (int, float)
"""By type itself: a boolean is one of the integers."""

_KERNEL_NDIM: Final = 2


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """The content of a checkpoint file, on the CPU."""

    name: str
    """Registry name of the model."""
    options: Mapping[str, object]
    """The keyword options that rebuild it with `create_model`."""
    state: Mapping[str, Tensor]
    """Weights and buffers, the ones to predict with."""
    training: Mapping[str, object] | None
    """What `depth_core.train` needs to resume; None in files that were not written by it."""
    provenance: Mapping[str, object] | None
    """With what and from what it was made, for a reader."""

    @property
    def trained_size(self) -> tuple[int, int] | None:
        """(height, width) of the images it was trained on, where the provenance states it.

        Raises:
            CheckpointError: No image has that size.
        """
        made_with: Mapping[str, Any] = self.provenance or {}
        height, width = made_with.get('height'), made_with.get('width')
        if height is None or width is None:
            return None
        whole = type(height) is int and type(width) is int
        if not whole or min(height, width) < 1 or height * width > _MOST_PIXELS:
            message = (
                f'the checkpoint states that it was trained on images of {height!r}x{width!r}; '
                f'give one of 1 to {_MOST_PIXELS} pixels.'
            )
            raise CheckpointError(message)
        return height, width

    @property
    def canonical_focal_px(self) -> float | None:
        """Focal length its depth belongs to, pixels; None where it states metres by itself.

        Raises:
            CheckpointError: What the file states is no number.
        """
        focal_px = (self.provenance or {}).get('canonical_focal_px')
        if focal_px is None:
            return None
        if type(focal_px) not in _NUMBERS:
            message = f'canonical_focal_px of the checkpoint is {focal_px!r}; give pixels.'
            raise CheckpointError(message)
        return float(cast('float', focal_px))

    @property
    def sigma_calibration(self) -> SigmaCalibration:
        """How its sigma is corrected when it is served.

        Raises:
            CheckpointError: What the file states of it is none.
        """
        stated = (self.provenance or {}).get('sigma_calibration', {})
        try:
            return SigmaCalibration(**_numbers(stated))
        except (ConfigError, TypeError) as error:
            message = f'sigma_calibration of the checkpoint is {stated!r}: {error}'
            raise CheckpointError(message) from error


def _numbers(stated: object) -> dict[str, float]:
    """Numbers by name.

    Raises:
        TypeError: They are something else.
    """
    given: Mapping[str, Any] = stated if isinstance(stated, Mapping) else {'it': stated}
    wrong = [name for name, value in given.items() if type(value) not in _NUMBERS]
    if wrong:
        message = f'{wrong[0]} is no number'
        raise TypeError(message)
    return {str(name): float(value) for name, value in given.items()}


def save_model(
    path: Path | str,
    model: DepthModel,
    *,
    training: Mapping[str, object] | None = None,
    provenance: Mapping[str, object] | None = None,
    half: bool = False,
) -> None:
    """Write `model` to `path`, which appears complete or not at all.

    Args:
        path: Final name, by custom ending in `.ckpt`.
        model: Network made by `create_model`.
        training: State to resume from: tensors, numbers, strings, and containers of these.
        provenance: How it was made: the same kinds of value. The focal length of canonical depth
            is added, and the calibration of sigma.
        half: Store kernels and matrices as float16, rounded by at most 0.05 % of each weight, to
            start training from in half the space. Vectors stay as they are: statistics of norm
            layers may lie outside the range of float16.

    Raises:
        CheckpointError: The network does not say how to rebuild it, or `training` or
            `provenance` holds what could not be read back.
        DepthError: The file cannot be written, for instance because the disk is full.
    """
    if not hasattr(model, 'options') or not hasattr(model, 'spec'):
        message = (
            f'{type(model).__name__} carries no spec and options, so a checkpoint of it could '
            'not be read again; make the network with create_model.'
        )
        raise CheckpointError(message)
    if model.spec.canonical_focal_px is not None:
        provenance = {**(provenance or {}), 'canonical_focal_px': model.spec.canonical_focal_px}
    if model.spec.sigma_calibration != SigmaCalibration():
        stated = dataclasses.asdict(model.spec.sigma_calibration)
        provenance = {**(provenance or {}), 'sigma_calibration': stated}
    state = {key: value.detach().cpu() for key, value in model.state_dict().items()}
    if half:
        state = {key: _halved(value) for key, value in state.items()}
        provenance = {**(provenance or {}), 'stored_as': 'float16, vectors float32'}
    CHECKPOINT.write(
        Path(path),
        name=model.spec.name,
        options=model.options,
        state=state,
        training=training,
        provenance=provenance,
    )


def _halved(weight: Tensor) -> Tensor:
    """A kernel or matrix as float16, where all its values are within the range of that."""
    if weight.dtype != torch.float32 or weight.ndim < _KERNEL_NDIM:
        return weight
    rounded = weight.half()
    return rounded if torch.isfinite(rounded).all() else weight


def read_checkpoint(path: Path | str) -> Checkpoint:
    """Read the file at `path` whole, onto the CPU.

    Raises:
        CheckpointError: It is missing, truncated, corrupt or not a checkpoint of this package.
    """
    content = CHECKPOINT.read(Path(path))
    return Checkpoint(**{name: content[name] for name in CHECKPOINT.entries})


def load_model(path: Path | str, device: torch.device | str = 'cpu') -> DepthModel:
    """Rebuild the network of a checkpoint, with its weights, in eval mode on `device`.

    Its `spec.default_size` is the size the weights were trained at, where the file states it, and
    its depth is canonical where it was trained so.

    Raises:
        CheckpointError: The file cannot be read, or its weights are not those of the network.
        ConfigError: It names a model or option that this package does not have, or its depth
            cannot be canonical.
    """
    return network_of(read_checkpoint(path), source=str(path), device=device)


def network_of(
    checkpoint: Checkpoint, *, source: str, device: torch.device | str = 'cpu'
) -> DepthModel:
    """Rebuild the network of a checkpoint that was read from `source`; as `load_model`."""
    model = rebuild(checkpoint.name, checkpoint.options, checkpoint.state, source=source)
    load_weights(model, checkpoint.state, source=source)
    if checkpoint.trained_size is not None:
        model.spec = dataclasses.replace(model.spec, default_size=checkpoint.trained_size)
    model.spec = dataclasses.replace(model.spec, sigma_calibration=checkpoint.sigma_calibration)
    if checkpoint.canonical_focal_px is not None:
        make_canonical(model, checkpoint.canonical_focal_px)
    return model.eval().to(device)


def load_weights(model: DepthModel, state: Mapping[str, Tensor], *, source: str) -> None:
    """Put `state` into `model`; every key and every shape must match.

    Args:
        model: Network to fill in place.
        state: Weights and buffers by name.
        source: Where they come from, for the error message.

    Raises:
        CheckpointError: Keys are missing, surplus or of another shape, or values are NaN or
            infinite; nothing was loaded.
    """
    own = model.state_dict()
    if found := differences(state, own):
        message = found.message(
            f'{source} does not fit {model.spec.name} with options {dict(model.options)}:',
            'Nothing was loaded; use the file of this model, or the options it was made with.',
        )
        raise CheckpointError(message)
    refuse_unusable(state, own, source=source)
    model.load_state_dict(dict(state))
