# SPDX-License-Identifier: Apache-2.0
"""What the shipped models reach, for the table of docs/models.md.

    python -m test.benchmarks.shipped_models --data FOLDER      (some minutes a model)

FOLDER holds `nyu_mini`, `sevenscenes_mini` and `kitti_raw_mini`; data that is not there is left
out. Each model is scored through its graph as it is served, and timed from 640x480 pixels on.
What was found goes to docs/results/shipped_models.json, model by model, and the tables are made of
that: `--models NAME` measures some again, `--models` with no name only writes the tables anew, and
`--real` scores the real frames alone again.

    python -m test.benchmarks.shipped_models --data FOLDER --weights zoedepth_k.ckpt

prints the rows of the KITTI drives for networks that are not shipped, as authors' weights that
`depth_core.convert` has converted, and writes nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch

from depth_core.bench import main as bench
from depth_core.contracts import DepthKind
from depth_core.data import open_dataset
from depth_core.data.sample import DepthDataset, Sample
from depth_core.data.synthetic import SyntheticDataset, VariedDataset
from depth_core.evaluate.run import Run, evaluate_dataset
from depth_core.files import write_text_atomically
from depth_core.manifest import Manifest
from depth_core.metrics import Align, find_protocol
from depth_core.models import create_model
from depth_core.runtime import Predictor
from depth_core.shipped import find_model, shipped_models

ROOT: Final = Path(__file__).resolve().parents[2]
RESULT: Final = ROOT / 'docs' / 'results' / 'shipped_models.json'
PAGE: Final = ROOT / 'docs' / 'models.md'
HEADING: Final = '## The shipped models'
END: Final = '\n## '
SEED: Final = 1_000_000
"""Of the held-out synthetic scenes; no configuration trains on it."""
VARIED_SEED: Final = 901
"""Of the held-out varied scenes; no configuration trains on it or chooses a checkpoint by it."""

GROUND, OBSTACLE, THIN, EDGE = 'ground', 'obstacle', 'thin', 'edge'
"""Groups of pixels, as evaluations name them."""


@dataclass(frozen=True)
class Source:
    """Real frames: where they are, and how they are scored."""

    column: str
    protocol: str
    name: str
    folder: str
    options: Mapping[str, Any]
    drive: str | None = None
    """Of KITTI, the drive whose frames are taken."""

    def open(self, root: Path, scratch: Path) -> DepthDataset | None:
        """Open it; None where the folder is not there."""
        folder = root / self.folder
        if not folder.is_dir():
            return None
        if self.name == 'sevenscenes':
            folder = as_published(folder, scratch / self.folder)
        split = None
        if self.drive is not None:
            split = scratch / f'{self.drive}.txt'
            frames = sorted(folder.glob(f'*/{self.drive}/image_02/data/*'))
            lines = [f'{f.parts[-5]}/{self.drive} {int(f.stem)} l' for f in frames]
            split.write_text('\n'.join(lines) + '\n', encoding='utf-8')
        return open_dataset(self.name, root=folder, split=split, **self.options)


def as_published(folder: Path, links: Path) -> Path:
    """Frames of 7-Scenes that lie in folders of images, depth and poses, by their true names."""
    sequence = links / 'seq-01'
    sequence.mkdir(parents=True)
    for image in sorted((folder / 'images').iterdir()):
        frame = sequence / f'frame-{image.stem}'
        frame.with_suffix('.color.png').symlink_to(image.resolve())
        for kind, ending in (('depth', 'depth.png'), ('poses', 'pose.txt')):
            path = (folder / kind / image.stem).with_suffix(Path(ending).suffix)
            frame.with_suffix(f'.{ending}').symlink_to(path.resolve())
    return links


GARG: Final = 'kitti_eigen_garg_80m'
DRIVE: Final = '2011_09_26_drive_{}_sync'
REAL: Final = (
    Source('NYU mini', 'nyu_eigen', 'nyu', 'nyu_mini', {}),
    Source('7-Scenes mini', 'none', 'folder', 'sevenscenes_mini', {'depth_unit_m': 0.001}),
    Source('registered', 'none', 'sevenscenes', 'sevenscenes_mini', {}),
    Source('KITTI 0052', GARG, 'kitti', 'kitti_raw_mini', {}, DRIVE.format('0052')),
    Source(
        'KITTI 0023', GARG, 'kitti', 'kitti_raw_mini', {'ground_truth': 'proj_depth'},
        DRIVE.format('0023'),
    ),
)  # fmt: skip


def numbers_of(run: Run) -> dict[str, Any]:
    """What is kept of a run."""
    evaluation = run.evaluation
    assert evaluation.mean is not None
    kept: dict[str, Any] = {
        'images': evaluation.images_scored,
        'abs_rel': round(evaluation.mean.abs_rel, 4),
        'rmse': round(evaluation.mean.rmse, 3),
        'a1': round(evaluation.mean.a1, 4),
    }
    kept['by_kind'] = {item.name: round(item.metrics.abs_rel, 4) for item in evaluation.by_group}
    if evaluation.constant_mean is not None:
        kept['constant_abs_rel'] = round(evaluation.constant_mean.abs_rel, 4)
    if evaluation.uncertainty is not None:
        pooled = evaluation.uncertainty.pooled
        kept['stated_within'] = round(pooled.expected_within, 3)
        kept['observed_within'] = round(pooled.observed_within, 3)
        kept['calibration_error'] = round(pooled.calibration_error, 3)
    return kept


def score(predictor: Predictor, dataset: DepthDataset, protocol: str, align: Align) -> Run:
    """Score a model; the range of synthetic depth and of 7-Scenes is what cameras see."""
    limits = {'min_depth_m': 0.3, 'max_depth_m': 80.0} if protocol == 'none' else {}
    chosen = find_protocol(protocol, **limits)
    return evaluate_dataset(predictor, dataset, protocol=chosen, align=align, panels=0)


def measure_rendered(predictor: Predictor, samples: Sequence[Sample], align: Align) -> Any:
    """Held-out scenes: all, by kind and edges, by class."""
    listed: Any = samples
    whole = score(predictor, listed, 'none', align)
    by_class = {item.name: round(item.metrics.abs_rel, 4) for item in whole.evaluation.by_class}
    return {**numbers_of(whole), 'by_class': by_class}


def frames_per_s(graph: Path, scratch: Path, threads: int) -> dict[str, float]:
    """Frames a second of the whole predictor at 640x480, by backend, fp32.

    Nothing where others compute meanwhile: that would be their number as much as the model's.
    """
    output = scratch / 'bench.json'
    bench(
        [
            *('--model', str(graph), '--backends', 'openvino,onnxruntime', '--hfov_deg', '70'),
            *('--threads', str(threads), '--frames', '60', '--rounds', '3'),
            *('--output', str(output)),
        ]
    )
    written = json.loads(output.read_text(encoding='utf-8'))
    if written['machine']['load_1min'] > (os.cpu_count() or 1):
        return {}
    return {row['backend']: round(row['frames_per_s'], 1) for row in written['results']}


def parameters_of(manifest: Manifest) -> int:
    """Weights of the network, those that serve training alone included."""
    with torch.device('meta'):
        model = create_model(manifest.name, **manifest.options)
    return sum(parameter.numel() for parameter in model.parameters())


def measure(
    name: str, rendered: Mapping[str, Sequence[Sample]], data: Path, threads: int
) -> dict[str, Any]:
    """Score and time one model.

    Args:
        name: Of a shipped model.
        rendered: Held-out scenes, `synthetic` and `varied`.
        data: Folder of the real frames.
        threads: CPU threads when timed.
    """
    graph = find_model(name)
    predictor = Predictor.open(name, backend='onnxruntime')
    manifest = predictor.manifest
    found: dict[str, Any] = {
        'family': manifest.family,
        'kind': str(manifest.output.kind),
        'parameters': parameters_of(manifest),
        'megabytes': round(graph.stat().st_size / 1e6, 1),
        'input': [manifest.input.height, manifest.input.width],
        'calibration': manifest.training.get('calibration'),
    }
    aligns = aligns_of(manifest)
    with tempfile.TemporaryDirectory() as scratch:
        found['frames_per_s'] = frames_per_s(graph, Path(scratch), threads)
        for column, samples in rendered.items():
            found[column] = {
                align: measure_rendered(predictor, samples, align) for align in aligns
            }
    return found | measure_real(predictor, data)


def aligns_of(manifest: Manifest) -> tuple[Align, ...]:
    """As the model states metres, where it does, and scaled to the median."""
    up_to_scale = manifest.output.kind is DepthKind.UP_TO_SCALE
    return ('median',) if up_to_scale else ('none', 'median')


def measure_real(predictor: Predictor, data: Path) -> dict[str, Any]:
    """Score a model on the real frames that are there."""
    found = {}
    with tempfile.TemporaryDirectory() as scratch:
        for source in REAL:
            dataset = source.open(data, Path(scratch))
            if dataset is not None:
                found[source.column] = {
                    align: numbers_of(score(predictor, dataset, source.protocol, align))
                    for align in aligns_of(predictor.manifest)
                }
    return found


def _all(dataset: DepthDataset) -> Iterator[Sample]:
    return (dataset[index] for index in range(len(dataset)))


def table(results: Mapping[str, Mapping[str, Any]]) -> str:
    """The section of docs/models.md: one row a model."""
    columns = [source.column for source in REAL]
    head = ['model', 'synthetic', 'varied', *(GROUND, OBSTACLE, THIN, EDGE), *columns]
    head += ['frames/s', 'parameters', 'calibration']
    lines = [_row(head), _row(['---'] * len(head))]
    lines += [_row([*_cells(name, found, columns)]) for name, found in sorted(results.items())]
    return '\n'.join(lines)


def real_table(results: Mapping[str, Mapping[str, Any]]) -> str:
    """The KITTI drives by what is seen: one row a model and drive."""
    kinds = (GROUND, OBSTACLE, THIN, EDGE)
    head = ['model', 'drive', 'images', 'all', *kinds]
    lines = [_row(head), _row(['---'] * len(head))]
    for name, found in sorted(results.items()):
        for column in (source.column for source in REAL if source.drive is not None):
            scores = found.get(column)
            if scores is not None:
                each = next(iter(scores.values()))['by_kind']
                cells = [_pair({a: {'abs_rel': s['by_kind'][kind]} for a, s in scores.items()})
                         if kind in each else '-' for kind in kinds]  # fmt: skip
                images = str(next(iter(scores.values()))['images'])
                lines.append(_row([f'`{name}`', column, images, _pair(scores), *cells]))
    return '\n'.join(lines)


def _row(cells: Sequence[str]) -> str:
    return f'| {" | ".join(cells)} |'


def _cells(name: str, found: Mapping[str, Any], columns: Sequence[str]) -> Iterator[str]:
    yield f'`{name}`'
    yield _pair(found['synthetic'])
    yield _pair(found['varied'])
    stated = found['varied'].get('none', found['varied']['median'])
    shown = stated['by_kind']
    for kind in (GROUND, OBSTACLE, THIN, EDGE):
        yield f'{shown[kind]:.3f}' if kind in shown else '-'
    for column in columns:
        yield _pair(found.get(column))
    rates = found['frames_per_s'].values()
    yield f'{max(rates):.0f}' if rates else 'machine busy'
    yield f'{found["parameters"] / 1e6:.2f} M'
    calibration = found['calibration']
    if calibration is None:
        yield f'{stated["calibration_error"]:.3f} (none made)'
    else:
        yield f'{calibration["error_before"]:.3f} -> {calibration["error_after"]:.3f}'


def _pair(scores: Mapping[str, Any] | None) -> str:
    """AbsRel as the model states metres, and with each image scaled to its median."""
    if scores is None:
        return '-'
    cells = [f'{scores[a]["abs_rel"]:.3f}' if a in scores else '-' for a in ('none', 'median')]
    return ' / '.join(cells)


def renew(page: Path, text: str) -> None:
    """Put `text` behind the heading of the page, in the place of what stands there."""
    content = page.read_text(encoding='utf-8')
    before, _, rest = content.partition(f'{HEADING}\n')
    behind = rest.partition(END)[2]
    write_text_atomically(page, f'{before}{HEADING}\n\n{text}\n{END}{behind}')


INTRODUCTION: Final = """\
AbsRel, unaligned / each image scaled to the median of its truth, on held-out rendered scenes, the
plain ones and the varied ones, the latter by kind of pixel too (unaligned where the model states
metres), and on a few real frames. The depth camera of 7-Scenes saw the scene through another lens:
the column 7-Scenes mini has its depth and its focal length as they are, `registered` both of the
colour camera ([data.md](data.md)). Frames a second are those of the whole predictor at
640x480, fp32, {threads} CPU thread(s), the faster of OpenVINO and ONNX Runtime. Calibration error
of the confidence before and after it was corrected on held-out scenes. Made by
`python -m test.benchmarks.shipped_models --data FOLDER`; more numbers, and those of classes, in
[results/shipped_models.json](results/shipped_models.json).

