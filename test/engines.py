# SPDX-License-Identifier: Apache-2.0
"""Export every network at its paper size, parse it with TensorRT and build its engine, on a CPU.

    python -m test.engines                     # all that are not in the table yet
    python -m test.engines --models urcdc --again

One network at a time, each step in a process of its own, whose memory is measured. What was found
is written to docs/results/engine_builds.json after every network, so that an interrupted run goes
on where it was. Weights are random and conditioned (`test.conditioned`): they change no time and
no size. Small networks are built in int8 too. Plans are built by TensorRT for RTX, for GPUs of
compute capability 8.6; none runs here.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Final

import onnx
import torch

from depth_core.arguments import CommandParser, names
from depth_core.errors import ConfigError, DepthError, run_command, unknown_name
from depth_core.export import export_onnx
from depth_core.export.precision.graph import Graph, load_graph
from depth_core.export.precision.image_sets import image_sets
from depth_core.export.precision.int8 import to_int8
from depth_core.files import write_text_atomically
from depth_core.manifest import METADATA_KEY, read_manifest
from depth_core.models import create_model, list_models
from depth_core.runtime.engine.api import load_tensorrt
from depth_core.runtime.engine.build import build_plan
from depth_core.runtime.engine.options import EngineOptions
from depth_core.runtime.onnx_reader import read_graph
from test.conditioned import conditioned

TABLE: Final = Path(__file__).resolve().parents[1] / 'docs' / 'results' / 'engine_builds.json'
TARGET: Final = '8.6'

_WEIGHTS: Final = 'weights.pt'
_SMALL: Final = '_small'
_TOOLS: Final = ('torch', 'onnxscript', 'onnxruntime', 'tensorrt_rtx')


@dataclass(frozen=True, kw_only=True)
class Row:
    """What was found of one network; None where a step was not reached."""

    model: str
    size: str = ''
    """height x width, pixels."""
    export_s: float | None = None
    """The comparison with the network included, on as many cores as there are."""
    export_cpu_s: float | None = None
    """Processor time of it, which a busy machine does not change."""
    export_peak_gb: float | None = None
    """Most memory the process held, the network included."""
    graph_mb: float | None = None
    """The ONNX file and its external data."""
    nodes: int | None = None
    depth_error: float | None = None
    """Largest difference between graph and network, as a fraction of the depth."""
    parse_s: float | None = None
    build_s: float | None = None
    """The process of the builder included."""
    plan_mb: float | None = None
    int8_build_s: float | None = None
    """Of small networks: the graph with Q/DQ for TensorRT, calibrated on drawn images."""
    int8_plan_mb: float | None = None
    unsupported: tuple[str, ...] = ()
    """What TensorRT or an earlier step complained of."""
    versions: str = ''


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command with `arguments`, those of the process when None."""
    options = _parser().parse_command(arguments)
    for name in options.models:
        if name not in list_models():
            raise ConfigError(unknown_name('model', name, list_models()))
    if options.step:
        row = _STEPS[options.step](Row(**json.loads(sys.stdin.read())), options.folder)
        sys.stdout.write(json.dumps(asdict(row)))
    else:
        for name in options.models or _by_size(list_models()):
            if options.again or name not in read_rows():
                _measure(name)


def read_rows() -> dict[str, Row]:
    """Read what was found so far, by name of the network."""
    if not TABLE.exists():
        return {}
    rows = json.loads(TABLE.read_text(encoding='utf-8'))['results']
    return {row['model']: Row(**{**row, 'unsupported': tuple(row['unsupported'])}) for row in rows}


def _measure(name: str) -> None:
    versions = ', '.join(f'{tool} {metadata.version(tool)}' for tool in _TOOLS)
    row = Row(model=name, versions=versions)
    with tempfile.TemporaryDirectory() as folder:
        for step in _STEPS:
            row = _apart(step, row, Path(folder))
            if row.unsupported:
                break
    rows = {**read_rows(), name: row}
    content = {'results': [asdict(rows[known]) for known in sorted(rows)]}
    write_text_atomically(TABLE, json.dumps(content, indent=2) + '\n')
    sys.stdout.write(f'{row}\n')


def _apart(step: str, row: Row, folder: Path) -> Row:
    """Take one step in a process of its own."""
    done = subprocess.run(
        [sys.executable, '-m', 'test.engines', '--step', step, '--folder', folder],
        input=json.dumps(asdict(row)),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f'ended with {done.returncode}']
        return replace(row, unsupported=(f'{step}: {lines[-1]}',))
    found = json.loads(done.stdout.splitlines()[-1])
    return Row(**{**found, 'unsupported': tuple(found['unsupported'])})


