# SPDX-License-Identifier: Apache-2.0
"""All of a run as JSON."""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from depth_core.bench.machine import Machine
from depth_core.bench.result import BenchResult


def to_json(
    model: Path,
    options: argparse.Namespace,
    machine: Machine,
    results: Sequence[BenchResult],
    *,
    absent: Sequence[str],
    refused: Mapping[str, Exception],
) -> str:
    """What was measured, on what, and what could not be, as the text of a JSON file.

    Args:
        model: The file.
        options: The options of the command.
        machine: Where it ran.
        results: The rows.
        absent: Why energy is not available.
        refused: Why a row did not run, by its label.
    """
    content = {
        'model': str(model),
        'image_height': options.image_height,
        'image_width': options.image_width,
        'threads': options.threads[0] if options.threads and not options.threads[1:] else None,
        'rounds': options.rounds,
        'reference': options.reference,
        'cpus': machine.cpus,
        'system': machine.system,
        'machine': dataclasses.asdict(machine) | {'is_busy': machine.is_busy},
        'energy_not_available': list(absent),
        'refused': {label: str(error) for label, error in refused.items()},
        'results': [dataclasses.asdict(result) for result in results],
    }
    return json.dumps(content, indent=2, allow_nan=False) + '\n'
