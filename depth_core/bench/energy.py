# SPDX-License-Identifier: Apache-2.0
"""Energy, where the machine tells it: counters of the processor, rails of a Jetson.

RAPL counts the joules of an Intel or AMD processor package (and of its memory, where it has a
counter of its own); the INA3221 of a Jetson gives the power of each rail, which is summed up over
time here; GPUs tell NVML, see `nvml`.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

_SYSTEM: Final = Path('/sys')
_POWERCAP: Final = 'class/powercap'


class EnergyMeter(Protocol):
    """Something that tells energy between two moments."""

    @property
    def name(self) -> str:
        """What it measures, in the words of the machine: `package-0`, `VDD_IN`, `GPU 0`."""

    @property
    def renewed_s(self) -> float:
        """How old its number may be, seconds."""

    def start(self) -> None:
        """Begin at zero."""

    def sample(self) -> None:
        """Look at it; to be called at least once a second."""

    def stop(self) -> float:
        """The energy since `start`, joules; NaN when it could not be read at some moment."""


def _readable(read: Callable[[], float]) -> float:
    """What a sensor tells now; NaN, which spoils a sum, when it fails: sensors do, at times."""
    try:
        return read()
    except (OSError, ValueError):
        return math.nan


@dataclass
class Counter:
    """A counter of joules, which may begin again at zero."""

    name: str
    read: Callable[[], float]
    """May raise OSError or ValueError."""
    renewed_s: float
    wraps_at_j: float | None = None
    _last: float = 0.0
    _sum: float = 0.0

    def start(self) -> None:
        """Begin at zero."""
        self._last, self._sum = _readable(self.read), 0.0

    def sample(self) -> None:
        """Add what was used since the last look."""
        now = _readable(self.read)
        used = now - self._last
        if used < 0.0 and self.wraps_at_j is not None:
            used += self.wraps_at_j
        self._last = now
        self._sum += used

    def stop(self) -> float:
        """The energy since `start`, joules; NaN when it could not be read at some moment."""
        self.sample()
        return self._sum


@dataclass
class Power:
    """A power in watts, summed up between the moments at which it is looked at."""

    name: str
    read: Callable[[], float]
    renewed_s: float
    clock: Callable[[], float] = time.monotonic
    _last: tuple[float, float] = (0.0, 0.0)
    _sum: float = 0.0

    def start(self) -> None:
        """Begin at zero."""
        self._last, self._sum = (self.clock(), _readable(self.read)), 0.0

    def sample(self) -> None:
        """Add the mean of two powers times the time between them."""
        before, power_before = self._last
        self._last = now, power = self.clock(), _readable(self.read)
        self._sum += 0.5 * (power + power_before) * (now - before)

    def stop(self) -> float:
        """The energy since `start`, joules; NaN when it could not be read at some moment."""
        self.sample()
        return self._sum


def processor_meters(system: Path = _SYSTEM) -> tuple[list[EnergyMeter], str]:
    """The meters of the processor that can be read, and why there are none.

    Args:
        system: Where sysfs is.
    """
    rails: list[EnergyMeter] = [*_jetson_rails(system)]
    if rails:
        return rails, ''
    zones = sorted((system / _POWERCAP).glob('intel-rapl:*'))
    if not zones:
        return [], f'the processor tells no energy: {system / _POWERCAP} has no intel-rapl zone'
    meters: list[EnergyMeter] = []
    for zone in zones:
        try:
            meter = _rapl_zone(zone)
        except (OSError, ValueError) as error:
            said = error.strerror if isinstance(error, OSError) else error
            why = f'{zone / "energy_uj"} cannot be read ({said})'
            return [], f'{why}; run as root, or let your group read it'
        if meter is not None:
            meters.append(meter)
    return meters, '' if meters else f'no zone of {system / _POWERCAP} is a package or memory'


def _rapl_zone(zone: Path) -> EnergyMeter | None:
    """The counter of a package, or of the memory beside it; None for a part of a package."""
    name = (zone / 'name').read_text(encoding='utf-8').strip()
    if not name.startswith('package') and name != 'dram':
        return None
    counter = zone / 'energy_uj'
    if name == 'dram':
        name = f'dram-{zone.name.split(":")[1]}'

    def joules() -> float:
        return int(counter.read_text(encoding='utf-8')) * 1e-6

    joules()
    largest = int((zone / 'max_energy_range_uj').read_text(encoding='utf-8')) * 1e-6
    return Counter(name=name, read=joules, renewed_s=0.001, wraps_at_j=largest)


def _jetson_rails(system: Path) -> Iterator[EnergyMeter]:
    """The rails of the INA3221 of a Jetson, as its drivers of JetPack 5 to 7 and 4 show them."""
    drivers = system / 'bus/i2c/drivers'
    for label in sorted(drivers.glob('ina3221*/*/hwmon/hwmon*/in*_label')):
        name = _label(label)
        number = label.name.removeprefix('in').removesuffix('_label')
        volts, amperes = (label.with_name(f'{kind}{number}_input') for kind in ('in', 'curr'))
        if name not in {'', 'NC'} and volts.is_file() and amperes.is_file():
            yield Power(name=name, read=_product(volts, amperes), renewed_s=0.02)
    for label in sorted(drivers.glob('ina3221*/*/iio:device*/rail_name_*')):
        power = label.with_name(f'in_power{label.name.removeprefix("rail_name_")}_input')
        if power.is_file():
            yield Power(name=_label(label) or label.name, read=_milli(power), renewed_s=0.02)


def _label(file: Path) -> str:
    """The name of a rail; '' when it cannot be read."""
    with contextlib.suppress(OSError):
        return _text(file)
    return ''


def _product(millivolts: Path, milliamperes: Path) -> Callable[[], float]:
    return lambda: int(_text(millivolts)) * int(_text(milliamperes)) * 1e-6


def _milli(watts: Path) -> Callable[[], float]:
    return lambda: int(_text(watts)) * 1e-3


def _text(file: Path) -> str:
    return file.read_text(encoding='utf-8').strip()
