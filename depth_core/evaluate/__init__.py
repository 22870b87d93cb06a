# SPDX-License-Identifier: Apache-2.0
"""Evaluation of a model on a data set under a named protocol, and the report about it.

`evaluate_dataset` scores, `write_report` writes the report folder; `python -m depth_core.evaluate`
does both.
"""

from __future__ import annotations

from depth_core.evaluate.flip import FLIP_AVERAGES, FlipAverage, average_flipped
from depth_core.evaluate.provenance import ReportContext
from depth_core.evaluate.report import check_output, write_report
from depth_core.evaluate.run import Panel, Run, choose_indices, evaluate_dataset

__all__ = [
    'FLIP_AVERAGES',
    'FlipAverage',
    'Panel',
    'ReportContext',
    'Run',
    'average_flipped',
    'check_output',
    'choose_indices',
    'evaluate_dataset',
    'write_report',
]
