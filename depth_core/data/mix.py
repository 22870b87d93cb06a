# SPDX-License-Identifier: Apache-2.0
"""Several data sets as one, each sample with the number of the one it comes from, and its domain.

Training takes each batch from one data set, in turn, as often as its weight says; the shorter ones
come round more often (see `depth_core.train.stream`). What counts as depth in which of them is the
recipe's business.
"""

from __future__ import annotations

import logging
import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from itertools import accumulate
from pathlib import Path
from typing import Any, Final

import torch

from depth_core.data.registry import open_dataset
from depth_core.data.remarks import lost_of
from depth_core.data.sample import DepthDataset, Sample, sources_of
from depth_core.errors import ConfigError, unknown_name

_TURNS: Final = 100

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class MixPart:
    """One data set of a mix, as it is asked for."""

    name: str
    """Name of the data set."""
    root: Path | str | None = None
    """Folder or bag it is read from."""
    split: Path | str | None = None
    """List of its samples."""
    height: int | None = None
    """Rows of its samples; those of the mix when None."""
    width: int | None = None
    """Columns of its samples; those of the mix when None."""
    augmentation: str | Sequence[Mapping[str, Any]] | None = None
    """What its samples undergo in training, a name or a list; that of all when None."""
    weight: float = 1.0
    """How often its turn comes, relative to the others."""
    domain: str | None = None
    """Which domain of the network its samples are of, by name; several data sets may share one.
    None, then of all: the first is of the first domain, and so on."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Further options of that data set."""

    def __post_init__(self) -> None:
        if isinstance(self.weight, bool) or not isinstance(self.weight, (int, float)):
            message = f'weight of data set {self.name} is {self.weight!r}; give a number.'
            raise ConfigError(message)
        if not 0.0 < self.weight < math.inf:
            message = (
                f'weight of data set {self.name} is {self.weight}; give a number above 0, or '
                'leave the data set out.'
            )
            raise ConfigError(message)
        if self.domain is not None and not isinstance(self.domain, str):
            message = f'domain of data set {self.name} is {self.domain!r}; give a name.'
            raise ConfigError(message)

    def open(self) -> DepthDataset:
        """Open it.

        Raises:
            ConfigError: The data set or an option is unknown.
            DataError: The data is missing or malformed.
        """
        given: dict[str, Any] = {'root': self.root, 'split': self.split}
        given |= {'height': self.height, 'width': self.width}
        asked = {key: value for key, value in given.items() if value is not None}
        for key, value in asked.items():
            if key in self.options:
                message = (
                    f'data set {self.name} has {key} {value} and an option {key} '
                    f'{self.options[key]}; leave the option out.'
                )
                raise ConfigError(message)
        dataset = open_dataset(self.name, **asked, **self.options)
        lost = lost_of(dataset)
        if lost is not None:
            _LOG.warning('%s', lost)
        return dataset


class MixDataset:
    """Data sets one after another; `Sample.part` says which one it is, from 0.

    Args:
        parts: The data sets.
        weights: How often the turn of each comes in training; alike when None.
        domains: Index of the domain of each; when None each is one of its own.

    Raises:
        ConfigError: There is none.
    """

    def __init__(
        self,
        parts: Sequence[DepthDataset],
        weights: Sequence[float] | None = None,
        domains: Sequence[int] | None = None,
    ) -> None:
        if not parts:
            message = 'a mix of no data sets has no sample; name at least one.'
            raise ConfigError(message)
        self.parts = tuple(parts)
        self.domains = tuple(range(len(self.parts)) if domains is None else domains)
        self.turns = turns_of(weights or [1.0] * len(self.parts))
        self._ends = list(accumulate(len(part) for part in self.parts))

    def __len__(self) -> int:
        return self._ends[-1]

    def __getitem__(self, index: int) -> Sample:
        """The sample at `index` of all, in the order of the data sets."""
        if not -len(self) <= index < len(self):
            message = f'index {index} is outside a mix of {len(self)} samples.'
            raise IndexError(message)
        return self.of(*self._place(index))

    def sources(self, index: int) -> Sequence[Path]:
        """The files that the sample at `index` is made from."""
        part, place = self._place(index)
        return sources_of(self.parts[part], place)

    def _place(self, index: int) -> tuple[int, int]:
        """Which data set a sample is of, and its index there."""
        place = index % len(self)
        part = bisect_right(self._ends, place)
        return part, place - (self._ends[part] - len(self.parts[part]))

    def of(self, part: int, index: int) -> Sample:
        """The sample at `index` of data set number `part`."""
        return replace(
            self.parts[part][index],
            part=torch.tensor(part),
            domain=torch.tensor(self.domains[part]),
        )


