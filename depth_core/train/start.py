# SPDX-License-Identifier: Apache-2.0
"""The network a run starts with: built, and filled with the weights it goes on from.

Weights mean something only with the options they were trained with. Those that are not asked for
are taken from the checkpoint; those that are asked for otherwise are refused, unless they change
the form of the network (then the lists of what may differ say what is left), can be rescaled
exactly, or are named as knowingly other.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

from depth_core.errors import CheckpointError, ConfigError, DepthError, unknown_name
from depth_core.models import FAMILIES, NETWORKS, WEIGHT_OPTIONS
from depth_core.shipped import find_checkpoint
from depth_core.train.freezing import freeze_norms
from depth_core.train.memory import checkpoint_activations
from depth_core.train.recipes import TrainingStep
from depth_core.train.run_folder import find_resumed
from depth_core.train.settings import ModelSettings, TrainerSettings, TrainSettings
from depth_core.weights.checkpoint import Checkpoint
from depth_core.weights.partial import MayDiffer, fit_partly, placed_in

_LOG = logging.getLogger(__name__)
_IMAGES_NDIM: Final = 4
_RANGE: Final = ('min_depth', 'max_depth')
_LISTS: Final = (
    '\n  To take over the rest all the same, name what may start anew in model.weights_missing '
    'and what may be left over in model.weights_left_over, as [decoder.*].'
)


def read_start(settings: TrainSettings) -> tuple[TrainSettings, Checkpoint | None]:
    """Read the weights a run starts from, and complete its settings by what they state.

    A run that is continued has its own weights: those it began with are left alone.

    Returns:
        The settings, with the path of the weights in place of a name and with every option of the
        network that the checkpoint states and the settings do not; and the checkpoint, None
        without model.weights.

    Raises:
        ModelError: The weights are a graph, or no shipped model has that name.
        CheckpointError: They cannot be read, or are those of another network.
    """
    chosen = settings.model
    if chosen.weights is not None and settings.trainer.resume is not None:
        return _begun_with_weights(settings, settings.trainer), None
    if chosen.weights is None:
        _refuse_lists_without_weights(chosen)
        return settings, None
    path = find_checkpoint(chosen.weights)
    source = settings.recipe.read(path)
    may = _may_differ(chosen)
    if source.name != chosen.name and not may:
        raise CheckpointError(_other_network(path, source.name, chosen.name))
    options = dict(chosen.options)
    if source.name == chosen.name:
        options = {**source.options, **options}
        if not may:  # what would be overwritten is neither read nor downloaded
            options |= {key: value for key, value in WEIGHT_OPTIONS.items() if key in options}
        _say_what_is_taken(path, chosen, source)
    completed = replace(chosen, weights=path, options=options)
    return replace(settings, model=completed), source


def _begun_with_weights(settings: TrainSettings, trainer: TrainerSettings) -> TrainSettings:
    """The settings of a run that began with model.weights and is continued: those are not read.

    What the weights stated of the network is taken from the run.
    """
    path, chosen = find_resumed(trainer), settings.model
    run: Mapping[str, Any] = {}
    if path is not None:
        run = settings.recipe.read(path).training or {}
    stored = run.get('settings', {}).get('model', {}).get('options', {})
    given = {key: value for key, value in chosen.options.items() if key not in WEIGHT_OPTIONS}
    _LOG.info('%s is continued; model.weights, with which it began, is not read again', path)
    continued = ModelSettings(name=chosen.name, options={**chosen.options, **stored, **given})
    return replace(settings, model=continued)


def open_training_step(settings: TrainSettings, source: Checkpoint | None) -> TrainingStep[Any]:
    """Build the network, with all it is trained with, in training mode.

    Args:
        settings: As `read_start` completed them.
        source: The weights it starts from; None = as it is built.

    Raises:
        ConfigError: Settings do not go with the network.
        CheckpointError: The weights do not fit it, or mean something else with its options.
    """
    chosen, data, recipe = settings.model, settings.data, settings.recipe
    model = recipe.create(chosen.name, chosen.options, size=(data.height, data.width))
    if data.canonical_focal_px is not None:
        recipe.make_canonical(model, data.canonical_focal_px)
    problems = recipe.problems(model)
    if problems:
        raise ConfigError('these settings cannot be used:\n  ' + '\n  '.join(problems))
    if source is not None and chosen.weights is not None:
        _warn_of_other_focal(source, data.canonical_focal_px, chosen.weights)
        state = _with_other_options(settings, source, chosen.weights)
        if chosen.weights_part is not None:
            state = placed_in(chosen.weights_part, state, model)
        if may := _may_differ(chosen):
            fit = fit_partly(state, model.state_dict(), may, source=str(chosen.weights))
            _LOG.info('%s: %s', chosen.weights, fit.summary)
            state = fit.state
        try:
            recipe.load(model, state, source=str(chosen.weights))
        except CheckpointError as error:
            message = f'{error}{_LISTS}'
            raise CheckpointError(message) from error
    if settings.trainer.activation_checkpointing:
        _checkpoint_activations(model, chosen.name)
    training_step = recipe.open(model)
    if settings.trainer.channels_last:
        use_channels_last(training_step)
    training_step.train()
    if settings.optimizer.frozen_norm:
        freeze_norms(training_step)
    return training_step


def use_channels_last(module: nn.Module) -> None:
    """Keep the kernels of 2D convolutions in NHWC order in memory."""
    for weight in module.parameters():
        if weight.ndim == _IMAGES_NDIM:  # those of 3D convolutions stay as they are
            data = weight.data.contiguous(memory_format=torch.channels_last)
            _, channels, height, width = data.shape
            # Kernels of one channel count as contiguous in both orders; their gradients come in
            # this one, and processes that share them warn of strides that differ.
            strides = (channels * height * width, 1, width * channels, channels)
            weight.data = data.as_strided(data.shape, strides)


def _checkpoint_activations(model: nn.Module, name: str) -> None:
    blocks = checkpoint_activations(model)
    if not blocks:
        message = (
            f'trainer.activation_checkpointing is true, and {name} has no blocks to compute '
            'again; leave it out.'
        )
        raise ConfigError(message)
    _LOG.info('%s: %d blocks keep only their input', name, blocks)


def _may_differ(chosen: ModelSettings) -> MayDiffer:
    return MayDiffer(missing=chosen.weights_missing, left_over=chosen.weights_left_over)


def _refuse_lists_without_weights(chosen: ModelSettings) -> None:
    for name in (
        'weights_part', 'weights_missing', 'weights_left_over', 'weights_other_options'
    ):  # fmt: skip
        if given := getattr(chosen, name):
            message = (
                f'model.{name} is {given}, but there is no model.weights that it is about; give '
                'a checkpoint, or leave it out.'
            )
            raise ConfigError(message)


def _other_network(path: Path, held: str, asked: str) -> str:
    families = {network.name: family.name for family in FAMILIES for network in family.networks}
    of = f' of family {families[held]}' if held in families else ''
    remedy = f'give --model.name {held}' if held in families else 'give a checkpoint of it'
    return (
        f'{path} holds the weights of {held}{of}, and model.name is {asked}: nothing was loaded. '
        f'To go on training it, {remedy} and the recipe of its family; to take over a part that '
        'both have, as an encoder, name what may differ in model.weights_missing and '
        'model.weights_left_over.'
    )


def _say_what_is_taken(path: Path, chosen: ModelSettings, source: Checkpoint) -> None:
    taken = {
        key: value
        for key, value in source.options.items()
        if key not in chosen.options and key not in WEIGHT_OPTIONS
    }
    if taken:
        listed = ', '.join(f'{key} {value}' for key, value in taken.items())
        _LOG.info('options of %s that are not given are its own: %s', path, listed)


def _with_other_options(
    settings: TrainSettings, source: Checkpoint, path: Path
) -> Mapping[str, Tensor]:
    """The weights of `source`, rescaled where options ask for that.

    Raises:
        CheckpointError: An option differs that changes what they mean.
    """
    chosen = settings.model
    for option in chosen.weights_other_options:
        if option not in chosen.options:
            message = unknown_name('option in model.weights_other_options', option, chosen.options)
            raise ConfigError(message)
    differing = {
        key: (before, chosen.options[key])
        for key, before in source.options.items()
        if key in chosen.options
        and key not in WEIGHT_OPTIONS
        and _plain(before) != _plain(chosen.options[key])
        and not _changes_form(settings, source, key)
    }
    for option in chosen.weights_other_options:
        if option in differing:
            before, now = differing.pop(option)
            _LOG.warning(
                '%s was trained with %s %s, and model.options asks for %s: the first steps learn '
                'the difference', path, option, before, now,
            )  # fmt: skip
    if not differing:
        return source.state
    changes = ', '.join(f'{key} {a} to {b}' for key, (a, b) in differing.items())
    rescale = NETWORKS[chosen.name].rescale if chosen.name in NETWORKS else None
    if rescale is None or not set(differing) <= set(_RANGE):
        names = ' '.join(f'--model.options.{key} {a}' for key, (a, _) in differing.items())
        listed = ', '.join(differing)
        message = (
            f'{path} was trained with other options: {changes}. Its weights fit, but every '
            f'prediction would change, and that of {chosen.name} cannot be rescaled exactly. Keep '
            f'its own ({names}), or name what may change in model.weights_other_options as '
            f'[{listed}]: the first steps then learn the difference.'
        )
        raise CheckpointError(message)
    before_m, after_m = (_range_of(options) for options in (source.options, chosen.options))
    _LOG.info('%s: rescaled exactly for %s; depths within both ranges stay', path, changes)
    return rescale(source.state, before_m, after_m)


def _changes_form(settings: TrainSettings, source: Checkpoint, option: str) -> bool:
    """Whether an option alone changes names or shapes of weights, so that these say it."""
    chosen, size = settings.model, (settings.data.height, settings.data.width)
    if source.name != chosen.name:
        return True
    shapes = []
    for value in (source.options[option], chosen.options[option]):
        options = {**source.options, option: value}
        try:
            with torch.device('meta'):
                built = settings.recipe.create(chosen.name, options, size=size)
        except DepthError:  # only several options together are a network
            return True
        shapes.append({key: weight.shape for key, weight in built.state_dict().items()})
    return shapes[0] != shapes[1]


def _range_of(options: Mapping[str, Any]) -> tuple[float, float]:
    low, high = (float(options[key]) for key in _RANGE)
    return low, high


def _plain(value: object) -> object:
    """Sequences alike, as files have lists where builders have tuples."""
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def _warn_of_other_focal(source: Checkpoint, focal_px: float | None, path: Path) -> None:
    """Say that weights state the depth of another focal length than they are to be trained for."""
    was_px = source.canonical_focal_px
    if was_px == focal_px or (was_px is None and not source.provenance):
        return
    before, now = (
        'metres, without a canonical focal length'
        if length is None
        else f'depth of a canonical focal length of {length:g} px'
        for length in (was_px, focal_px)
    )
    _LOG.warning(
        '%s was trained to state %s, and data.canonical_focal_px asks for %s: the first steps '
        'only learn the other scale; set it to that of the weights to keep theirs',
        path,
        before,
        now,
    )
