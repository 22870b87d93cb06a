# SPDX-License-Identifier: Apache-2.0
"""The timing cache: how fast kernels were in former builds, so that the next build is quicker.

One file for each version of TensorRT and each kind of GPU, in the folder of the engine cache.
TensorRT itself refuses timings of another GPU, so that two kinds in one file would drive each
other's out. Nothing depends on this file: what cannot be read or kept is done without, and one
that has grown beyond its limit is begun anew.
"""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Final

from depth_core.errors import DepthError
from depth_core.files import replaced_atomically
from depth_core.runtime.engine.api import IBuilderConfig, ITimingCache, TensorRt
from depth_core.runtime.engine.folder import (
    FILE_MODE,
    default_folder,
    private_folder,
    read_private,
)
from depth_core.runtime.engine.locks import locked
from depth_core.runtime.engine.plan_files import TIMINGS

LIMIT_BYTES: Final = 64 << 20
"""Of a file of timings, which each build reads and writes whole."""

_logger = logging.getLogger(__name__)


def timings_path(trt: TensorRt, gpu: str, cache_dir: Path | None) -> Path | None:
    """Where the timings of `trt` on GPUs named `gpu` are kept; None when it makes use of none."""
    if not trt.keeps_timings:
        return None
    folder = default_folder() if cache_dir is None else cache_dir
    name = re.sub(r'[^0-9A-Za-z.]+', '_', gpu)
    return folder / TIMINGS / f'{trt.version}-{name}.timings'


def use_timings(config: IBuilderConfig, path: Path) -> ITimingCache | None:
    """Give a builder the timings of former builds, or none to begin with.

    Returns:
        What has to live until the build is over; None when the builder takes no note of timings,
        so that `keep_timings` has none.
    """
    for content in (_read(path), b''):
        timings: ITimingCache = config.create_timing_cache(content)
        # False: timings of another GPU are not taken over.
        if timings is not None and config.set_timing_cache(timings, False):  # noqa: FBT003
            return timings
    return None


def keep_timings(config: IBuilderConfig, path: Path) -> None:
    """Keep the timings of a build with those that others kept meanwhile."""
    timings: ITimingCache = config.get_timing_cache()
    if timings is None:
        return
    try:
        private_folder(path.parent)
        with locked(path.with_suffix('.lock')):
            others: ITimingCache = config.create_timing_cache(_read(path))
            if others is not None:
                timings.combine(others, False)  # noqa: FBT003  those of another GPU are left out
            memory = timings.serialize()
            if memory is None:
                return
            with replaced_atomically(path) as temporary:
                temporary.write_bytes(bytes(memory))
            path.chmod(FILE_MODE)
    except (DepthError, OSError) as error:
        _logger.warning('the timings of this build are not kept: %s', error)


def _read(path: Path) -> bytes:
    try:
        small = path.stat().st_size <= LIMIT_BYTES
        content = read_private(path) if small else b''
    except FileNotFoundError:
        return b''
    except (DepthError, OSError) as error:
        _logger.warning('the timings of former builds are not used: %s', error)
        return b''
    if not small:
        _logger.info('%s is larger than %d MiB, and begun anew', path, LIMIT_BYTES >> 20)
    return content
