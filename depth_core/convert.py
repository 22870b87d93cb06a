# SPDX-License-Identifier: Apache-2.0
"""Convert official weights: `python -m depth_core.convert`.

Strict both ways: every weight of the network must be in the file, and every weight of the file
must have a place in the network, except what is known to be dead weight. What the authors'
network lacks (the head for sigma) is added at neutral values.
"""

from __future__ import annotations

import hashlib
import inspect
import itertools
import pickle
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import h5py
import torch
from jsonargparse import ArgumentError, ArgumentParser
from torch import Tensor

from depth_core.errors import CheckpointError, ConfigError, run_command, unknown_name
from depth_core.models import create_model, densedepth
from depth_core.models.base import DepthModel
from depth_core.models.weights import save_model

_KEYS_SHOWN: Final = 10
_HDF5_SIGNATURE: Final = b'\x89HDF\r\n\x1a\n'
_NOT_ASKED: Final[set[str | int]] = {'pretrained'}
_STATE_NAMES: Final = ('state_dict', 'model_state_dict', 'model')


@dataclass(frozen=True, kw_only=True)
class _Family:
    """How the official weights of a family map onto ours."""

    builder: Callable[..., DepthModel]
    """Its name is the name of the model; its options say which network the file holds."""
    official_key: Callable[[str], str]
    """Our key to theirs."""
    dropped_keys: tuple[str, ...] = ()
    """Keys of theirs that are knowingly left behind."""
    keras_name: Callable[[str], str | None] | None = None
    """Their PyTorch key to `layer/parameter` of their Keras file; None where there is none."""


_FAMILIES: Final[Mapping[str, _Family]] = {
    'densedepth': _Family(
        builder=densedepth.densedepth,
        official_key=densedepth.official_key,
        dropped_keys=densedepth.DROPPED_KEYS,
        keras_name=densedepth.keras_name,
    ),
}


def convert_state_dict(
    family: str, official: Mapping[str, Tensor], **options: object
) -> dict[str, Tensor]:
    """Bring an official state dict into the form `create_model(...).load_state_dict` takes.

    Args:
        family: One of those that have official weights.
        official: The authors' keys (a `module.` before all of them is left out) and tensors.
        **options: Options of the model when the weights are not of its default form.

    Returns:
        Every key of our network: new CPU tensors. Its own additions are neutral and always the
        same (`DepthModel.own_state`).

    Raises:
        CheckpointError: Keys are missing or surplus, or shapes differ: the first ten, the count.
        ConfigError: The family or an option is unknown.
    """
    entry = _family(family)
    model = _skeleton(entry, options)
    own_state = model.own_state()
    if official and all(key.startswith('module.') for key in official):
        official = {key.removeprefix('module.'): value for key, value in official.items()}
    expected = {
        entry.official_key(key): (key, value)
        for key, value in model.state_dict().items()
        if key not in own_state
    }
    shapes = [
        f'{key} (given {tuple(value.shape)}, network {tuple(expected[key][1].shape)})'
        for key, value in official.items()
        if key in expected and value.shape != expected[key][1].shape
    ]
    faults = [
        *_listed('missing', (key for key in expected if key not in official)),
        *_listed(
            'surplus',
            (key for key in official if key not in expected and key not in entry.dropped_keys),
        ),
        *_listed('of another shape', shapes),
    ]
    if faults:
        message = (
            f'these are not the official weights of {model.spec.name} as it was asked for:\n  '
            + '\n  '.join(faults)
            + '\nGive the file of this family, or the options of the network it was saved from.'
        )
        raise CheckpointError(message)
    converted = {
        key: official[name]
        .detach()
        .to('cpu', like.dtype)
        .clone(memory_format=torch.preserve_format)
        for name, (key, like) in expected.items()
    }
    return converted | own_state


