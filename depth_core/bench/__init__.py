# SPDX-License-Identifier: Apache-2.0
"""How fast a model answers: `python -m depth_core.bench` and what it is made of.

`command` reads the command line and `rows` what it asks for; `run` starts one process for each row
(`children`, `worker`) and lets them answer in turns; in each of them `subject` is what answers, a
`Predictor` or the bare loop of a runtime (`raw`). `statistics` makes numbers of the times,
`energy`, `nvml` and `machine` say what the machine tells of itself, and `table`, `report` and
`plot` show it all.
"""

from __future__ import annotations

from depth_core.bench.command import main
from depth_core.bench.request import BenchRequest
from depth_core.bench.result import BenchResult
from depth_core.bench.run import measure, measure_apart
from depth_core.bench.table import table

__all__ = ['BenchRequest', 'BenchResult', 'main', 'measure', 'measure_apart', 'table']
