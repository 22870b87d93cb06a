# SPDX-License-Identifier: Apache-2.0
"""The command line of `python -m depth_core.bench`."""

from __future__ import annotations

import argparse
import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final, get_args

from depth_core.arguments import CommandParser, count, names, whole
from depth_core.bench.energy import processor_meters
from depth_core.bench.machine import Machine, describe_machine
from depth_core.bench.nvml import find_gpus
from depth_core.bench.report import to_json
from depth_core.bench.request import BenchRequest
from depth_core.bench.result import BenchResult
from depth_core.bench.rows import Rows, choose_rows
from depth_core.bench.run import Plan, measure_rows
from depth_core.bench.table import legend, table
from depth_core.errors import BackendError, ConfigError
from depth_core.files import check_file_writable, replaced_atomically, write_text_atomically
from depth_core.focal_options import add_focal_options
from depth_core.names import printable
from depth_core.presets import MANIFEST_HELP
from depth_core.processes import terminated_cleanly
from depth_core.runtime import Precision
from depth_core.runtime.backends import describe_backends
from depth_core.shipped import MODEL_HELP, find_model

_OTHERS: Final = 0.1
"""Share of the CPUs that others may use before it is said."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command with `arguments`, those of the process when None."""
    options = _parser().parse_command(arguments)
    if options.plot is not None and importlib.util.find_spec('matplotlib') is None:
        message = "--plot needs matplotlib, which is not here: pip install 'depth_ros[bench]'."
        raise ConfigError(message)
    for path in (options.output, options.plot):
        if path is not None:
            check_file_writable(path)
    model = find_model(options.model)
    gpus = find_gpus()
    machine = describe_machine(tuple(gpus.names))
    rows = choose_rows(model, options)
    heading = _heading(rows.requests[0], options, machine)
    sys.stdout.write(f'{printable(f"{model}{heading}")}\n{machine}\n{machine.software}\n')
    meters, absence = processor_meters()
    absent = [why for why in (absence, gpus.absence) if why]
    plan = Plan(
        rounds=options.rounds,
        starts=options.starts,
        references=rows.references,
        same_weights=options.reference == 'torch',
        meters=[*meters, *gpus.meters()],
        gpus=gpus,
        say=_say,
    )
    _warn_if_busy(machine)
    with terminated_cleanly():
        results, refused = measure_rows(rows.requests, plan)
    if options.output is not None:
        write_text_atomically(
            options.output,
            to_json(model, options, machine, results, absent=absent, refused=refused),
        )
    if options.plot is not None and results:
        _write_plot(options.plot, results, machine, model.name + heading)
    if results:
        sys.stdout.write(table(results) + legend(results))
    sys.stdout.writelines(f'energy not available: {why}\n' for why in absent)
    _warn_of_others(results)
    _answer_refusals(rows, refused, ran=bool(results))


def _heading(request: BenchRequest, options: argparse.Namespace, machine: Machine) -> str:
    size = ''
    if request.model.suffix == '.onnx':  # a checkpoint is asked when it is open
        seen = request.sized.manifest_of(request.model).input
        size = f', {seen.width}x{seen.height} inside'
    threads = ' and '.join(map(str, options.threads or ('all',)))
    return (
        f'{size}; image {options.image_width}x{options.image_height}, '
        f'{options.frames} frames, {" and ".join(options.precision)}, '
        f'{threads} of {machine.cpus} CPUs, {machine.date}'
    )


def _say(line: str) -> None:
    sys.stdout.flush()
    sys.stderr.write(f'{line}\n')


def _warn_if_busy(machine: Machine) -> None:
    if machine.is_busy:
        _say(
            f'warning: the load of the last minute is {machine.load_1min:.2f} on '
            f'{machine.cpus} CPUs, so others compute too and times are too long; '
            'measure again when the machine is idle.'
        )


def _warn_of_others(results: Sequence[BenchResult]) -> None:
    shares = [one.others_cpu for one in results if one.others_cpu is not None]
    if shares and max(shares) > _OTHERS:
        _say(
            f'warning: others used up to {max(shares):.0%} of the CPUs meanwhile; '
            'times are too long, ratios less so.'
        )


def _write_plot(
    path: Path, results: Sequence[BenchResult], machine: Machine, heading: str
) -> None:
    from depth_core.bench.plot import draw  # noqa: PLC0415  matplotlib is an extra

    with replaced_atomically(path) as temporary:
        temporary.write_bytes(draw(results, machine, heading))


def _answer_refusals(rows: Rows, refused: dict[str, BackendError], *, ran: bool) -> None:
    """Refuse when a row that was asked for did not run, or when none did."""
    lines = list(dict.fromkeys(map(str, refused.values())))  # raw rows say the same as ours
    if rows.automatic and ran:
        sys.stdout.writelines(f'passed over: {line}\n' for line in lines)
    elif refused:
        message = f'{len(refused)} of {len(rows.requests)} backends did not run:\n  '
        raise BackendError(message + '\n  '.join(lines))


def _parser() -> CommandParser:
    parser = CommandParser(
        prog='python -m depth_core.bench',
        description='Measure how fast a model answers: the whole of Predictor.predict, one call '
        'after the other, each backend in a process of its own, in turns.',
    )
    add = parser.add_argument
    add('--model', required=True, help=MODEL_HELP)
    add('--manifest', metavar='FILE|NAME', help=MANIFEST_HELP)
    add(
        '--backends',
        type=names,
        metavar='NAME[,NAME...]',
        help=f'those that are tried by themselves when left out; known: {describe_backends()}',
    )
    add(
        '--precision',
        type=names,
        default='fp32',
        metavar='NAME[,NAME...]',
        help=f'computed in, a row for each; known: {", ".join(get_args(Precision))}',
    )
    add('--image_height', type=count, default=480, help='rows of the camera image, pixels')
    add('--image_width', type=count, default=640, help='columns of the camera image, pixels')
    add_focal_options(parser)
    add('--frames', type=count, default=200, help='how many calls are measured in each row')
    add(
        '--rounds',
        type=count,
        default=10,
        help='in how many turns each row has them; their spread says how sure a number is',
    )
    add(
        '--threads',
        type=_counts,
        metavar='N[,N...]',
        help='most CPU threads to compute with, a row for each; all when left out',
    )
    add('--device', help='of the backends, by the name its runtime gives it: cuda:1, GPU.0, NPU')
    add(
        '--cuda_graph',
        action='store_true',
        help='let engines record the work of one inference and replay it',
    )
    add('--batch', type=count, default=1, help='images of one call, in a row of its own')
    add(
        '--starts',
        type=whole,
        default=1,
        help='starts of each row that are measured, with empty caches (engines are built) and '
        'with filled ones; 0 measures none and uses the caches that are there',
    )
    add(
        '--reference',
        metavar='torch|raw|ROW',
        help='what each row is compared with: torch eager on the weights of --checkpoint, the '
        'bare loop of its runtime on the same graph, or a row by its name in the table',
    )
    add('--checkpoint', type=Path, help='.ckpt file that the graph was exported from')
    add('--output', type=Path, help='JSON file to write')
    add('--plot', type=Path, help="PNG file to write; needs pip install 'depth_ros[bench]'")
    return parser


def _counts(text: str) -> tuple[int, ...]:
    return tuple(count(name) for name in names(text))
