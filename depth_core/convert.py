# SPDX-License-Identifier: Apache-2.0
"""Convert official weights: `python -m depth_core.convert`.

Strict both ways: every weight of the network must be in the file, and every weight of the file
must have a place in the network, except what is known to be dead weight. What the authors'
network lacks (such as a head for sigma) is added at neutral values.
"""

from __future__ import annotations

import hashlib
import inspect
import itertools
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from jsonargparse import ArgumentError, ArgumentParser
from torch import Tensor

from depth_core.errors import CheckpointError, ConfigError, run_command, unknown_name
from depth_core.models import FAMILIES, NETWORKS, Network
from depth_core.names import printable
from depth_core.weights.checkpoint import save_model
from depth_core.weights.fit import OfficialFit, OfficialRequest, best_fit
from depth_core.weights.official_files import OfficialFile, read_official_file
from depth_core.weights.pose_file import (
    convert_pose_state_dict,
    identify_pose_network,
    save_pose_network,
)

_OFFICIAL: Final[Mapping[str, Network]] = {
    name: network for name, network in NETWORKS.items() if network.official is not None
}
"""The models that have official weights."""

_FAMILIES: Final[Mapping[str, Sequence[Network]]] = {
    name: official
    for family in FAMILIES
    if (official := [network for network in family.networks if network.name in _OFFICIAL])
    for name in (family.name, *family.aliases)
    if name not in _OFFICIAL
}
"""Families that are not named as one of their models: the weights decide which of them it is."""

_CHUNK_BYTES: Final = 2**24
_NOT_OFFERED: Final[set[str | int]] = {'pretrained'}
_OF_THE_COMMAND: Final = frozenset({'family', 'source', 'output', 'entry', 'part', 'pose_output'})


def convert_state_dict(
    name: str, official: Mapping[str, Tensor], *, part: str | None = None, **options: object
) -> dict[str, Tensor]:
    """Bring an official state dict into the form `create_model(...).load_state_dict` takes.

    Args:
        name: A model that has official weights, or a family, of which the one that fits is taken.
        official: Keys as the authors or a known port published them (a `module.` before all of
            them is left out) and tensors.
        part: Which part of the network the weights are, where they are not the whole; the rest
            keeps the weights it is built with, the same every time.
        **options: Options of the model when the weights are not of its default form.

    Returns:
        Every key of our network: new CPU tensors. Its own additions are neutral and always the
        same (`DepthModel.own_state`).

    Raises:
        CheckpointError: Keys are missing or surplus, or shapes differ: the first ten, the count.
        ConfigError: The model, the part or an option is unknown.
    """
    return best_fit(_requests(name, part, options), official).converted()


def mismatches(
    name: str, official: Mapping[str, Tensor], *, part: str | None = None, **options: object
) -> list[str]:
    """Say what keeps official weights from being converted; nothing when they fit.

    Only names and shapes are looked at: tensors on the meta device do.

    Args:
        name: As for `convert_state_dict`, and so are the others.
        official: Names and tensors.
        part: Which part of the network they are.
        **options: Options of the model.

    Returns:
        A line for each way in which they differ: the first ten names and the count.
    """
    return best_fit(_requests(name, part, options), official).differences.lines


def read_official(name: str, path: Path | str, **options: object) -> dict[str, Tensor]:
    """Read official weights: PyTorch, safetensors, or Keras HDF5 where the authors published that.

    Args:
        name: A model or family that has official weights.
        path: The file, or a folder of files.
        **options: As for `convert_state_dict`.

    Returns:
        Keys and tensors for `convert_state_dict`. Arrays of a Keras file that have no PyTorch key
        keep their Keras name.

    Raises:
        CheckpointError: The file is missing, truncated, of another kind, or would call something.
        ConfigError: The model or an option is unknown.
    """
    return _official_names(read_official_file(path), _requests(name, None, options)[0])


def _requests(name: str, part: str | None, options: Mapping[str, object]) -> list[OfficialRequest]:
    models = _models(name)
    taking = [model for model in models if options.keys() <= _parameters(model).keys()]
    return _distinct(  # where none takes them, the model says which
        OfficialRequest(network=model, part=part, options={**variant, **options})
        for model in taking or models
        for variant in model.weights.variants
    )


