# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from depth_core.contracts import DepthKind, DepthMap, Intrinsics, Uint8Array
from depth_core.data.sample import Sample
from depth_core.errors import ConfigError, DataError, DepthError
from depth_core.evaluate import (
    ReportContext,
    Run,
    check_output,
    choose_indices,
    evaluate_dataset,
    write_report,
)
from depth_core.evaluate.pictures import draw_panel
from depth_core.evaluate.published import published_results
from depth_core.evaluate.run import scored_abs_rel
from depth_core.metrics import PROTOCOLS, depth_metrics

CONTEXT = ReportContext(
    command='python -m depth_core.evaluate --onnx model.onnx <x>',
    model='models/model.onnx',
    model_sha256='0' * 64,
    manifest={'name': 'model'},
    dataset='folder',
    data='data/images',
    split=None,
    limit=None,
)


class RedIsDepth:
    """A predictor whose depth is the red channel, in decimetres; sigma a tenth of it."""

    def __init__(self, *, kind: DepthKind = DepthKind.METRIC, sigma: bool = True) -> None:
        self.kind = kind
        self.sigma = sigma
        self.images: list[Uint8Array] = []

    def predict(self, image: Uint8Array, intrinsics: Intrinsics | None = None) -> DepthMap:
        del intrinsics
        self.images.append(image)
        depth_m = image[..., 0].astype(np.float32) / np.float32(10.0)
        sigma_m = 0.1 * depth_m if self.sigma else np.full_like(depth_m, np.nan)
        return DepthMap(
            depth_m=depth_m, sigma_m=sigma_m, kind=self.kind, backend='red', inference_s=0.01
        )


class Scenes:
    """Images whose red channel is 1.2 times the truth, but for the images without truth."""

    def __init__(
        self, count: int = 4, *, without: tuple[int, ...] = (1,), size: tuple[int, int] = (24, 32)
    ) -> None:
        self.count, self.without, self.size = count, without, size

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Sample:
        height, width = self.size
        codes = (torch.arange(height * width).reshape(height, width) * 7 + 31 * index) % 150 + 60
        image = torch.stack((codes.float(), codes.float() / 2, codes.float() / 3)) / 255.0
        depth_m = codes.float() / 12.0
        depth_m[0] = float('nan')
        if index in self.without:
            depth_m = torch.full_like(depth_m, float('nan'))
        return Sample(
            image=image,
            depth_m=depth_m,
            valid=torch.isfinite(depth_m),
            intrinsics=torch.eye(3),
            key=f'scene <{index}>',
        )


def run_scenes(predictor: RedIsDepth | None = None, **options: Any) -> Run:
    chosen = {'protocol': PROTOCOLS['none'], 'panels': 1, **options}
    dataset = chosen.pop('dataset', Scenes())
    return evaluate_dataset(predictor or RedIsDepth(), dataset, **chosen)


def test_predictions_are_scored_at_their_pixels_and_counted() -> None:
    seen: list[str] = []
    run = run_scenes(on_image=lambda score: seen.append(score.key))
    evaluation = run.evaluation
    assert (evaluation.images, evaluation.images_scored) == (4, 3)
    assert evaluation.images_without_ground_truth == 1
    assert evaluation.mean is not None
    assert evaluation.mean.abs_rel == pytest.approx(0.2, rel=1e-5)
    assert evaluation.mean.a1 == 1.0
    assert evaluation.by_distance[0].bias == pytest.approx(0.2, rel=1e-5)
    assert seen == [f'scene <{index}>' for index in range(4)]
    assert run.backend == 'red'
    assert run.inference_s == (0.01,) * 4


class RedWithoutScale(RedIsDepth):
    """The same in a unit of its own, which ends at what is 10 m and says so by +inf."""

    unit = np.float32(5.0)

    def predict(self, image: Uint8Array, intrinsics: Intrinsics | None = None) -> DepthMap:
        del intrinsics
        answer = super().predict(image)
        far = float(np.float32(12.0) * self.unit)
        depth = answer.depth_m * self.unit
        depth[depth >= far * 0.999] = np.inf
        return replace(answer, depth_m=depth, kind=DepthKind.UP_TO_SCALE, depth_range=(0.1, far))


