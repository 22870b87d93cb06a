# SPDX-License-Identifier: Apache-2.0
"""Evaluation of a model on a data set under a named protocol, and the report about it.

`evaluate_dataset` scores, `write_report` writes the report folder; `python -m depth_core.evaluate`
does both.
"""

from __future__ import annotations

from depth_core.evaluate.panels import Panel, choose_indices
from depth_core.evaluate.provenance import ReportContext
from depth_core.evaluate.report import check_output, write_report
from depth_core.evaluate.run import Run, evaluate_dataset

__all__ = [
    'Panel',
    'ReportContext',
    'Run',
    'check_output',
    'choose_indices',
    'evaluate_dataset',
    'write_report',
]
