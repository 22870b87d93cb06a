# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from depth_core.bench.energy import Counter, Power, processor_meters
from depth_core.bench.nvml import Gpus, find_gpus


def write(file: Path, text: str) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text + '\n')
    return file


def zone(system: Path, place: str, name: str, microjoules: int) -> Path:
    folder = system / 'class/powercap' / place
    write(folder / 'name', name)
    write(folder / 'max_energy_range_uj', '262143328850')
    return write(folder / 'energy_uj', str(microjoules))


def test_a_counter_that_begins_again_loses_nothing() -> None:
    readings = iter([90.0, 95.0, 5.0, 25.0])
    meter = Counter(
        name='package-0', read=lambda: next(readings), renewed_s=0.001, wraps_at_j=100.0
    )
    meter.start()
    meter.sample()  # 5 J
    meter.sample()  # 5 J to the end, 5 J after it
    assert meter.stop() == pytest.approx(35.0)


def test_a_power_is_summed_up_over_time() -> None:
    times, powers = iter([0.0, 1.0, 3.0]), iter([10.0, 20.0, 20.0])
    meter = Power(
        name='VDD_IN', read=lambda: next(powers), renewed_s=0.02, clock=lambda: next(times)
    )
    meter.start()
    meter.sample()  # one second at 15 W on average
    assert meter.stop() == pytest.approx(15.0 + 2 * 20.0)


def test_the_zones_of_rapl_are_packages_and_their_memory(tmp_path: Path) -> None:
    package = zone(tmp_path, 'intel-rapl:0', 'package-0', 1_000_000)
    zone(tmp_path, 'intel-rapl:0:0', 'core', 5)  # a part of the package
    memory = zone(tmp_path, 'intel-rapl:0:1', 'dram', 2_000_000)
    zone(tmp_path, 'intel-rapl:1', 'psys', 7)  # the package and more
    meters, why = processor_meters(tmp_path)
    assert [meter.name for meter in meters] == ['package-0', 'dram-0']
    assert why == ''
    for meter in meters:
        meter.start()
    package.write_text('3500000\n')
    memory.write_text('2250000\n')
    assert [meter.stop() for meter in meters] == pytest.approx([2.5, 0.25])


def test_the_rails_of_a_jetson(tmp_path: Path) -> None:
    folder = tmp_path / 'bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon3'
    write(folder / 'in1_label', 'VDD_IN')
    write(folder / 'in1_input', '5000')  # millivolts
    write(folder / 'curr1_input', '2400')  # milliamperes
    write(folder / 'in2_label', 'NC')
    write(folder / 'in2_input', '0')
    write(folder / 'curr2_input', '0')
    meters, why = processor_meters(tmp_path)
    (meter,) = meters
    assert (meter.name, why) == ('VDD_IN', '')
    assert isinstance(meter, Power)
    assert meter.read() == pytest.approx(12.0)


def test_the_rails_of_an_older_jetson(tmp_path: Path) -> None:
    folder = tmp_path / 'bus/i2c/drivers/ina3221x/6-0040/iio:device0'
    write(folder / 'rail_name_0', 'VDD_IN')
    write(folder / 'in_power0_input', '4210')  # milliwatts
    (meter,) = processor_meters(tmp_path)[0]
    assert isinstance(meter, Power)
    assert meter.read() == pytest.approx(4.21)


def test_a_machine_that_tells_nothing_says_why(tmp_path: Path) -> None:
    meters, why = processor_meters(tmp_path)
    assert meters == []
    assert why.endswith('has no intel-rapl zone')
    unreadable = zone(tmp_path, 'intel-rapl:0', 'package-0', 1)
    unreadable.unlink()
    unreadable.mkdir()  # a file that even root cannot read
    meters, why = processor_meters(tmp_path)
    assert meters == []
    assert f'{unreadable} cannot be read' in why
    assert 'run as root' in why


class _NvmlError(Exception):
    """What NVML raises."""


def nvml(*, counts_energy: bool) -> SimpleNamespace:
    """A library with one GPU that has used 2.5 J and takes 60 W now."""

    def energy(_handle: object) -> int:
        if not counts_energy:
            raise _NvmlError
        return 2500

    def processes(_handle: object) -> list[SimpleNamespace]:
        return [
            SimpleNamespace(pid=7, usedGpuMemory=3 << 20),
            SimpleNamespace(pid=8, usedGpuMemory=9 << 20),
            SimpleNamespace(pid=9, usedGpuMemory=None),
        ]

    return SimpleNamespace(
        NVMLError=_NvmlError,
        nvmlDeviceGetCount=lambda: 1,
        nvmlDeviceGetHandleByIndex=lambda index: index,
        nvmlDeviceGetName=lambda _handle: b'NVIDIA RTX A2000',
        nvmlSystemGetDriverVersion=lambda: '570.1',
        nvmlDeviceGetTotalEnergyConsumption=energy,
        nvmlDeviceGetPowerUsage=lambda _handle: 60000,
        nvmlDeviceGetComputeRunningProcesses=processes,
    )


def test_a_gpu_tells_its_energy_its_name_and_who_uses_it() -> None:
    gpus = Gpus(nvml=nvml(counts_energy=True))
    (meter,) = gpus.meters()
    assert isinstance(meter, Counter)
    assert meter.name == 'GPU 0'
    assert meter.read() == pytest.approx(2.5)
    assert gpus.names == ['NVIDIA RTX A2000, driver 570.1']
    assert gpus.memory_mb(7) == 3.0
    assert gpus.memory_mb(9) is None
    assert gpus.memory_mb(1) is None


def test_an_older_gpu_tells_its_power() -> None:
    (meter,) = Gpus(nvml=nvml(counts_energy=False)).meters()
    assert isinstance(meter, Power)
    assert meter.read() == pytest.approx(60.0)


def test_a_gpu_that_tells_nothing_is_absent() -> None:
    def refuse(*_arguments: object) -> None:
        raise _NvmlError

    library = nvml(counts_energy=False)
    for name in ('nvmlDeviceGetName', 'nvmlDeviceGetPowerUsage',
                 'nvmlDeviceGetComputeRunningProcesses'):  # fmt: skip
        setattr(library, name, refuse)
    gpus = Gpus(nvml=library)
    assert (gpus.names, gpus.meters(), gpus.memory_mb(7)) == ([], [], None)
    library.nvmlDeviceGetCount = refuse
    assert (gpus.names, gpus.meters(), gpus.memory_mb(7)) == ([], [], None)


@pytest.mark.parametrize('kind', [Counter, Power])
def test_a_sensor_that_fails_once_spoils_its_turn_and_no_other(
    kind: type[Counter | Power],
) -> None:
    told: list[float | None] = [1.0, None, 3.0, 5.0, 5.0]

    def read() -> float:
        value = told.pop(0)
        if value is None:
            raise OSError
        return value

    meter = kind(name='rail', read=read, renewed_s=0.1)
    meter.start()
    meter.sample()
    assert math.isnan(meter.stop())
    meter.start()
    assert math.isfinite(meter.stop())


def test_no_library_is_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, 'pynvml', None)
    gpus = find_gpus()
    assert (gpus.names, gpus.meters(), gpus.memory_mb(1)) == ([], [], None)
    assert "pip install 'depth_ros[bench]'" in gpus.absence