def read_official(family: str, path: Path | str, **options: object) -> dict[str, Tensor]:
    """Read an official weight file: PyTorch, or Keras HDF5 where the authors published that.

    Args:
        family: One of those that have official weights.
        path: The file.
        **options: As for `convert_state_dict`.

    Returns:
        The authors' PyTorch keys and tensors, for `convert_state_dict`. Arrays of a Keras file
        that have no PyTorch key keep their Keras name.

    Raises:
        CheckpointError: The file is missing, truncated, or of another kind.
        ConfigError: The family or an option is unknown.
    """
    entry = _family(family)
    path = Path(path)
    if not path.is_file():
        message = f'official weights {path}: there is no such file; check the path.'
        raise CheckpointError(message)
    with path.open('rb') as file:
        is_hdf5 = file.read(len(_HDF5_SIGNATURE)) == _HDF5_SIGNATURE
    if not is_hdf5:
        return _read_pytorch(path)
    if entry.keras_name is None:
        message = f'{path} is an HDF5 file; official weights of {family} are PyTorch files.'
        raise CheckpointError(message)
    own_state, expected = (model := _skeleton(entry, options)).own_state(), model.state_dict()
    keys = [entry.official_key(key) for key in expected if key not in own_state]
    return _from_keras(_read_keras(path), keys, entry.keras_name)


def _family(name: str) -> _Family:
    if name not in _FAMILIES:
        raise ConfigError(unknown_name('family of official weights', name, _FAMILIES))
    return _FAMILIES[name]


def _skeleton(entry: _Family, options: Mapping[str, object]) -> DepthModel:
    """Build the network without memory for its weights: only names and shapes are needed."""
    with torch.device('meta'):
        return create_model(entry.builder.__name__, **options)


def _listed(rule: str, keys: Iterable[str]) -> list[str]:
    found = list(keys)
    if not found:
        return []
    more = f', and {len(found) - _KEYS_SHOWN} more' if len(found) > _KEYS_SHOWN else ''
    return [f'{len(found)} {rule}: {", ".join(found[:_KEYS_SHOWN])}{more}']


def _read_pytorch(path: Path) -> dict[str, Tensor]:
    try:
        content = torch.load(path, map_location='cpu', weights_only=True)
    except (
        pickle.UnpicklingError,
        RuntimeError,
        OSError,
        EOFError,
        ValueError,
        KeyError,
    ) as error:
        message = (
            f'{path} ({path.stat().st_size} bytes) is neither an HDF5 file nor a complete PyTorch '
            'file that holds only tensors; check the path, or download it again.'
        )
        raise CheckpointError(message) from error
    if isinstance(content, Mapping) and 'format' in content and 'options' in content:
        message = f'{path} is a checkpoint of this package already; it needs no conversion.'
        raise CheckpointError(message)
    for name in _STATE_NAMES:
        if isinstance(content, Mapping) and isinstance(content.get(name), Mapping):
            content = content[name]
    if not isinstance(content, Mapping) or not all(
        isinstance(value, Tensor) for value in content.values()
    ):
        message = f'{path} holds no state dict (names and tensors); save model.state_dict().'
        raise CheckpointError(message)
    return {str(key): value for key, value in content.items()}


def _read_keras(path: Path) -> dict[str, Tensor]:
    """Read the weights of a Keras model file by `layer/parameter`; needs no Keras.

    The file lists its layers in an attribute of `model_weights` (of the root, when only weights
    were saved), and each layer its arrays; `/` in a layer's name becomes `_`.
    """
    try:
        with h5py.File(path, 'r') as file:
            root = file.get('model_weights', file)
            arrays: dict[str, Tensor] = {}
            for layer in _names(root, 'layer_names'):
                group = root[layer]
                for name in _names(group, 'weight_names'):
                    parameter = name.rsplit('/', 1)[-1].split(':')[0]
                    array = torch.from_numpy(group[name][()])
                    arrays[f'{layer.replace("/", "_")}/{parameter}'] = array
            return arrays
    except (OSError, KeyError, RuntimeError, TypeError, AttributeError) as error:
        message = (
            f'{path} ({path.stat().st_size} bytes) is no complete Keras weight file ({error}); '
            'download it again: the published ones have about 173 MB.'
        )
        raise CheckpointError(message) from error


