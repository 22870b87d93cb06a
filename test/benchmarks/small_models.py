# SPDX-License-Identifier: Apache-2.0
"""The speed of the small networks on this machine, for docs/engines.md.

    python -m test.benchmarks.small_models     (some ten minutes, on an idle machine)

Each is exported with random weights, which take the same time as trained ones, and measured twice:
against torch eager on the same weights, and against the bare loop of each runtime.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import torch

from depth_core.bench import main as bench
from depth_core.export import export_onnx
from depth_core.files import write_text_atomically
from depth_core.models import create_model
from depth_core.shipped import find_model
from depth_core.weights.checkpoint import save_model

NETWORKS: Final = (
    'densedepth_small',
    'zoedepth_small',
    'urcdc_small',
    'cliffnet_small',
    'selfsup_small',
)
SHIPPED: Final = 'shipped densedepth_small'
CAMERA: Final = ('--hfov_deg', '60')
"""The shipped model needs one; no time depends on it."""
RESULT: Final = Path(__file__).resolve().parents[2] / 'docs' / 'results' / 'bench.json'
KEPT: Final = (
    *('label', 'backend', 'precision', 'threads', 'batch', 'loop', 'frames'),
    *('p50_ms', 'p90_ms', 'p99_ms', 'min_ms', 'cpu_ms', 'round_p50_ms', 'frames_per_s'),
    *('preprocess_ms', 'inference_ms', 'postprocess_ms', 'copy_ms'),
    *('peak_memory_mb', 'start_cold_s', 'start_cached_s', 'others_cpu', 'ratio'),
)


def export(network: str, folder: Path) -> tuple[Path, Path]:
    """Make the graph and the checkpoint of a network with random weights."""
    torch.manual_seed(0)
    model = create_model(network)
    checkpoint, graph = folder / f'{network}.ckpt', folder / f'{network}.onnx'
    save_model(checkpoint, model)
    height, width = model.spec.default_size
    export_onnx(model, graph, height=height, width=width)
    return graph, checkpoint


def measure(graph: Path, reference: list[str], options: argparse.Namespace) -> dict[str, Any]:
    """Run the bench on one graph; what it wrote."""
    output = graph.with_suffix('.bench.json')
    bench(
        [
            *('--model', str(graph), '--backends', 'openvino,onnxruntime'),
            *('--threads', str(options.threads), '--frames', str(options.frames)),
            *('--rounds', str(options.rounds), '--output', str(output), *CAMERA, *reference),
        ]
    )
    written: dict[str, Any] = json.loads(output.read_text(encoding='utf-8'))
    return written


def models(folder: Path) -> Iterator[tuple[str, Path, Path | None]]:
    """Name, graph and checkpoint of each network; the shipped one has no checkpoint here."""
    shipped = folder / 'shipped.onnx'
    shipped.write_bytes(find_model('densedepth_small').read_bytes())
    yield SHIPPED, shipped, None
    for network in NETWORKS:
        yield network, *export(network, folder)


def main() -> None:
    """Measure one network after the other, and write down what is known after each."""
    parser = argparse.ArgumentParser(prog='python -m test.benchmarks.small_models')
    parser.add_argument('--frames', type=int, default=200, help='calls in each row')
    parser.add_argument('--rounds', type=int, default=10, help='turns of each row')
    parser.add_argument('--threads', type=int, default=1, help='CPU threads of each row')
    parser.add_argument('--output', type=Path, default=RESULT, help='JSON file to write')
    options = parser.parse_args()
    runs: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name:
        for network, graph, checkpoint in models(Path(name)):
            references = [['--reference', 'raw']]
            if checkpoint is not None:
                references.append(['--reference', 'torch', '--checkpoint', str(checkpoint)])
            for reference in references:
                written = measure(graph, reference, options)
                rows = [{key: row[key] for key in KEPT} for row in written['results']]
                runs.append(
                    {
                        'network': network,
                        'reference': reference[1],
                        'load_1min': written['machine']['load_1min'],
                        'results': rows,
                    }
                )
                content = {'machine': written['machine'], 'runs': runs}
                write_text_atomically(options.output, json.dumps(content, indent=1) + '\n')


if __name__ == '__main__':
    main()
