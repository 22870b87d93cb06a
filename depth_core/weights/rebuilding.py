# SPDX-License-Identifier: Apache-2.0
"""Build the network that a checkpoint names, by options that anybody may have written.

The options must not make the process fetch or read anything, nor take more memory than the
weights that were stored account for.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn.modules.module import (
    register_module_buffer_registration_hook,
    register_module_parameter_registration_hook,
)

from depth_core.errors import CheckpointError, DepthError
from depth_core.models import create_model, default_options, without_weights
from depth_core.models.base import DepthModel

_SPARE_BYTES: Final = 512 << 20
"""What a network may take beside its weights: tables made anew, parts that are cut off."""
_SPARE_TENSORS: Final = 4000
_TIMES: Final = 4
"""Of what is stored: encoders are built whole before their classifier is left out."""


def rebuild(
    name: str, options: Mapping[str, object], state: Mapping[str, Tensor], *, source: str
) -> DepthModel:
    """Build the network `name` with `options`, without its weights.

    Args:
        name: Registry name of the model.
        options: Of `create_model`. Those that say where weights come from are not followed: a
            checkpoint brings its weights along.
        state: The weights it is to get.
        source: Where all this comes from, for the error message.

    Raises:
        CheckpointError: The network cannot be built, or would be larger than its weights.
        ConfigError: The model or an option is unknown, or of a wrong type.
        ModelError: An option names a part that does not exist.
    """
    options = without_weights(name, options)
    limits = _Limits(
        source=source,
        bytes=_TIMES * sum(value.nbytes for value in state.values()) + _SPARE_BYTES,
        tensors=_TIMES * len(state) + _SPARE_TENSORS,
    )
    try:
        if _is_larger(options, default_options(name)):
            _try_on_meta(name, options, limits)
        with _kept(limits):
            return create_model(name, **options)
    except DepthError:
        raise
    except Exception as error:  # builders check their own numbers; others' code may not
        said = ' '.join(str(error).split())[:300]
        message = (
            f'{source} names the model {name} with options of which it cannot be built '
            f'({type(error).__name__}: {said}); make the checkpoint again.'
        )
        raise CheckpointError(message) from error


@dataclass(frozen=True, kw_only=True)
class _Limits:
    """The largest network that is built for some weights."""

    source: str
    bytes: int
    """Of all its parameters and buffers."""
    tensors: int
    """How many these are."""

    def refuse(self, tensors: int, size: int) -> None:
        if tensors > self.tensors or size > self.bytes:
            message = (
                f'{self.source} names options of a network of more than {tensors} tensors and '
                f'{size} bytes, and holds weights for one of less than {self.tensors} and '
                f'{self.bytes}; make the checkpoint again.'
            )
            raise CheckpointError(message)


def _try_on_meta(name: str, options: Mapping[str, object], limits: _Limits) -> None:
    """Build the network where tensors have a shape and no memory, to see how large it is."""
    what_meta_tensors_cannot_do = contextlib.suppress(RuntimeError, NotImplementedError)
    with what_meta_tensors_cannot_do, _kept(limits), torch.device('meta'):
        create_model(name, **options)


def _is_larger(given: object, usual: object) -> bool:
    """Whether any number is above the one it stands for; one without a default counts as such."""
    if isinstance(given, Mapping):
        named = usual if isinstance(usual, Mapping) else {}
        return any(_is_larger(value, named.get(key)) for key, value in given.items())
    if isinstance(given, (list, tuple)):
        listed = usual if isinstance(usual, (list, tuple)) else ()
        most = max((item for item in listed if isinstance(item, (int, float))), default=0)
        return len(given) > max(len(listed), 1) or any(_is_larger(item, most) for item in given)
    if isinstance(given, bool) or not isinstance(given, (int, float)):
        return False
    return not isinstance(usual, (int, float)) or given > usual


@contextlib.contextmanager
def _kept(limits: _Limits) -> Iterator[None]:
    """Count what this thread builds, and stop before what is too large is filled.

    Raises:
        CheckpointError: The parameters and buffers together are too large or too many.
    """
    own = threading.get_ident()
    tensors = size = 0

    def count(_module: nn.Module, _key: str, value: Tensor | None) -> None:
        nonlocal tensors, size
        if value is not None and threading.get_ident() == own:
            tensors, size = tensors + 1, size + value.nbytes
            limits.refuse(tensors, size)

    hooks = (
        register_module_parameter_registration_hook(count),
        register_module_buffer_registration_hook(count),
    )
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
