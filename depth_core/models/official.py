# SPDX-License-Identifier: Apache-2.0
"""How published weights of a family map onto its network here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from torch import Tensor

from depth_core.models.base import DepthModel

Keep = Callable[[str], bool]
"""Says of a key of the authors whether it belongs to a part."""


def everything(key: str) -> bool:
    """Keep every key."""
    del key
    return True


def nothing(key: str) -> bool:
    """Keep no key."""
    del key
    return False


@dataclass(frozen=True, kw_only=True)
class OfficialWeights:
    """One published network: how its files are named, and what of them has no place here.

    A file is read in three steps: `to_authors` brings any published naming to that of the
    authors' own code, `official_key` says which of those keys a weight of ours takes, and
    everything that is left must be `dropped` knowingly.
    """

    builder: Callable[..., DepthModel]
    """Its name is the name of the model; its options say which network the file holds."""
    official_key: Callable[[str], str]
    """Our key to the authors'; one to one."""
    dropped: Keep = nothing
    """Keys of the authors that are knowingly left behind."""
    to_authors: Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]] = dict
    """Other published namings to the authors' own; what is in none of them stays as it is."""
    parts: Mapping[str, Keep] = field(default_factory=dict)
    """Published files that hold only part of the network, by name: which of the authors' keys
    they hold. The rest of the network keeps the weights it is built with."""
    keras_name: Callable[[str], str | None] | None = None
    """The authors' PyTorch key to `layer/parameter` of their Keras file; None where there is
    none."""