def _distinct(requests: Iterable[OfficialRequest]) -> list[OfficialRequest]:
    """Each once: an option that is given may overrule the one in which two variants differ."""
    found: list[OfficialRequest] = []
    for request in requests:
        if request not in found:
            found.append(request)
    return found


def _models(name: str) -> Sequence[Network]:
    """The networks that the name of a model or family stands for."""
    if name in _OFFICIAL:
        return [_OFFICIAL[name]]
    if name not in _FAMILIES:
        known = [*_OFFICIAL, *_FAMILIES]
        raise ConfigError(unknown_name('model or family with official weights', name, known))
    return _FAMILIES[name]


def _official_names(file: OfficialFile, request: OfficialRequest) -> dict[str, Tensor]:
    """Bring the names and axes of a Keras file to those of the authors' PyTorch class."""
    keras_name = request.network.weights.keras_name
    if not file.is_keras:
        return dict(file.tensors)
    if keras_name is None:
        message = (
            f'{file.paths[0]} is an HDF5 file; the official weights of {request.name} are '
            'published for PyTorch.'
        )
        raise CheckpointError(message)
    own_state, expected = (model := request.skeleton()).own_state(), model.state_dict()
    official = {}
    remaining = dict(file.tensors)
    for key in (
        request.network.weights.official_key(key) for key in expected if key not in own_state
    ):
        name = keras_name(key)
        if name is None:
            official[key] = torch.zeros((), dtype=torch.int64)  # the batch counter, unused at 0
        elif name in remaining:
            array = remaining.pop(name)
            is_kernel = array.ndim == 4  # noqa: PLR2004  H, W, I, O
            official[key] = array.permute(3, 2, 0, 1).contiguous() if is_kernel else array
    return official | remaining


# The command