@pytest.mark.parametrize('flip_average', ['none', 'blended_inverse'])
def test_the_end_of_a_range_without_scale_is_scaled_like_any_depth(flip_average: str) -> None:
    """Truth ends at 17.4 m; what lies beyond 10 m is answered as 10 m, and not as 80."""
    run = run_scenes(RedWithoutScale(), align='median', flip_average=flip_average)
    evaluation = run.evaluation
    assert evaluation.mean is not None
    assert 0.0 < evaluation.mean.abs_rel < (17.4 - 10.0) / 17.4


def test_the_predictor_sees_the_pixels_of_the_data_set() -> None:
    predictor = RedIsDepth()
    run_scenes(predictor, dataset=Scenes(1, without=()))
    expected = Scenes(1)[0].image.permute(1, 2, 0).numpy() * 255.0
    assert predictor.images[0].dtype == np.uint8
    np.testing.assert_array_equal(predictor.images[0], np.round(expected))


def test_median_alignment_is_an_option_the_run_names() -> None:
    run = run_scenes(RedIsDepth(kind=DepthKind.UP_TO_SCALE), align='median')
    assert run.evaluation.align == 'median'
    assert run.evaluation.mean is not None
    assert run.evaluation.mean.abs_rel == pytest.approx(0.0, abs=1e-5)
    assert run.panels[0].score.scale == pytest.approx(1 / 1.2, rel=1e-5)
    # The picture shows what was scored.
    known = np.isfinite(run.panels[0].target_m)
    shown = depth_metrics(run.panels[0].depth_m, run.panels[0].target_m, known)
    assert shown.abs_rel == pytest.approx(0.0, abs=1e-5)


def test_depth_that_is_not_metric_is_not_scored_in_metres() -> None:
    with pytest.raises(ConfigError, match=r'up to an unknown scale.*--align median'):
        run_scenes(RedIsDepth(kind=DepthKind.UP_TO_SCALE))
    with pytest.raises(ConfigError, match='inverse depth'):
        run_scenes(RedIsDepth(kind=DepthKind.INVERSE), align='median')


def test_window_cuts_image_and_truth_before_prediction() -> None:
    predictor = RedIsDepth()
    protocol = replace(PROTOCOLS['none'], window=(16, 20))
    run = run_scenes(predictor, dataset=Scenes(1, without=()), protocol=protocol)
    assert predictor.images[0].shape == (16, 20, 3)
    whole = np.round(Scenes(1)[0].image.permute(1, 2, 0).numpy() * 255.0)
    np.testing.assert_array_equal(predictor.images[0], whole[8:, 6:26])
    assert run.evaluation.mean is not None
    assert run.evaluation.mean.abs_rel == pytest.approx(0.2, rel=1e-5)


def test_model_without_sigma_has_no_uncertainty() -> None:
    assert run_scenes(RedIsDepth(sigma=False)).evaluation.uncertainty is None
    assert run_scenes().evaluation.uncertainty is not None


def test_nothing_to_score_is_an_error_that_says_why() -> None:
    with pytest.raises(DataError, match=r"none of 2 images .* 'none': 2 have no ground truth"):
        run_scenes(dataset=Scenes(2, without=(0, 1)))
    with pytest.raises(DataError, match='data set is empty'):
        run_scenes(dataset=Scenes(0))


def test_unknown_flip_average() -> None:
    with pytest.raises(ConfigError, match="did you mean 'blended'"):
        run_scenes(flip_average='blend')


@pytest.mark.parametrize(
    ('count', 'limit', 'expected'),
    [(5, None, [0, 1, 2, 3, 4]), (5, 9, [0, 1, 2, 3, 4]), (9, 3, [0, 4, 8]), (9, 1, [0])],
)
def test_a_limit_takes_images_at_even_distances(
    count: int, limit: int | None, expected: list[int]
) -> None:
    assert choose_indices(count, limit) == expected


def test_a_limit_must_leave_something() -> None:
    with pytest.raises(ConfigError, match='limit 0 leaves no image'):
        choose_indices(3, 0)


def test_flip_average_runs_a_second_pass_on_the_mirror_image() -> None:
    predictor = RedIsDepth()
    run = run_scenes(predictor, dataset=Scenes(1, without=()), flip_average='mean')
    assert len(predictor.images) == 2
    np.testing.assert_array_equal(predictor.images[1], predictor.images[0][:, ::-1])
    assert run.evaluation.mean is not None
    assert run.evaluation.mean.abs_rel == pytest.approx(0.2, rel=1e-5)
    assert run.flip_average == 'mean'
    assert run.inference_s == (0.02,)