"""


BY_KIND: Final = """

KITTI by what is seen, AbsRel in the same way under {protocol}: without labels, ground and
obstacles go by a plane fitted to the truth, and thin is nearer than both its sides within a
fiftieth of the width ([evaluation.md](evaluation.md#the-report)). Made by the same command with
`--real`.

"""


def main() -> None:
    """Measure the models that are asked for, and write the table."""
    parser = argparse.ArgumentParser(prog='python -m test.benchmarks.shipped_models')
    parser.add_argument('--data', type=Path, default=Path('data'), help='folder of real frames')
    parser.add_argument('--models', nargs='*', default=sorted(shipped_models()), help='names')
    parser.add_argument('--images', type=int, default=100, help='held-out synthetic images')
    parser.add_argument('--threads', type=int, default=2, help='CPU threads when timed')
    parser.add_argument('--real', action='store_true', help='the real frames alone')
    parser.add_argument('--weights', nargs='+', default=(), help='.ckpt or .onnx to print rows of')
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.weights:
        opened = {Path(name).name: Predictor.open(name) for name in options.weights}
        scored = {name: measure_real(item, options.data) for name, item in opened.items()}
        print(real_table(scored))
        return
    content: dict[str, Any] = {'models': {}}
    if RESULT.is_file():
        content = json.loads(RESULT.read_text(encoding='utf-8'))
    rendered = {}
    if options.models and not options.real:
        content |= {'images': options.images, 'threads': options.threads}
        size = {'length': options.images, 'height': 480, 'width': 640}
        rendered = {
            'synthetic': list(_all(SyntheticDataset(seed=SEED, **size))),
            'varied': list(_all(VariedDataset(seed=VARIED_SEED, **size))),
        }
    for name in options.models:
        if options.real:
            predictor = Predictor.open(name, backend='onnxruntime')
            content['models'][name] |= measure_real(predictor, options.data)
        else:
            content['models'][name] = measure(name, rendered, options.data, options.threads)
        write_text_atomically(RESULT, json.dumps(content, indent=1) + '\n')
    introduction = INTRODUCTION.format(threads=content['threads'])
    behind = BY_KIND.format(protocol=GARG) + real_table(content['models'])
    renew(PAGE, introduction + table(content['models']) + behind)
    print(table(content['models']) + behind)


if __name__ == '__main__':
    main()