def domains_of(parts: Sequence[MixPart], known: Sequence[str]) -> tuple[int, ...]:
    """Which domain each data set is of; where none is named, each is one of its own, in order.

    Args:
        parts: The data sets as they are asked for.
        known: Names of the domains of the network, in its order; none where it has no domains.

    Returns:
        Indices into `known`.

    Raises:
        ConfigError: A name is unknown, or only some of the data sets have one.
    """
    names = [part.domain for part in parts]
    if all(name is None for name in names):
        return tuple(range(len(parts)))
    for part in parts:
        if part.domain is None:
            message = (
                f'data set {part.name} of the mix has no domain, and others have; give one to '
                f'each ({", ".join(known)}), or to none.'
            )
            raise ConfigError(message)
        if not known:
            message = (
                f'data set {part.name} of the mix is of domain {part.domain!r}, but what is '
                'trained has no domains; leave domain out, or train a network with several heads '
                '(zoedepth_nk, or zoedepth_small with domains).'
            )
            raise ConfigError(message)
        if part.domain not in known:
            what = f'domain of data set {part.name}'
            raise ConfigError(unknown_name(what, part.domain, known))
    return tuple(known.index(str(name)) for name in names)


def turns_of(weights: Sequence[float]) -> tuple[int, ...]:
    """The order in which data sets take their turns, which is repeated.

    Turns of one data set are spread evenly. Equal weights give 0, 1, 2 ...; others are kept to one
    in a hundred, and each data set has a turn.

    Args:
        weights: One a data set, above 0.

    Returns:
        Indices of data sets, 100 at most unless there are more of them.
    """
    total = sum(weights)
    for length in range(len(weights), max(len(weights), _TURNS) + 1):
        shares = [weight * length / total for weight in weights]
        counts = [max(1, round(share)) for share in shares]
        exact = all(
            math.isclose(share, count, rel_tol=1e-6)
            for share, count in zip(shares, counts, strict=True)
        )
        if exact:
            break
    waiting = [0] * len(counts)
    order = []
    for _ in range(sum(counts)):
        waiting = [gone + count for gone, count in zip(waiting, counts, strict=True)]
        chosen = max(range(len(counts)), key=lambda place: (waiting[place], -place))
        waiting[chosen] -= sum(counts)
        order.append(chosen)
    return tuple(order)


def read_parts(
    datasets: Sequence[Mapping[str, Any]], *, height: int | None = None, width: int | None = None
) -> tuple[MixPart, ...]:
    """Read what a mix is made of.

    Args:
        datasets: One mapping a data set, with the keys of `MixPart`.
        height: Rows of samples, for those that do not say.
        width: Columns of samples, for those that do not say.

    Raises:
        ConfigError: It is no list of such mappings, or a key is unknown.
    """
    known = [item.name for item in fields(MixPart)]
    mappings = isinstance(datasets, Sequence) and all(isinstance(d, Mapping) for d in datasets)
    if not mappings or not all('name' in item for item in datasets):
        message = (
            f'datasets of a mix is {datasets!r}; give a list of mappings, each with a name, as '
            '[{name: nyu, root: data/nyu}, {name: kitti, root: data/kitti}].'
        )
        raise ConfigError(message)
    for item in datasets:
        for key in item:
            if key not in known:
                raise ConfigError(unknown_name('key of a data set in a mix', key, known))
        if item['name'] == 'mix':
            message = 'a mix cannot be part of a mix; list its data sets one by one.'
            raise ConfigError(message)
    size = {'height': height, 'width': width}
    return tuple(MixPart(**(size | dict(item))) for item in datasets)


def open_mix(
    *,
    datasets: Sequence[Mapping[str, Any]],
    height: int | None = None,
    width: int | None = None,
    domains: Sequence[str] = (),
) -> MixDataset:
    """Open several data sets as one.

    Args:
        datasets: One mapping a data set: name, and root, split, options, height, width, weight,
            augmentation, domain where it has them.
        height: Rows of samples, for those that do not say; native when None.
        width: Columns of samples, for those that do not say; native when None.
        domains: Names of the domains there are, in the order of `Sample.domain`.

    Raises:
        ConfigError: A data set, a key or an option is unknown.
        DataError: The data is missing or malformed.
    """
    parts = read_parts(datasets, height=height, width=width)
    numbers = domains_of(parts, domains)
    return MixDataset([part.open() for part in parts], [part.weight for part in parts], numbers)
