# SPDX-License-Identifier: Apache-2.0
"""When the node calls itself unwell, and when it opens its backend again."""

from __future__ import annotations

from dataclasses import dataclass

from depth_ros.options.fields import When, parameter


@dataclass(frozen=True, kw_only=True)
class HealthOptions:
    """Limits of the diagnostics and of the watchdog."""

    min_rate_hz: float = parameter(
        'Fewer depth maps a second than this are a warning, while somebody listens; 0 allows any.',
        default=0.0,
        minimum=0.0,
        maximum=1000.0,
        unit='Hz',
        when=When.LIVE,
        name='min_rate_hz',
    )
    max_age_s: float = parameter(
        'Stamps that are older than this, or that far ahead of the clock, are a warning; 0 allows '
        'any.',
        default=5.0,
        minimum=0.0,
        maximum=1e6,
        unit='s',
        when=When.LIVE,
        name='max_age_s',
    )
    min_valid_fraction: float = parameter(
        'A depth map in which less than this fraction of the pixels has an estimate is a warning, '
        'and one without any an error; 0 allows any.',
        default=0.05,
        minimum=0.0,
        maximum=1.0,
        when=When.LIVE,
        name='min_valid_fraction',
    )
    output_timeout_s: float = parameter(
        'Nothing published for so long, while images arrive and somebody listens, is an error.',
        default=5.0,
        minimum=0.1,
        maximum=3600.0,
        unit='s',
        when=When.LIVE,
        name='output_timeout_s',
    )
    inference_limit_s: float = parameter(
        'An inference that takes longer is taken for hung: the backend is opened again, then the '
        'next one of the chain. So it is after three failures in a row. Give more than the '
        'slowest inference takes; 0 waits for ever.',
        default=10.0,
        minimum=0.0,
        maximum=3600.0,
        unit='s',
        when=When.LIVE,
        name='inference_limit_s',
    )