def test_report_says_everything_and_stands_alone(tmp_path: Path) -> None:
    run = run_scenes(dataset=Scenes(5), panels=2)
    page = write_report(tmp_path / 'new/report', run, CONTEXT)
    folder = page.parent
    names = {path.name for path in folder.iterdir()}
    assert {'report.html', 'report.json', 'calibration.png', 'sparsification.png'} <= names
    assert {'error_by_distance.png', 'image_0.jpg', 'image_1.jpg', 'image_worst.jpg'} <= names
    assert (folder / 'calibration.png').read_bytes().startswith(b'\x89PNG')
    content = json.loads((folder / 'report.json').read_text())
    assert content['counts']['images_without_ground_truth'] == 1
    assert content['counts']['coverage'] == 1.0
    assert content['metrics']['mean']['abs_rel'] == pytest.approx(0.2, rel=1e-5)
    assert content['metrics']['headline'] == 'mean'
    assert content['metrics']['pooled']['rmse'] > 0.0
    assert content['baseline']['constant_depth_m'] > 0.0
    assert content['protocol']['name'] == 'none'
    assert (content['align'], content['flip_average']) == ('none', 'none')
    assert content['model']['manifest'] == {'name': 'model'}
    assert content['command'] == CONTEXT.command
    assert len(content['images']) == 5
    assert content['images'][1]['metrics'] is None
    assert len(content['uncertainty']['sparsification']['abs_rel']['by_sigma']) == 51
    assert content['environment']['versions']['numpy'] == np.__version__
    html = page.read_text()
    assert 'model.onnx on images' in html
    assert '5 images: 4 scored, 1 without ground truth' in html
    assert 'scene &lt;0&gt;' in html
    assert 'scene <0>' not in html
    assert 'src="data:image/jpeg;base64,' in html
    assert 'http' not in html.replace('http-equiv', '')


def test_images_as_parquet(tmp_path: Path) -> None:
    parquet = pytest.importorskip('pyarrow.parquet', reason='pyarrow is an optional extra')
    run = run_scenes(RedIsDepth())
    write_report(tmp_path / 'r', run, CONTEXT, parquet=True)
    table = parquet.read_table(tmp_path / 'r/frames.parquet').to_pydict()
    assert table['image'] == [score.key for score in run.scores]
    assert list(filter(None, table['abs_rel'])) == pytest.approx(scored_abs_rel(run))


def test_published_numbers_of_the_family_stand_beside_ours(tmp_path: Path) -> None:
    run = run_scenes(RedIsDepth())
    run = replace(run, evaluation=replace(run.evaluation, protocol=PROTOCOLS['nyu_eigen']))
    context = replace(CONTEXT, manifest={'family': 'zoedepth'})
    page = write_report(tmp_path / 'r', run, context).read_text(encoding='utf-8')
    assert 'ZoeD-M12-N<' in page
    assert 'arXiv:2302.12288' in page
    content = json.loads((tmp_path / 'r/metrics.json').read_text(encoding='utf-8'))
    assert content['published'][0]['abs_rel'] == 0.075
    assert published_results('zoedepth', PROTOCOLS['none']) == []


def test_report_names_the_options_that_change_the_numbers(tmp_path: Path) -> None:
    official = replace(
        PROTOCOLS['nyu_densedepth_official'], name='own', description='a < b', crop=None
    )
    run = run_scenes(protocol=official, align='median', flip_average='blended')
    html = write_report(tmp_path / 'report', run, CONTEXT).read_text()
    assert 'scaled to the median' in html
    assert 'blended with the pass on the mirrored image' in html
    assert 'over all pixels of the set' in html
    assert 'divided by the prediction' in html
    assert '<b>own</b>: a &lt; b' in html


def test_report_of_a_model_without_sigma(tmp_path: Path) -> None:
    page = write_report(tmp_path / 'report', run_scenes(RedIsDepth(sigma=False)), CONTEXT)
    assert not (page.parent / 'calibration.png').exists()
    assert '<h2>Uncertainty</h2>' not in page.read_text()


@pytest.mark.parametrize(
    ('without', 'wanted', 'expected'),
    [
        ((0, 1, 2, 4, 5), 3, [3, 6, 7]),  # all that there are
        ((), 2, [0, 6]),  # of every second one
        ((7,), 2, [0, 6]),
        ((0, 7), 1, [1]),
        ((), 0, []),
    ],
)
def test_pictures_are_of_scored_images_at_even_distances(
    without: tuple[int, ...], wanted: int, expected: list[int]
) -> None:
    run = run_scenes(dataset=Scenes(8, without=without), panels=wanted)
    assert [panel.score.key for panel in run.panels] == [f'scene <{index}>' for index in expected]
    assert run.worst is not None
    assert run.worst.score.sums is not None


