# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from depth_core import shipped
from depth_core.data.synthetic import SyntheticDataset
from depth_core.errors import DepthError, ModelError
from depth_core.geometry import intrinsics_from_hfov
from depth_core.manifest import read_manifest
from depth_core.runtime import Predictor
from depth_core.runtime.engine.answers import read_answers
from depth_core.shipped import (
    default_model,
    find_checkpoint,
    find_model,
    shipped_file,
    shipped_models,
)


@pytest.mark.parametrize('place', ['lib/python3.11/site-packages', 'depth_ros/lib/python3/x'])
def test_a_file_is_found_in_the_prefix_that_holds_the_package(tmp_path: Path, place: str) -> None:
    package = tmp_path / place / 'depth_core'
    installed = tmp_path / place.split('lib', maxsplit=1)[0] / 'share/depth_ros/config/train'
    installed.mkdir(parents=True)
    (installed / 'a.yaml').touch()
    assert shipped_file('config/train/a.yaml', package=package) == installed / 'a.yaml'
    with pytest.raises(DepthError, match=r'b.yaml of this package is neither beside it'):
        shipped_file('config/train/b.yaml', package=package)


KNOWN = ', '.join(shipped_models())


def test_the_ros_environment_is_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed = tmp_path / 'overlay/share/depth_ros/config'
    installed.mkdir(parents=True)
    (installed / 'a.xml').touch()
    monkeypatch.setenv('AMENT_PREFIX_PATH', f'/nowhere:{tmp_path / "overlay"}')
    assert shipped_file('config/a.xml', package=tmp_path / 'x') == installed / 'a.xml'


def test_the_shipped_models_have_the_names_of_their_files(repository: Path) -> None:
    expected = {path.stem: path for path in (repository / 'trt_engines').glob('*.onnx')}
    assert shipped_models() == expected
    assert default_model() == repository / 'trt_engines/densedepth_small.onnx'


def test_a_graph_of_lower_precision_beside_a_model_is_no_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / 'trt_engines').mkdir()
    for name in ('a.onnx', 'a.fp16.onnx', 'a.int8_cpu.onnx'):
        (tmp_path / 'trt_engines' / name).touch()
    monkeypatch.setattr(shipped, 'share_folders', lambda: [tmp_path])
    assert shipped_models() == {'a': tmp_path / 'trt_engines' / 'a.onnx'}


@pytest.mark.parametrize('name', shipped_models())
def test_the_stored_answers_belong_to_the_shipped_graph(name: str) -> None:
    answers = read_answers(shipped_models()[name])
    spec = read_manifest(shipped_models()[name]).output
    assert answers.sigma is not None
    assert (answers.sigma > 0.0).all()
    assert answers.depth.min() >= spec.min_depth
    assert answers.depth.max() <= spec.max_depth


def test_a_file_comes_before_a_shipped_model_and_a_folder_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, repository: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    shipped_path = repository / 'trt_engines/densedepth_small.onnx'
    Path('densedepth_small').mkdir()
    assert find_model('densedepth_small') == shipped_path
    Path('densedepth_small').rmdir()
    Path('densedepth_small').touch()
    assert find_model(Path('densedepth_small')) == Path('densedepth_small')


def test_a_home_folder_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('HOME', str(tmp_path))
    (tmp_path / 'a.onnx').touch()
    assert find_model('~/a.onnx') == tmp_path / 'a.onnx'


@pytest.mark.parametrize(
    ('model', 'words'),
    [
        (
            'densedepth_smal',
            f"did you mean 'densedepth_small'? Known: {KNOWN}",
        ),
        ('a.onnx', 'model a.onnx does not exist as a file; give the path of an .onnx file'),
        ('./nets/x', f'or the name of a shipped model: {KNOWN}'),
        ('/', 'model / is a folder'),
    ],
)
def test_what_is_neither_names_both_ways(model: str, words: str) -> None:
    with pytest.raises(ModelError, match=re.escape(words)):
        find_model(model)


def test_without_any_shipped_model_the_places_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shipped, 'share_folders', lambda: iter([tmp_path]))
    with pytest.raises(ModelError, match=re.escape(str(tmp_path / 'trt_engines'))):
        default_model()


def test_a_predictor_opens_by_name() -> None:
    predictor = Predictor.open('densedepth_small', backend='onnxruntime', threads=1)
    assert predictor.manifest.name == 'densedepth_small'
    assert predictor.path == default_model()


def test_an_installation_needs_neither_ros_nor_its_environment(
    tmp_path: Path, repository: Path
) -> None:
    site = tmp_path / 'lib/python3/site-packages'
    site.mkdir(parents=True)
    (site / 'depth_core').mkdir()
    for name in ('__init__', 'errors', 'shipped'):
        shutil.copy(repository / f'depth_core/{name}.py', site / 'depth_core')
    models = tmp_path / 'share/depth_ros/trt_engines'
    models.mkdir(parents=True)
    (models / 'net.onnx').touch()
    program = 'from depth_core.shipped import find_model; print(find_model("net"))'
    finished = subprocess.run(
        [sys.executable, '-c', program],
        cwd=tmp_path,
        env={'PYTHONPATH': str(site)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert finished.stdout.strip() == str(models / 'net.onnx')


@pytest.mark.parametrize('name', shipped_models())
def test_every_shipped_model_has_a_checkpoint_that_answers_as_it_does(name: str) -> None:
    scene = SyntheticDataset(seed=5, length=2, height=192, width=256)[1]
    image = (scene.image.permute(1, 2, 0).numpy() * 255.0).round().astype(np.uint8)
    camera = intrinsics_from_hfov(70.0, height=192, width=256)
    graph, trainable = (
        Predictor.open(path, threads=1).predict(image, camera)
        for path in (find_model(name), find_checkpoint(name))
    )
    assert trainable.backend == 'torch'
    np.testing.assert_array_equal(np.isfinite(graph.depth_m), np.isfinite(trainable.depth_m))
    known = np.isfinite(graph.depth_m)
    assert known.mean() > 0.5
    # Kernels are stored in float16: a few of its units, ten bits each.
    np.testing.assert_allclose(graph.depth_m[known], trainable.depth_m[known], rtol=2e-2)