def main(arguments: Sequence[str] | None = None) -> None:
    """Read official weights, convert them, write a checkpoint."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    command = _parse(given)
    source, output, requests = command.source, command.output, command.requests
    for path in filter(None, (output, command.pose_output)):
        if path.exists() and source.exists() and path.samefile(source):
            message = f'the output {path} is the official file itself; give another name.'
            raise ConfigError(message)
    file = read_official_file(source, entry=command.entry)
    official = _official_names(file, requests[0])
    fit = best_fit(requests, official)
    model = fit.model
    model.load_state_dict(fit.converted(str(source)), assign=True)
    pose = None if command.pose_output is None else _pose_network(official, source)
    origin = {'converted_from': source.resolve().name, 'sha256': _sha256(file.paths)}
    provenance = {**origin, 'family': model.spec.family, 'part': fit.request.part}
    provenance |= {} if file.entry is None else {'entry': file.entry}
    save_model(output, model, provenance=provenance)
    sys.stdout.write(f'{printable(output)}: {printable(_summary(fit) + _entry_read(file))}\n')
    if pose is not None and command.pose_output is not None:
        name, state = pose
        save_pose_network(command.pose_output, name, state, provenance=origin)
        sys.stdout.write(f'{printable(command.pose_output)}: pose network {name}\n')


def _pose_network(official: Mapping[str, Tensor], source: Path) -> tuple[str, dict[str, Tensor]]:
    name = identify_pose_network(official)
    if name is None:
        message = f'{source} holds no pose network; leave out --pose_output.'
        raise CheckpointError(message)
    return name, convert_pose_state_dict(name, official)


def _summary(fit: OfficialFit) -> str:
    spec = fit.model.spec
    count = sum(parameter.numel() for parameter in fit.model.parameters())
    text = (
        f'{spec.name}, {count / 1e6:.1f} M parameters, depth {spec.min_depth} to '
        f'{spec.max_depth} m'
    )
    if fit.request.part is not None:
        text += (
            f'; only {len(fit.expected)} tensors of the part {fit.request.part} come from the '
            'file, the rest is untrained'
        )
    own = sorted({key.split('.')[0] for key in fit.model.own_state()})
    if own:
        text += f'; {", ".join(own)} neutral until trained, since the file has none'
    return text


def _entry_read(file: OfficialFile) -> str:
    """Say which entry was read where the file has others that could be meant."""
    if not file.others:
        return ''
    remedies = ' or '.join(f'--entry {name}' for name in file.others)
    return (
        f'; read from the entry {file.entry} of the file, which has {", ".join(file.others)} too: '
        f'{remedies} reads that'
    )


def _sha256(paths: Iterable[Path]) -> str:
    """Hash the content of `paths`, one after the other."""
    digest = hashlib.sha256()
    for path in paths:
        with path.open('rb') as file:
            while chunk := file.read(_CHUNK_BYTES):
                digest.update(chunk)
    return digest.hexdigest()


@dataclass(frozen=True, kw_only=True)
class _Command:
    """What the command line states."""

    source: Path
    output: Path
    pose_output: Path | None
    entry: str | None
    """Of the file, where it is not the usual one."""
    requests: Sequence[OfficialRequest]
    """One for each model that the name given may stand for."""


def _parse(given: Sequence[str]) -> _Command:
    """Read the command line once for each model that the name given may stand for."""
    name = _value_of('--family', given)
    if name is None:
        _parse_with(_parser(None), given)
    models = _models(name or '')
    named = [re.split('[=.]', argument)[0] for argument in given if argument.startswith('--')]
    known = {option for model in models for option in _options_of(model)}
    for option in named:
        if option not in known:
            raise ConfigError(unknown_name('option', option, known))
    requests = []
    settings: dict[str, Any] = {}
    for model in models:
        if not _options_of(model).issuperset(named):
            continue
        for variant in model.weights.variants:
            parser = _parser(model)
            parser.set_defaults(dict(variant))
            settings = _parse_with(parser, given)
            options = {key: settings[key] for key in settings if key not in _OF_THE_COMMAND}
            part = settings.get('part')
            requests.append(OfficialRequest(network=model, part=part, options=options))
    if not requests:
        message = f'no single model of {name} takes all of {", ".join(named)}.'
        raise ConfigError(message)
    pose_output = settings.get('pose_output')
    return _Command(
        source=Path(settings['source']),
        output=Path(settings['output']),
        pose_output=None if pose_output is None else Path(pose_output),
        entry=settings.get('entry'),
        requests=_distinct(requests),
    )


def _options_of(model: Network) -> set[str]:
    """Every option of the command line for `model`."""
    names = {'family', 'source', 'output', 'entry', 'help'} | (
        _parameters(model).keys() - _NOT_OFFERED
    )
    names |= {'part'} if model.weights.parts else set()
    names |= {'pose_output'} if model.weights.with_pose else set()
    return {f'--{name}' for name in names}


def _parameters(model: Network) -> Mapping[str, inspect.Parameter]:
    return inspect.signature(model.builder).parameters


def _parse_with(parser: ArgumentParser, given: Sequence[str]) -> dict[str, Any]:
    try:
        return parser.parse_args(list(given)).as_dict()
    except ArgumentError as error:
        reason = ' '.join(str(error).split()).rstrip('.')
        message = f'{reason}. See python -m depth_core.convert --family NAME --help.'
        raise ConfigError(message) from error


def _parser(model: Network | None) -> ArgumentParser:
    parser = ArgumentParser(
        prog='python -m depth_core.convert',
        description='Convert official weights into a checkpoint of this package. '
        '--family NAME --help shows the options of that network; depths are metres.',
        exit_on_error=False,
        allow_abbrev=False,
    )
    add = parser.add_argument
    names = ', '.join([*_OFFICIAL, *_FAMILIES])
    add('--family', required=True, help=f'Model or family, one of: {names}.')
    add('--source', type=str, required=True, help='Official weight file or folder.')
    add('--output', type=str, required=True, help='Checkpoint to write, .ckpt.')
    add('--entry', type=str, help='Entry of the file to read, as model_ema; else the usual one.')
    if model is None:
        return parser
    options = _options_of(model)
    if '--part' in options:
        parts = ', '.join(model.weights.parts)
        add('--part', type=str, help=f'What the file holds, if not the whole network: {parts}.')
    if '--pose_output' in options:
        add('--pose_output', type=str, help='Write the pose network of the file too, to here.')
    parser.add_function_arguments(model.builder, skip=_NOT_OFFERED)
    return parser


def _value_of(option: str, given: Sequence[str]) -> str | None:
    for argument, after in itertools.pairwise([*given, '']):
        if argument == option:
            return after
        if argument.startswith(f'{option}='):
            return argument.removeprefix(f'{option}=')
    return None


if __name__ == '__main__':
    run_command(main)