def test_many_images_leave_as_many_pictures_as_wanted() -> None:
    run = run_scenes(dataset=Scenes(101, without=(0, 50), size=(4, 5)), panels=6)
    shown = [int(panel.score.key.removeprefix('scene <')[:-1]) for panel in run.panels]
    assert len(shown) == 6
    distances = np.diff(shown)
    assert shown[0] == 1
    assert shown[-1] >= 85
    assert distances.max() <= 2 * distances.min() + 1, 'at most one step apart'


def size_of(jpeg: bytes) -> tuple[int, int]:
    image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    return image.shape[0], image.shape[1]


def test_a_model_without_sigma_has_no_panels_of_it() -> None:
    plain = run_scenes(RedIsDepth(sigma=False))
    assert plain.panels[0].sigma_m is None
    uncertain = run_scenes()
    small, large = (
        size_of(draw_panel(run.panels[0], run.panel_scale)) for run in (plain, uncertain)
    )
    # Two by two tiles, each larger, against two rows of three.
    assert small[1] == large[1]
    assert small[0] == pytest.approx(large[0] * 1.5, rel=0.1)


def test_the_colours_of_pictures_follow_the_scene() -> None:
    run = run_scenes()
    shown = [panel for panel in (run.panels[0], run.worst, run.best) if panel is not None]
    ends = []
    for planes in ([item.target_m for item in shown], [item.depth_m for item in shown]):
        depths = np.concatenate([plane[np.isfinite(plane) & (plane > 0.0)] for plane in planes])
        ends.append(np.percentile(depths, (2.0, 98.0)))
    near, far = np.min(ends), np.max(ends)  # a sparse truth counts as much as a dense prediction
    assert run.panel_scale.near == pytest.approx(near)
    assert run.panel_scale.far == pytest.approx(max(far, 1.5 * near))


def test_the_report_escapes_a_name_that_is_no_text(tmp_path: Path) -> None:
    run = run_scenes(dataset=Scenes(1, without=()))
    score = replace(run.scores[0], key='caf\udce9')
    run = replace(run, scores=(score,), panels=(replace(run.panels[0], score=score),))
    page = write_report(tmp_path / 'report', run, replace(CONTEXT, data='caf\udce9'))
    assert r'caf\xe9: AbsRel' in page.read_text(encoding='utf-8')
    content = json.loads((tmp_path / 'report/report.json').read_text(encoding='utf-8'))
    assert content['images'][0]['key'] == r'caf\xe9'


def test_a_former_report_is_replaced_whole(tmp_path: Path) -> None:
    folder = tmp_path / 'report'
    write_report(folder, run_scenes(panels=2), CONTEXT)
    write_report(folder, run_scenes(), CONTEXT)
    assert sorted(path.name for path in folder.glob('image_[0-9].jpg')) == ['image_0.jpg']
    assert [path.name for path in tmp_path.iterdir()] == ['report']


def test_other_folders_are_left_alone(tmp_path: Path) -> None:
    keepsake = tmp_path / 'photos/a.jpg'
    keepsake.parent.mkdir()
    keepsake.write_bytes(b'x')
    with pytest.raises(DataError, match='photos exists and is not a report'):
        write_report(keepsake.parent, run_scenes(), CONTEXT)
    assert keepsake.read_bytes() == b'x'
    with pytest.raises(DataError, match='is not a report'):
        check_output(keepsake)
    with pytest.raises(DepthError, match='cannot write /proc/nowhere/report'):
        check_output(Path('/proc/nowhere/report'))


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Makes every later fsync find the disk full."""

    def fail(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    return lambda: monkeypatch.setattr(os, 'fsync', fail)


def test_a_full_disk_leaves_the_former_report(
    tmp_path: Path, full_disk: Callable[[], None]
) -> None:
    folder = tmp_path / 'report'
    run = run_scenes(RedIsDepth(sigma=False))
    write_report(folder, run, CONTEXT)
    before = (folder / 'report.json').read_text()
    full_disk()
    with pytest.raises(DepthError, match='No space left on device'):
        write_report(folder, run, CONTEXT)
    assert (folder / 'report.json').read_text() == before
    assert [path.name for path in tmp_path.iterdir()] == ['report']
