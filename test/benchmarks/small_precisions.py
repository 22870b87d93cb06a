# SPDX-License-Identifier: Apache-2.0
"""What fp16 and int8 cost the shipped model and the small networks, for docs/engines.md.

    python -m test.benchmarks.small_precisions     (some ten minutes)
    python -m test.benchmarks.small_precisions --models shipped,cliffnet_small

The networks of the registry have random weights that are conditioned as in the tests. The shipped
model is scored on real images too, where a folder of them is at hand; other images than drawn
ones to calibrate it with may be named. Nothing here depends on the speed of the machine.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import onnx
import torch

from depth_core.arguments import names
from depth_core.data import DepthDataset, detect_dataset, open_dataset
from depth_core.data.sample import Sample
from depth_core.errors import ExportError
from depth_core.export import export_onnx
from depth_core.export.precision.activations import extents
from depth_core.export.precision.emulation import emulated
from depth_core.export.precision.graph import Graph, load_graph
from depth_core.export.precision.image_sets import ImageSet, image_sets
from depth_core.export.precision.int8 import to_int8
from depth_core.export.precision.measure import Answers, abs_rel, answers, compare
from depth_core.export.precision.mixed import to_mixed
from depth_core.export.precision.rule import nodes_in_fp32
from depth_core.export.precision.sessions import ModelBackend
from depth_core.files import write_text_atomically
from depth_core.manifest import Manifest, plain, read_manifest
from depth_core.metrics import find_protocol
from depth_core.models import create_model
from depth_core.shipped import find_model
from test.conditioned import conditioned

ROOT: Final = Path(__file__).resolve().parents[2]
RESULT: Final = ROOT / 'docs' / 'results' / 'engine_precision.json'
DATA: Final = ROOT.parent / 'shared' / 'data'
NETWORKS: Final = (
    'densedepth_small',
    'zoedepth_small',
    'urcdc_small',
    'cliffnet_small',
    'selfsup_small',
)
SHIPPED: Final = 'densedepth_small, shipped'
ORDER: Final = (SHIPPED, *(f'{name}, random' for name in NETWORKS))
TRUTH: Final = {
    'NYU': ('nyu_mini', 'nyu_eigen'),
    'KITTI': ('kitti_raw_mini', 'kitti_eigen_garg_80m'),
}
"""Folder and protocol of the sets with ground truth."""


SCORED: Final = 25
"""Images of each of them, about, at even distances."""


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One way to convert a graph and to run it."""

    name: str
    convert: Callable[[Graph, ImageSet], onnx.ModelProto]
    prepare: Callable[[onnx.ModelProto], onnx.ModelProto]
    optimise: bool
    method: str


def by_rule(graph: Graph, images: ImageSet) -> onnx.ModelProto:
    """As `depth_core.export --precision fp16` does."""
    largest = {
        name: max(-low, high) for name, (low, high) in extents(graph, images.inputs).items()
    }
    return to_mixed(graph, nodes_in_fp32(graph, largest))


def everywhere(graph: Graph, images: ImageSet) -> onnx.ModelProto:
    """Without a rule: what any converter of types would write."""
    del images
    return to_mixed(graph, ())


def as_written(model: onnx.ModelProto) -> onnx.ModelProto:
    """Run a graph as it is."""
    return model


VARIANTS: Final = (
    Variant(
        name='fp16', convert=by_rule, prepare=emulated, optimise=False, method='rounded emulation'
    ),
    Variant(
        name='fp16 everywhere',
        convert=everywhere,
        prepare=emulated,
        optimise=False,
        method='rounded emulation',
    ),
    Variant(
        name='int8',
        convert=lambda graph, images: to_int8(graph, images.inputs, 'tensorrt'),
        prepare=as_written,
        optimise=False,
        method='Q/DQ as written',
    ),
    Variant(
        name='int8_cpu',
        convert=lambda graph, images: to_int8(graph, images.inputs, 'cpu'),
        prepare=as_written,
        optimise=True,
        method='onnxruntime',
    ),
)


