# SPDX-License-Identifier: Apache-2.0
"""A network of canonical depth through the commands: metres by the focal length of the camera."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from depth_core.bench.request import BenchRequest
from depth_core.bench.subject import open_subject
from depth_core.contracts import DepthKind, Float32Array
from depth_core.errors import ConfigError, DataError
from depth_core.evaluate.__main__ import main as evaluate
from depth_core.geometry import intrinsics_from_focal
from depth_core.models import create_model
from depth_core.models.serving import manifest_of
from depth_core.predict import main as predict
from depth_core.weights.checkpoint import load_model, save_model

FILM = 0xA405


@pytest.fixture(scope='module')
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained network of 0.01 to 1000 canonical metres, at a focal length of 50 px."""
    torch.manual_seed(0)
    network = create_model(
        'densedepth_small', encoder='mobilenetv3_small_050', decoder_channels=(16, 8, 8, 8, 8),
        min_depth=0.01, max_depth=1000.0,
    )  # fmt: skip
    path = tmp_path_factory.mktemp('model') / 'canonical.ckpt'
    made_with = {'canonical_focal_px': 50.0, 'height': 64, 'width': 96}
    save_model(path, network.eval(), provenance=made_with)
    return path


@pytest.fixture(scope='module')
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """192 x 128 pixels that state 26 mm on film: 26 x 230.755 / 43.267 = 138.666 px."""
    path = tmp_path_factory.mktemp('picture') / 'stated.jpg'
    exif = Image.Exif()
    exif.get_ifd(0x8769)[FILM] = 26
    noise = np.random.default_rng(0).integers(0, 256, (128, 192, 3), np.uint8)
    image = Image.fromarray(noise)
    image.save(path, exif=exif)
    image.save(path.with_name('silent.png'))
    return path


def depth_by(model: Path, picture: Path, folder: Path, *arguments: object) -> Float32Array:
    given = [picture, '--model', model, '--backend', 'torch', '--output', folder, *arguments]
    predict([str(argument) for argument in given])
    depth_m: Float32Array = np.load(folder / f'{picture.stem}_depth.npy')
    return depth_m


def test_what_is_exported_says_so(model: Path) -> None:
    output = manifest_of(load_model(model), height=64, width=96).output
    assert output.kind is DepthKind.CANONICAL
    assert output.canonical_focal_px == 50.0


def test_metres_grow_with_the_focal_length(
    model: Path, picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = {
        'stated': depth_by(model, picture, tmp_path / 'a'),
        'focal': depth_by(model, picture, tmp_path / 'b', '--focal_px', 277.3315),
        'view': depth_by(model, picture, tmp_path / 'c', '--hfov_deg', 90),
        'assumed': depth_by(
            model, picture.with_name('silent.png'), tmp_path / 'd', '--assumed_hfov_deg', 90
        ),
    }
    np.testing.assert_allclose(found['focal'], 2.0 * found['stated'], rtol=1e-5)
    np.testing.assert_allclose(found['view'], found['stated'] * (96.0 / 138.6658), rtol=1e-5)
    # PNG keeps the noise that JPEG changes.
    assert found['assumed'].shape == found['view'].shape
    said = capsys.readouterr().out
    assert 'focal length 138.7 px (EXIF FocalLengthIn35mmFilm 26 mm)' in said
    assert 'focal length 277.3 px (--focal_px)' in said
    assert 'focal length 96.0 px (--hfov_deg)' in said
    assert 'a field of view of 90 degrees is assumed' in said


def test_without_a_focal_length_the_options_are_named(
    model: Path, picture: Path, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match='give --focal_px or --hfov_deg, or a guess'):
        depth_by(model, picture.with_name('silent.png'), tmp_path)
    with pytest.raises(ConfigError, match='180'):
        depth_by(model, picture, tmp_path, '--hfov_deg', 180)
    with pytest.raises(ConfigError, match='not allowed with'):
        depth_by(model, picture, tmp_path, '--hfov_deg', 90, '--focal_px', 100)


def test_a_known_distance_says_the_correction(
    model: Path, picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    depth_m = depth_by(model, picture, tmp_path, '--known_distance', '60,40,7')
    there = float(np.median(depth_m[38:43, 58:63]))
    assert f'scale_correction {7.0 / there:.4g} in the section depth' in capsys.readouterr().out
    both = [str(picture), str(picture.with_name('silent.png'))]
    with pytest.raises(ConfigError, match='2 images and 0 videos'):
        predict([*both, '--model', str(model), '--known_distance', '60,40,7'])


def test_evaluation_takes_the_camera_of_the_data(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluate(
        [
            *('--checkpoint', str(model), '--backend', 'torch', '--data', 'synthetic'),
            *('--hfov_deg', '90', '--height', '64', '--width', '96', '--limit', '2'),
            *('--protocol', 'none', '--output', str(tmp_path / 'report'), '--pictures', '0'),
        ]
    )
    assert 'AbsRel' in capsys.readouterr().out


def test_evaluation_takes_the_camera_that_the_data_do_not_state(
    model: Path, tmp_path: Path
) -> None:
    """Of 96 columns, 90 degrees are 48 px; metres grow with them, and all are above the truth."""
    data = tmp_path / 'data'
    for folder in ('images', 'depth'):
        (data / folder).mkdir(parents=True)
    noise = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)
    Image.fromarray(noise).save(data / 'images/a.png')
    np.save(data / 'depth/a.npy', np.full((64, 96), 2e-3, np.float32))

    def abs_rel(*camera: str) -> float:
        given = ['--checkpoint', str(model), '--backend', 'torch', '--data', str(data)]
        given += ['--protocol', 'none', '--output', str(tmp_path / 'report'), '--pictures', '0']
        evaluate([*given, *camera])
        report = json.loads((tmp_path / 'report/report.json').read_text())
        return float(report['metrics']['mean']['abs_rel'])

    view = abs_rel('--hfov_deg', '90')
    assert abs_rel('--focal_px', '48') == pytest.approx(view, rel=1e-5)
    assert abs_rel('--focal_px', '96') + 1.0 == pytest.approx(2.0 * (view + 1.0), rel=1e-5)
    with pytest.raises(ConfigError, match='give one of them'):
        abs_rel('--focal_px', '48', '--hfov_deg', '90')
    with pytest.raises(DataError, match='needs the camera of the image'):
        abs_rel()


def test_bench_times_it_with_a_camera_and_refuses_without(model: Path) -> None:
    request = BenchRequest(
        model=model, backend='torch', precision='fp32', threads=1, image_height=64,
        image_width=96, frames=1,
    )  # fmt: skip
    with pytest.raises(ConfigError, match='give --focal_px or --hfov_deg, any usual one'):
        open_subject(request)
    camera = intrinsics_from_focal(50.0, height=64, width=96)
    subject = open_subject(dataclasses.replace(request, camera=camera))
    subject.answer()
    assert subject.depth_m is not None
