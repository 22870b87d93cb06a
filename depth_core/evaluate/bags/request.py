# SPDX-License-Identifier: Apache-2.0
"""What is to be evaluated: the model, the way of scoring, and the parts of a recording."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from depth_core.data.bag.opener import open_bag
from depth_core.data.bag.reading import choose_image
from depth_core.errors import ConfigError
from depth_core.evaluate.scaling import SPARSE_POINTS, ScaleSource
from depth_core.files import sha256_of
from depth_core.manifest import plain
from depth_core.metrics import Align, Protocol
from depth_core.runtime import Precision
from depth_core.runtime.flip import FlipAverage

PART_FRAMES: Final = 64
"""About so many images are one part."""


@dataclass(frozen=True, kw_only=True)
class BagRequest:
    """How recordings are evaluated; everything that their numbers depend on."""

    model: Path
    protocol: Protocol
    manifest: str | None = None
    """In place of that of the model: a file or the name of a preset."""
    backend: tuple[str, ...] | None = None
    precision: Precision = 'fp32'
    assumed_hfov_deg: float | None = None
    threads: int = 1
    """CPU threads of one worker's backend: fixed, as they may change the last digits."""
    align: Align = 'none'
    flip_average: FlipAverage = 'none'
    camera_height_m: float | None = None
    sparse_points: int = SPARSE_POINTS
    data: tuple[tuple[str, Any], ...] = ()
    """Options of `BagDataset` by name: topics, max_offset_s, depth_unit_m."""
    part_frames: int = PART_FRAMES

    def __post_init__(self) -> None:
        if self.part_frames < 1 or self.threads < 1:
            message = (
                f'part_frames is {self.part_frames} and threads {self.threads}; give at least 1.'
            )
            raise ConfigError(message)
        self.scale_source()

    def scale_source(self) -> ScaleSource:
        """Where metres come from.

        Raises:
            ConfigError: Its options contradict each other.
        """
        return ScaleSource(
            align=self.align,
            camera_height_m=self.camera_height_m,
            sparse_points=self.sparse_points,
        )

    @functools.cached_property
    def model_sha256(self) -> str:
        """SHA-256 of the model file as it was when this was first asked for."""
        return sha256_of(self.model)

    def said(self) -> dict[str, Any]:
        """The request as JSON can say it, with the hash of the model in place of its path."""
        content: dict[str, Any] = plain(self)
        content['model'] = self.model_sha256
        return content


@dataclass(frozen=True, kw_only=True)
class Part:
    """Some consecutive images of a recording, by the time they were recorded."""

    bag: Path
    number: int
    start_ns: int
    stop_ns: int
    """The first time that belongs to the next part."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is to be done of a recording."""

    parts: tuple[Part, ...]
    lost: str | None
    """What was cut off the recording; None = nothing."""


def plan(bag: Path, request: BagRequest) -> Plan:
    """Cut a recording into parts of equal time, about `part_frames` images each.

    Raises:
        ConfigError: A topic is not in the bag, or the choice is not unique.
        DataError: The bag is missing, damaged or empty, or has no images.
    """
    with open_bag(bag) as opened:
        topic = choose_image(opened, dict(request.data).get('image_topic'))
        images = sum(item.msgcount for item in opened.connections if item.topic == topic)
        lost = opened.lost
        start_ns, stop_ns = opened.start_ns, opened.start_ns + opened.duration_ns
    count = max(1, -(-images // request.part_frames))
    edges = [start_ns + (stop_ns - start_ns) * place // count for place in range(count + 1)]
    edges[-1] = stop_ns + 1
    parts = tuple(
        Part(bag=bag, number=number, start_ns=edges[number], stop_ns=edges[number + 1])
        for number in range(count)
    )
    return Plan(parts=parts, lost=lost)


def identity(bag: Path, request: Mapping[str, Any]) -> str:
    """Name what is kept of a recording: by its place, its files and the request.

    Args:
        bag: The recording.
        request: What `BagRequest.said` gives.
    """
    inside = sorted(bag.iterdir()) if bag.is_dir() else [bag]
    folder = [item for item in inside if item.is_file()]
    files = [(item.name, item.stat().st_size, item.stat().st_mtime_ns) for item in folder]
    content = json.dumps([str(bag.resolve()), files, request], sort_keys=True, default=str)
    return f'{bag.stem[:40]}_{hashlib.sha256(content.encode()).hexdigest()[:16]}'
