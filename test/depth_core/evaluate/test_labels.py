# SPDX-License-Identifier: Apache-2.0
"""Metrics by class where a semantic network, not the data, gives the classes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from depth_core.contracts import DepthKind, DepthMap, Intrinsics, Uint8Array
from depth_core.data.sample import Sample
from depth_core.errors import CheckpointError
from depth_core.evaluate import evaluate_dataset
from depth_core.evaluate.__main__ import main
from depth_core.evaluate.labels import PredictedLabels
from depth_core.metrics import PROTOCOLS
from depth_core.metrics.classes import CLASS_NAMES
from depth_core.models import NETWORKS, create_model
from depth_core.models.selfsup.semantic import FrozenSemantics
from depth_core.weights.checkpoint import save_model

HEIGHT, WIDTH = 64, 96
TINY_SEMANTICS = NETWORKS['semantic_resnet18'].tiny


def save_guided(path: Path, *, bias: float = 0.0, **options: Any) -> Path:
    """A guided network whose semantic part was drawn; `bias` speaks for class 13, the cars."""
    torch.manual_seed(0)
    model = create_model('semantic_resnet18', **{**TINY_SEMANTICS, **options})
    semantics = model.get_submodule('semantics')
    assert isinstance(semantics, FrozenSemantics)
    head = semantics.network.network.segmentation_head[0]
    head.bias.data[min(13, len(head.bias) - 1)] += bias
    save_model(path, model, provenance={'height': HEIGHT, 'width': WIDTH})
    return path


@pytest.fixture(scope='module')
def guided(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_guided(tmp_path_factory.mktemp('guided') / 'last.ckpt')


@pytest.fixture(scope='module')
def of_cars(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One that sees cars everywhere."""
    return save_guided(tmp_path_factory.mktemp('cars') / 'last.ckpt', bias=1e6)


