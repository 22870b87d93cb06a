# SPDX-License-Identifier: Apache-2.0
"""Small KITTI drives and sequences in the true format, whose every number is known; bags read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from depth_core.data.bag.messages import header_stamp_ns
from depth_core.data.bag.opener import open_bag

DAY = '2011_09_26'
HEIGHT, WIDTH = 30, 96
RAW_HEIGHT, RAW_WIDTH = 40, 110
FRAMES = 3
LITTLE = ('--truth', 'none', '--no_oxts')
"""Options that leave out what a test does not look at."""

R_RECT = '9.999239e-01 9.837760e-03 -7.445048e-03 -9.869795e-03 9.999421e-01 -4.278459e-03'
R_RECT += ' 7.402527e-03 4.351614e-03 9.999631e-01'
P_RECT = (
    '55.0 0.0 46.5 0.0 0.0 56.0 14.25 0.0 0.0 0.0 1.0 0.0',
    '55.0 0.0 46.5 -29.5 0.0 56.0 14.25 0.0 0.0 0.0 1.0 0.0',
    '55.0 0.0 46.5 3.3 0.0 56.0 14.25 0.02 0.0 0.0 1.0 0.0027',
    '55.0 0.0 46.5 -26.0 0.0 56.0 14.25 0.15 0.0 0.0 1.0 0.0028',
)
VELO_TO_CAM = (
    'R: 7.533745e-03 -9.999714e-01 -6.166020e-04 1.480249e-02 7.280733e-04 -9.998902e-01 '
    '9.998621e-01 7.523790e-03 1.480755e-02\nT: -4.069766e-03 -7.631618e-02 -2.717806e-01\n'
)
IMU_TO_VELO = (
    'R: 9.999976e-01 7.553071e-04 -2.035826e-03 -7.854027e-04 9.998898e-01 -1.482298e-02 '
    '2.024406e-03 1.482454e-02 9.998881e-01\nT: -8.086759e-01 3.195559e-01 -7.997231e-01\n'
)

BEGIN_NS = 1_317_042_145_964_389_445
"""2011-09-26 13:02:25.964389445 as UTC."""


def stamp(number: int, *, shift_ms: int = 0) -> str:
    """Time of a frame, 0.1 s apart."""
    milliseconds = 964 + 100 * number + shift_ms
    seconds, milliseconds = divmod(milliseconds, 1000)
    return f'2011-09-26 13:02:{25 + seconds:02d}.{milliseconds:03d}389445'


def scan(number: int) -> NDArray[np.float32]:
    """A wall ahead with points all over the images, and some points beside and behind."""
    source = np.random.default_rng(number)
    points = np.empty((400, 4), np.float32)
    points[:, 0] = source.uniform(4.0, 70.0, 400)
    points[:, 1] = points[:, 0] * source.uniform(-0.8, 0.8, 400)
    points[:, 2] = points[:, 0] * source.uniform(-0.25, 0.25, 400)
    points[:, 3] = source.uniform(0.0, 1.0, 400)
    points[:4, :2] = [[0.0, 5.0], [0.0, -5.0], [-5.0, 0.001], [5.0, 0.0]]
    return points


def picture(number: int, size: tuple[int, int], *, gray: bool) -> NDArray[np.uint8]:
    """An image, BGR or grey."""
    shape = size if gray else (*size, 3)
    return np.random.default_rng(number).integers(0, 255, shape, np.uint8)


def oxts(number: int, *, yaw: float = 0.0) -> str:
    """A measurement: the car goes east at 10 m/s, 1 m in each frame, turned by `yaw`."""
    metres = 1.0 * number
    latitude = 49.0
    longitude = 8.4 + np.degrees(metres / (6378137.0 * np.cos(np.radians(latitude))))
    values = [latitude, longitude, 112.5, 0.0, 0.0, yaw]
    values += [0.0, 10.0, 10.0, 0.0, 0.0]  # vn ve vf vl vu
    values += [0.1, 0.2, 9.8, 0.1, 0.2, 9.8]
    values += [0.01, 0.02, 0.5, 0.01, 0.02, 0.5]
    values += [0.05, 0.01]
    return ' '.join(f'{value:.13g}' for value in values) + ' 4 6 5 5 0'


def write_calibration(day: Path) -> None:
    """The three files of a day."""
    lines = ['calib_time: 09-Jan-2012 13:57:47']
    for camera, projection in enumerate(P_RECT):
        name = f'{camera:02d}'
        lines += [
            f'S_{name}: {RAW_WIDTH}.0 {RAW_HEIGHT}.0',
            f'K_{name}: 60.0 0.0 55.0 0.0 61.0 20.0 0.0 0.0 1.0',
            f'D_{name}: -0.37 0.2 0.002 0.001 -0.07',
            f'S_rect_{name}: {WIDTH}.0 {HEIGHT}.0',
            f'R_rect_{name}: {R_RECT}',
            f'P_rect_{name}: {projection}',
        ]
    day.mkdir(parents=True, exist_ok=True)
    (day / 'calib_cam_to_cam.txt').write_text('\n'.join(lines) + '\n')
    (day / 'calib_velo_to_cam.txt').write_text(VELO_TO_CAM)
    (day / 'calib_imu_to_velo.txt').write_text(IMU_TO_VELO)


def write_drive(
    root: Path,
    *,
    kind: str = 'sync',
    cameras: Sequence[int] = (0, 1, 2, 3),
    frames: int = FRAMES,
    yaw: float = 0.0,
) -> Path:
    """Write a drive of KITTI raw; each sensor a millisecond after the one before."""
    day = root / DAY
    write_calibration(day)
    drive = day / f'{DAY}_drive_0001_{kind}'
    size = (HEIGHT, WIDTH) if kind == 'sync' else (RAW_HEIGHT, RAW_WIDTH)
    for camera in cameras:
        for number in range(frames):
            path = _data(drive, f'image_{camera:02d}') / f'{number:010d}.png'
            image = picture(10 * camera + number, size, gray=camera < 2)
            assert cv2.imwrite(str(path), image)
        _times(drive / f'image_{camera:02d}/timestamps.txt', frames, shift_ms=camera)
    for number in range(frames):
        folder = _data(drive, 'velodyne_points')
        points = scan(number)
        if kind == 'sync':
            (folder / f'{number:010d}.bin').write_bytes(points.tobytes())
        else:
            np.savetxt(folder / f'{number:010d}.txt', points, fmt='%.6f')
        (_data(drive, 'oxts') / f'{number:010d}.txt').write_text(oxts(number, yaw=yaw))
    for name, shift_ms in (('', 4), ('_start', -46), ('_end', 52)):
        path = drive / f'velodyne_points/timestamps{name}.txt'
        _times(path, frames, shift_ms=shift_ms)
    _times(drive / 'oxts/timestamps.txt', frames, shift_ms=5)
    return drive


def write_sequence(root: Path) -> Path:
    """Write an odometry sequence: the car goes ahead 1 m in each frame of 0.1 s."""
    sequence = root / 'sequences/04'
    lines = [f'P{camera}: {projection}' for camera, projection in enumerate(P_RECT)]
    rows = [line.split(': ')[1].split() for line in VELO_TO_CAM.strip().splitlines()]
    turn = np.array(rows[0], float).reshape(3, 3)
    place = np.array(rows[1], float)[:, None]
    lines.append('Tr: ' + ' '.join(f'{value:.12e}' for value in np.hstack((turn, place)).ravel()))
    sequence.mkdir(parents=True)
    (sequence / 'calib.txt').write_text('\n'.join(lines) + '\n')
    (sequence / 'times.txt').write_text('0.000000e+00\n1.036240e-01\n2.072481e-01\n')
    poses = [f'1 0 0 0 0 1 0 0 0 0 1 {number}' for number in range(FRAMES)]
    (root / 'poses').mkdir()
    (root / 'poses/04.txt').write_text('\n'.join(poses) + '\n')
    for number in range(FRAMES):
        for camera in (0, 2):
            path = _folder(sequence / f'image_{camera}') / f'{number:06d}.png'
            assert cv2.imwrite(str(path), picture(number, (HEIGHT, WIDTH), gray=camera == 0))
        path = _folder(sequence / 'velodyne') / f'{number:06d}.bin'
        path.write_bytes(scan(number).tobytes())
    return sequence


def _data(drive: Path, sensor: str) -> Path:
    return _folder(drive / sensor / 'data')


def _folder(path: Path) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    return path


def _times(path: Path, frames: int, *, shift_ms: int) -> None:
    path.write_text('\n'.join(stamp(number, shift_ms=shift_ms) for number in range(frames)) + '\n')


def read(path: Path) -> dict[str, list[Any]]:
    """All messages of a bag by topic."""
    found: dict[str, list[Any]] = {}
    with open_bag(path) as bag:
        for raw in bag.messages(bag.connections):
            message = bag.decode(raw)
            if hasattr(message, 'header'):
                assert header_stamp_ns(message) == raw.stamp_ns
            found.setdefault(raw.connection.topic, []).append(message)
    return found


def raw_bytes(path: Path) -> list[tuple[str, int, bytes]]:
    with open_bag(path) as bag:
        return [
            (item.connection.topic, item.stamp_ns, item.data)
            for item in bag.messages(bag.connections)
        ]