def _names(group: h5py.Group, attribute: str) -> list[str]:
    """Names that Keras stores as one attribute, or numbered ones where HDF5 limits its size."""
    if attribute in group.attrs:
        chunks = [group.attrs[attribute]]
    else:
        count = sum(name.startswith(attribute) for name in group.attrs)
        chunks = [group.attrs[f'{attribute}{index}'] for index in range(max(count, 1))]
    return [
        name.decode() if isinstance(name, bytes) else str(name) for part in chunks for name in part
    ]


def _from_keras(
    arrays: dict[str, Tensor], keys: Sequence[str], keras_name: Callable[[str], str | None]
) -> dict[str, Tensor]:
    official = {}
    remaining = dict(arrays)
    for key in keys:
        name = keras_name(key)
        if name is None:
            official[key] = torch.zeros((), dtype=torch.int64)  # the batch counter, unused at 0
        elif name in remaining:
            array = remaining.pop(name)
            is_kernel = array.ndim == 4  # noqa: PLR2004  H, W, I, O
            official[key] = array.permute(3, 2, 0, 1).contiguous() if is_kernel else array
    return official | remaining


def main(arguments: Sequence[str] | None = None) -> None:
    """Read official weights, convert them, write a checkpoint."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    settings = _parse(given)
    family, source, output = settings.pop('family'), settings.pop('source'), settings.pop('output')
    official = read_official(family, source, **settings)
    model = create_model(_FAMILIES[family].builder.__name__, **settings)
    model.load_state_dict(convert_state_dict(family, official, **settings))
    digest = hashlib.sha256(Path(source).read_bytes()).hexdigest()
    provenance = {'converted_from': Path(source).name, 'sha256': digest, 'family': family}
    save_model(output, model, provenance=provenance)
    count = sum(parameter.numel() for parameter in model.parameters())
    sys.stdout.write(
        f'{output}: {model.spec.name}, {count / 1e6:.1f} M parameters, depth '
        f'{model.spec.min_depth} to {model.spec.max_depth} m; sigma is 0.2 depth until trained\n'
    )


def _parse(given: Sequence[str]) -> dict[str, Any]:
    parser = ArgumentParser(
        prog='python -m depth_core.convert',
        description='Convert official weights into a checkpoint of this package. '
        '--family NAME --help shows the options of that network; depths are metres.',
        exit_on_error=False,
        allow_abbrev=False,
    )
    parser.add_argument('--family', required=True, help=f'One of: {", ".join(_FAMILIES)}.')
    parser.add_argument('--source', type=str, required=True, help='Official weight file.')
    parser.add_argument('--output', type=str, required=True, help='Checkpoint to write, .ckpt.')
    family = _value_of('--family', given)
    known = ['--family', '--source', '--output', '--help']
    if family is not None:
        parser.add_function_arguments(_family(family).builder, skip=_NOT_ASKED)
        parameters = inspect.signature(_family(family).builder).parameters
        known += [f'--{name}' for name in parameters if name not in _NOT_ASKED]
    for option in (argument.partition('=')[0] for argument in given):
        if option.startswith('--') and option not in known:
            raise ConfigError(unknown_name('option', option, known))
    try:
        return parser.parse_args(list(given)).as_dict()
    except ArgumentError as error:
        reason = ' '.join(str(error).split()).rstrip('.')
        message = f'{reason}. See python -m depth_core.convert --family NAME --help.'
        raise ConfigError(message) from error


def _value_of(option: str, given: Sequence[str]) -> str | None:
    for argument, after in itertools.pairwise([*given, '']):
        if argument == option:
            return after
        if argument.startswith(f'{option}='):
            return argument.removeprefix(f'{option}=')
    return None


if __name__ == '__main__':
    run_command(main)