@pytest.fixture(scope='module')
def image() -> Uint8Array:
    coarse = np.random.default_rng(0).integers(0, 255, (4, 6, 3)).astype(np.uint8)
    return np.ascontiguousarray(coarse.repeat(HEIGHT // 4, 0).repeat(WIDTH // 6, 1))


class TwoMetres:
    """A predictor that answers 2 m everywhere."""

    def predict(self, image: Uint8Array, intrinsics: Intrinsics | None = None) -> DepthMap:
        del intrinsics
        depth_m = np.full(image.shape[:2], 2.0, np.float32)
        return DepthMap(
            depth_m=depth_m, sigma_m=0.1 * depth_m, kind=DepthKind.METRIC, backend='constant',
            inference_s=0.01,
        )  # fmt: skip


class Single(list[Sample]):
    """A data set of samples at hand."""


def sample_of(image: Uint8Array, depth_m: torch.Tensor) -> Sample:
    return Sample(
        image=torch.from_numpy(image).permute(2, 0, 1).float() / 255.0,
        depth_m=depth_m,
        valid=torch.isfinite(depth_m),
        intrinsics=torch.eye(3),
        key='a',
    )


def test_each_pixel_is_scored_as_the_class_it_is_predicted_to_be(
    guided: Path, image: Uint8Array
) -> None:
    labels = PredictedLabels(guided)
    predicted = labels.predict(image)
    assert predicted.shape == (HEIGHT, WIDTH)
    assert len(np.unique(predicted)) > 1
    # The truth is made of the classes, so that each has an error of its own.
    target_m = 1.0 + torch.from_numpy(predicted).float() / 32.0
    target_m[:8] = torch.nan
    sample = sample_of(image, target_m)
    run = evaluate_dataset(
        TwoMetres(), Single([sample]), protocol=PROTOCOLS['none'], labels=labels, panels=1
    )
    assert run.labels_from == labels.source
    found = {item.train_id: item for item in run.evaluation.by_class}
    assert set(found) == set(np.unique(predicted[8:]))
    for train_id, item in found.items():
        true_m = 1.0 + train_id / 32.0
        assert item.pixels == int((predicted[8:] == train_id).sum())
        assert item.metrics.abs_rel == pytest.approx(abs(2.0 - true_m) / true_m, rel=1e-5)


def test_what_is_predicted_goes_before_the_labels_of_the_data(
    of_cars: Path, image: Uint8Array
) -> None:
    labelled = replace(
        sample_of(image, torch.full((HEIGHT, WIDTH), 2.0)),
        semantic=torch.full((HEIGHT, WIDTH), 2),
    )

    def classes(labels: PredictedLabels | None) -> list[str]:
        run = evaluate_dataset(
            TwoMetres(), Single([labelled]), protocol=PROTOCOLS['none'], labels=labels, panels=1
        )
        return [item.name for item in run.evaluation.by_class]

    assert classes(None) == ['building']
    assert classes(PredictedLabels(of_cars)) == ['car']


def test_images_are_shown_at_the_size_of_training(guided: Path, image: Uint8Array) -> None:
    labels = PredictedLabels(guided)
    assert labels.size == (HEIGHT, WIDTH)
    with torch.inference_mode():
        shown = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255.0
        own = labels.network(shown)[0].argmax(dim=0).numpy()
    assert np.array_equal(labels.predict(image), own)
    # Of a larger picture of the same, nearly every pixel is classified alike.
    larger = cv2.resize(image, (3 * WIDTH, 3 * HEIGHT), interpolation=cv2.INTER_NEAREST)
    predicted = labels.predict(np.asarray(larger, np.uint8))
    assert predicted.shape == (3 * HEIGHT, 3 * WIDTH)
    assert (predicted[1::3, 1::3] == own).mean() > 0.9


def test_the_command_scores_by_class_without_labels(
    guided: Path, of_cars: Path, tmp_path: Path, image: Uint8Array,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    for folder in ('images', 'depth'):
        (tmp_path / 'data' / folder).mkdir(parents=True)
    assert cv2.imwrite(str(tmp_path / 'data/images/a.png'), image)
    np.save(tmp_path / 'data/depth/a.npy', np.full((HEIGHT, WIDTH), 5.0, np.float32))
    given = ['--checkpoint', str(guided), '--data', str(tmp_path / 'data'), '--protocol', 'none',
             '--align', 'median', '--pictures', '1']  # fmt: skip
    main([*given, '--output', str(tmp_path / 'plain')])
    assert 'by class' not in capsys.readouterr().out
    plain = json.loads((tmp_path / 'plain/report.json').read_text())
    assert plain['per_class'] == {'labels_from': None, 'mean': None, 'classes': []}
    main([*given, '--semantic_weights', str(of_cars), '--output', str(tmp_path / 'report')])
    printed = capsys.readouterr().out
    assert f'AbsRel by class, as predicted by {of_cars} (sha256 ' in printed
    content = json.loads((tmp_path / 'report/report.json').read_text())
    (only,) = content['per_class']['classes']
    assert (only['name'], only['pixels']) == ('car', HEIGHT * WIDTH)
    assert content['per_class']['labels_from'].startswith(str(of_cars))
    page = (tmp_path / 'report/report.html').read_text()
    assert f'the semantic network of {of_cars}' in page


def test_files_that_predict_no_classes_are_refused(tmp_path: Path, guided: Path) -> None:
    plain = tmp_path / 'plain.ckpt'
    save_model(plain, create_model('densedepth_small', encoder='mobilenetv3_small_050'))
    fewer = save_guided(tmp_path / 'fewer.ckpt', semantic_classes=5)
    foreign, cut = tmp_path / 'fpn.pth', tmp_path / 'cut.ckpt'
    torch.save({'weight': torch.zeros(1)}, foreign)
    cut.write_bytes(guided.read_bytes()[:1000])
    for path, message in (
        (tmp_path / 'gone.ckpt', 'gone.ckpt does not exist'),
        (tmp_path, 'give a .ckpt of semantic_packnet or semantic_resnet18'),
        (foreign, 'fpn.pth are no checkpoint of this package; give a .ckpt'),
        (cut, 'cut.ckpt .* is no complete file'),
        (plain, 'plain.ckpt are of densedepth_small, which predicts no classes'),
        (fewer, f'fewer.ckpt predicts 5 classes; .* the {len(CLASS_NAMES)} of Cityscapes'),
    ):
        with pytest.raises(CheckpointError, match=message):
            PredictedLabels(path)