def _make_weights(row: Row, folder: Path) -> Row:
    torch.manual_seed(0)
    torch.save(conditioned(create_model(row.model)).state_dict(), folder / _WEIGHTS)
    return row


def _export(row: Row, folder: Path) -> Row:
    model = create_model(row.model).eval()
    model.load_state_dict(torch.load(folder / _WEIGHTS, weights_only=True, mmap=True))
    start, cpu = time.monotonic(), time.process_time()
    manifest = export_onnx(model, folder / 'graph.onnx', free_size=False)
    assert manifest.parity is not None
    files = [path for path in folder.iterdir() if path.suffix in ('.onnx', '.data')]
    return replace(
        row,
        size=f'{manifest.input.height}x{manifest.input.width}',
        export_s=round(time.monotonic() - start, 1),
        export_cpu_s=round(time.process_time() - cpu, 1),
        export_peak_gb=round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 2),
        graph_mb=round(sum(path.stat().st_size for path in files) / 1e6, 1),
        nodes=len(read_graph(folder / 'graph.onnx').nodes),
        depth_error=float(f'{manifest.parity.depth_max_rel:.2g}'),
    )


def _build(row: Row, folder: Path) -> Row:
    path = folder / 'graph.onnx'
    trt = load_tensorrt('tensorrt-rtx')
    start = time.monotonic()
    builder = trt.module.Builder(trt.logger)
    network = builder.create_network(trt.network_flags())
    parser = trt.module.OnnxParser(network, trt.logger)
    parsed = parser.parse_from_file(str(path))
    row = replace(row, parse_s=round(time.monotonic() - start, 1))
    if not parsed:
        errors = (parser.get_error(number) for number in range(parser.num_errors))
        return replace(row, unsupported=tuple(dict.fromkeys(error.desc() for error in errors)))
    del parser, network, builder
    start = time.monotonic()
    try:
        plan = build_plan(
            trt,
            path,
            read_manifest(path),
            precision='fp32',
            options=EngineOptions(),
            targets=[TARGET],
        )
    except DepthError as error:
        return replace(row, unsupported=(str(error),))
    return replace(
        row, build_s=round(time.monotonic() - start, 1), plan_mb=round(len(plan) / 1e6, 1)
    )


def _build_int8(row: Row, folder: Path) -> Row:
    if not row.model.endswith(_SMALL):
        return row
    source, path = folder / 'graph.onnx', folder / 'graph.int8.onnx'
    manifest = replace(
        read_manifest(source), precision='int8', precision_target='tensorrt', parity=None
    )
    images, _ = image_sets(None, manifest)
    converted = to_int8(Graph(load_graph(source)), images.inputs, 'tensorrt')
    onnx.helper.set_model_props(converted, {METADATA_KEY: manifest.to_json()})
    onnx.save(converted, path)
    trt = load_tensorrt('tensorrt-rtx')
    start = time.monotonic()
    try:
        plan = build_plan(
            trt, path, manifest, precision='int8', options=EngineOptions(), targets=[TARGET]
        )
    except DepthError as error:
        return replace(row, unsupported=(f'int8: {error}',))
    return replace(
        row,
        int8_build_s=round(time.monotonic() - start, 1),
        int8_plan_mb=round(len(plan) / 1e6, 1),
    )


_STEPS: Final = {
    'weights': _make_weights,
    'export': _export,
    'build': _build,
    'int8': _build_int8,
}


def _parser() -> CommandParser:
    parser = CommandParser(
        prog='python -m test.engines',
        description='Export every network at its paper size, parse and build it with TensorRT.',
    )
    parser.add_argument('--models', type=names, default=(), help='which; all if left out')
    parser.add_argument('--again', action='store_true', help='also what is in the table')
    parser.add_argument('--step', choices=tuple(_STEPS), help='one step, for this command')
    parser.add_argument('--folder', type=Path, help='where the step finds its graph')
    return parser


def _by_size(models: Iterable[str]) -> tuple[str, ...]:
    """The light ones first, so that a run that is interrupted has most of the rows."""

    def weight(name: str) -> int:
        with torch.device('meta'):
            return sum(value.numel() for value in create_model(name).parameters())

    return tuple(sorted(models, key=weight))


if __name__ == '__main__':
    run_command(main)
