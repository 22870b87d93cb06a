# SPDX-License-Identifier: Apache-2.0
"""Decoding malformed images, however many, does not raise the memory in use."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SCRIPT = """
import random
import struct
import sys
import cv2
import numpy as np
from depth_core.images import ImageError, rgb_from_compressed, rgb_from_raw

cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
MEBI = 1 << 20

def status_mib(name):
    lines = open('/proc/self/status').read().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(name))

chance = random.Random(0)
noise = np.random.default_rng(0).integers(0, 255, (120, 160, 3)).astype(np.uint8)
ends = ('.jpg', '.png', '.webp', '.bmp', '.tiff')
whole = [cv2.imencode(end, noise)[1].tobytes() for end in ends]
frame = whole[0].index(b'\\xff\\xc0')
huge = whole[0][: frame + 5] + struct.pack('>HH', 8000, 8000) + whole[0][frame + 9 :]

def malformed(number):
    kind = number % 4
    if kind == 0:
        step = chance.choice((1, 2**31, 2**32 - 1))
        size = {'height': chance.choice((1, 2**32 - 1)), 'width': chance.choice((1, 2**32 - 1))}
        return rgb_from_raw(bytes(3), encoding=chance.choice(('rgb8', 'nv12', 'mono16')),
                            step=step, **size)
    if kind == 1:
        return rgb_from_compressed(huge[:675], format_name='jpeg')
    if kind == 2:
        return rgb_from_compressed(huge, format_name='jpeg')
    content = bytearray(chance.choice(whole))
    for _ in range(5):
        content[chance.randrange(len(content))] = chance.randrange(256)
    return rgb_from_compressed(bytes(content), format_name='jpeg')

def run(count):
    refused = 0
    for number in range(count):
        try:
            malformed(number)
        except ImageError:
            refused += 1
    return refused

run(100)
before = status_mib('VmRSS')
refused = run(int(sys.argv[1]))
print(refused, before, status_mib('VmRSS'), status_mib('VmHWM'))
"""


def test_memory_stays_where_it_was_over_malformed_images(repository: Path) -> None:
    done = subprocess.run(
        [sys.executable, '-c', SCRIPT, '1000'],
        cwd=repository,
        capture_output=True,
        text=True,
        check=True,
    )
    refused, before, after, peak = map(float, done.stdout.split())
    assert refused > 700
    assert after < 1.1 * before, f'{before:.0f} MiB became {after:.0f} MiB'
    assert peak < before + 50, f'{before:.0f} MiB rose to {peak:.0f} MiB'