def graphs(
    folder: Path, models: Sequence[str], calibration: str | None
) -> Iterator[tuple[str, Path, str | None]]:
    """Name, file and calibration of each network; all when none is named."""
    for name in models or ('shipped', *NETWORKS):
        if name == 'shipped':
            yield SHIPPED, find_model('densedepth_small'), calibration
            continue
        torch.manual_seed(0)
        model = conditioned(create_model(name))
        path = folder / f'{name}.onnx'
        export_onnx(model, path, free_size=False)
        yield f'{name}, random', path, None


def measured(name: str, path: Path, source: str | None, data: Path) -> Iterator[dict[str, Any]]:
    """A row for each variant."""
    manifest, model = read_manifest(path), load_graph(path)
    calibration, images = image_sets(source, manifest)
    reference = ModelBackend(model, manifest, optimise=True)
    expected = answers(reference, images.inputs)
    truths = list(truth(data)) if name == SHIPPED else []
    scored = {key: abs_rel(reference, *pair) for key, *pair in truths}
    for variant in VARIANTS:
        converted = variant.prepare(variant.convert(Graph(model), calibration))
        backend = ModelBackend(converted, manifest, optimise=variant.optimise)
        error = spreads(expected, answers(backend, images.inputs), manifest)
        yield {
            'model': name,
            'precision': variant.name,
            'calibration': calibration.description,
            'images': images.description,
            'error': error | {'method': variant.method},
            'abs_rel': {
                key: {
                    'images': scored[key][1],
                    'protocol': pair[1].name,
                    'fp32': scored[key][0],
                    'change': abs_rel(backend, *pair)[0] / scored[key][0] - 1.0,
                }
                for key, *pair in (truths if error['depth'] else ())
            },
        }


def spreads(expected: Answers, found: Answers, manifest: Manifest) -> dict[str, Any]:
    """The differences of depth and sigma; none where an answer is not finite."""
    try:
        depth, sigma = compare(expected, found, manifest.output)
    except ExportError as error:
        return {'depth': None, 'sigma': None, 'reason': str(error)}
    return {'depth': plain(depth), 'sigma': plain(sigma)}


def truth(data: Path) -> Iterator[tuple[str, DepthDataset, Any]]:
    """The sets with ground truth that are there."""
    for name, (folder, protocol) in TRUTH.items():
        if (data / folder).is_dir():
            root = data / folder
            dataset = open_dataset(detect_dataset(root), root=root)
            yield name, Some(dataset), find_protocol(protocol)


class Some(Sequence[Sample]):
    """Some samples of a data set that have ground truth, at even distances."""

    def __init__(self, dataset: DepthDataset) -> None:
        self._dataset = dataset
        known: Callable[[int], bool] = getattr(dataset, 'has_depth', lambda _: True)
        with_truth = [index for index in range(len(dataset)) if known(index)]
        self._chosen = with_truth[:: max(1, len(with_truth) // SCORED)]

    def __len__(self) -> int:
        return len(self._chosen)

    def __getitem__(self, index: Any) -> Any:
        return self._dataset[self._chosen[index]]


def main() -> None:
    """Measure all networks and write the result."""
    parser = argparse.ArgumentParser(prog='python -m test.benchmarks.small_precisions')
    parser.add_argument('--data', type=Path, default=DATA, help='folder of the sets with truth')
    parser.add_argument('--calibration', help='images for the shipped model; drawn if left out')
    parser.add_argument(
        '--models', type=names, default=(), help='shipped, or random networks, in place of all'
    )
    parser.add_argument('--output', type=Path, default=RESULT, help='JSON file to write')
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    if options.models:
        rows = json.loads(options.output.read_text(encoding='utf-8'))['results']
    with tempfile.TemporaryDirectory() as folder:
        for name, path, source in graphs(Path(folder), options.models, options.calibration):
            rows = [row for row in rows if row['model'] != name]
            rows += measured(name, path, source, options.data)
            rows.sort(key=lambda row: ORDER.index(row['model']))
            content = json.dumps({'results': rows}, indent=1)
            write_text_atomically(options.output, content + '\n')
            sys.stdout.write(f'{name} is measured\n')
            sys.stdout.flush()


if __name__ == '__main__':
    main()
