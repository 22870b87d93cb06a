# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest

from depth_core import predict
from depth_core.contracts import Uint8Array
from depth_core.data.planes import read_depth_png
from depth_core.errors import ConfigError, DataError, DepthError
from depth_core.images import read_image
from depth_core.manifest import read_manifest
from depth_core.predict import depth_codes, main
from depth_core.sources import find_sources, result_names
from test.standin import write_standin_onnx


@pytest.fixture(scope='module')
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_standin_onnx(tmp_path_factory.mktemp('model') / 'standin.onnx', max_depth=10.0)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A folder of two grey pictures and things that are none."""
    folder = tmp_path / 'images'
    (folder / 'nested').mkdir(parents=True)
    write_grey(folder / 'one.png', 51)
    write_grey(folder / 'two.jpg', 102)
    write_grey(folder / 'nested' / 'three.png', 0)
    (folder / 'notes.txt').write_text('none', encoding='utf-8')
    (folder / '._one.png').write_bytes(b'\0\5\x16\7' + bytes(120))
    return folder


def write_grey(path: Path, code: int, *, height: int = 120, width: int = 160) -> Path:
    assert cv2.imwrite(str(path), np.full((height, width, 3), code, np.uint8))
    return path


def write_video(path: Path, codes: list[int]) -> Path:
    film = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*'MJPG'), 5.0, (160, 120))
    assert film.isOpened()
    for code in codes:
        film.write(np.full((120, 160, 3), code, np.uint8))
    film.release()
    return path


def run(model: Path, output: Path, *arguments: object) -> None:
    main(['--model', str(model), '--output', str(output), *map(str, arguments)])


def test_an_image_gives_depth_sigma_and_a_preview(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = write_grey(tmp_path / 'one.png', 51)
    run(model, tmp_path / 'out', image)
    depth_m = np.load(tmp_path / 'out' / 'one_depth.npy')
    assert depth_m.dtype == np.float32
    np.testing.assert_allclose(depth_m, np.full((120, 160), 4.0), rtol=1e-6)
    np.testing.assert_allclose(np.load(tmp_path / 'out' / 'one_sigma.npy'), 0.4, rtol=1e-6)
    codes = cv2.imread(str(tmp_path / 'out' / 'one_depth.png'), cv2.IMREAD_UNCHANGED)
    assert codes is not None
    assert codes.dtype == np.uint16
    assert (codes == 1024).all()
    preview = cv2.imread(str(tmp_path / 'out' / 'one_preview.png'))
    assert preview is not None
    assert preview.shape[0] == 120
    assert (preview[:, :160] == 51).all()
    said = capsys.readouterr().out
    assert '160x120, depth 4.00 to 4.00 m' in said
    assert 'standin on openvino' in said
    assert len(list((tmp_path / 'out').iterdir())) == 4


def test_a_folder_is_predicted_without_its_subfolders(
    model: Path, images: Path, tmp_path: Path
) -> None:
    run(model, tmp_path / 'out', images)
    names = {path.name.rpartition('_')[0] for path in (tmp_path / 'out').iterdir()}
    assert names == {'one', 'two'}
    np.testing.assert_allclose(np.load(tmp_path / 'out' / 'two_depth.npy'), 6.0, atol=0.05)


def test_values_out_of_range_stay_in_the_arrays_only(model: Path, tmp_path: Path) -> None:
    run(model, tmp_path / 'out', write_grey(tmp_path / 'white.png', 255))
    assert (np.load(tmp_path / 'out' / 'white_depth.npy') == np.inf).all()
    read = read_depth_png(tmp_path / 'out' / 'white_depth.png', unit_m=1 / 256)
    assert not (read > 0).any()


def test_codes_are_those_of_kitti() -> None:
    depth_m = np.array([[0.5, 80.0, 300.0, np.nan, np.inf, -np.inf, 1.002]], np.float32)
    assert depth_codes(depth_m).tolist() == [[128, 20480, 65535, 0, 0, 0, 257]]


def test_a_broken_file_in_a_folder_is_named_and_the_others_are_done(
    model: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = (images / 'two.jpg').read_bytes()
    (images / 'two.jpg').write_bytes(whole[: len(whole) // 2])
    (images / 'zero.png').write_bytes(b'')
    with pytest.raises(DataError, match='2 of 3 files failed'):
        run(model, tmp_path / 'out', images)
    captured = capsys.readouterr()
    assert 'two.jpg' in captured.err
    assert 'truncated JPEG' in captured.err
    assert 'zero.png (0 bytes) is empty' in captured.err
    assert '1 of 3 files predicted' in captured.out
    assert {path.name.rpartition('_')[0] for path in (tmp_path / 'out').iterdir()} == {'one'}


def test_a_video_becomes_a_video_and_arrays_where_asked(model: Path, tmp_path: Path) -> None:
    video = write_video(tmp_path / 'drive.avi', [0, 51, 102, 153, 204])
    run(model, tmp_path / 'out', video, '--frames')
    capture = cv2.VideoCapture(str(tmp_path / 'out' / 'drive_preview.mp4'))
    assert capture.get(cv2.CAP_PROP_FPS) == pytest.approx(5.0)
    sizes = []
    while (frame := capture.read())[0]:
        sizes.append(frame[1].shape)
    capture.release()
    assert sizes == [(120, 160 + 160 + 64, 3)] * 5
    frames = tmp_path / 'out' / 'drive_frames'
    assert len(list(frames.iterdir())) == 15
    np.testing.assert_allclose(np.load(frames / '000002_depth.npy'), 6.0, atol=0.1)


def test_a_truncated_video_fails_by_name(model: Path, tmp_path: Path) -> None:
    video = write_video(tmp_path / 'drive.avi', list(range(0, 200, 5)))
    content = video.read_bytes()
    video.write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=r'drive\.avi gave \d+ of the 40 frames that it states'):
        run(model, tmp_path / 'out', video)
    video.write_bytes(content[:100])
    with pytest.raises(DataError, match=r'drive\.avi cannot be opened'):
        run(model, tmp_path / 'second', video)
    assert not (tmp_path / 'second').exists()


def test_a_model_without_metres_writes_no_depth_image(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    graph = onnx.load(model)
    text = read_manifest(model).to_json().replace('"metric"', '"up_to_scale"')
    onnx.helper.set_model_props(graph, {'depth_ros.manifest': text})
    onnx.save(graph, tmp_path / 'relative.onnx')
    run(tmp_path / 'relative.onnx', tmp_path / 'out', write_grey(tmp_path / 'one.png', 51))
    assert 'up_to_scale depth, not metres' in capsys.readouterr().out
    assert sorted(path.name for path in (tmp_path / 'out').iterdir()) == [
        'one_depth.npy',
        'one_preview.png',
        'one_sigma.npy',
    ]


@pytest.mark.parametrize(
    ('files', 'names'),
    [
        (['a.jpg', 'b.jpg'], ['a', 'b']),
        (['f/a.jpg', 'f/a.png', 'f/b.png'], ['a_jpg', 'a_png', 'b']),
        (['f/IMG_1.JPG', 'f/IMG_1.MOV'], ['IMG_1_JPG', 'IMG_1_MOV']),
        (['f/a.jpg', 'f/a.png', 'f/a_jpg.png'], ['f_a_jpg', 'a_png', 'a_jpg']),
        (['d/a.jpg', 'e/a.jpg'], ['d_a_jpg', 'e_a_jpg']),
        (['f/A.jpg', 'f/a.jpg'], ['A_jpg_1', 'a_jpg_2']),
        (['f/caf\u00e9.jpg', 'f/cafe\u0301.png'], ['caf\u00e9_jpg', 'cafe\u0301_png']),
        (['f/a.b.jpg', 'f/a.jpg'], ['a.b', 'a']),
        (['x/f/a.jpg', 'y/f/a.jpg', 'f/a_jpg_1.png'], ['a_jpg_2', 'a_jpg_3', 'a_jpg_1']),
    ],
)
def test_results_of_files_that_share_a_name_have_names_of_their_own(
    files: list[str], names: list[str]
) -> None:
    assert result_names([Path(file) for file in files]) == names


def test_the_longest_names_have_results(model: Path, tmp_path: Path) -> None:
    folder = tmp_path / 'in'
    folder.mkdir()
    stems = 'x' * 250 + 'a', 'x' * 250 + 'b', 'ü' * 125
    for stem, grey in zip(stems, (51, 102, 153), strict=True):
        write_grey(tmp_path / 'a.png', grey).rename(folder / f'{stem}.png')
    run(model, tmp_path / 'out', folder)
    written = {path.name: path for path in (tmp_path / 'out').glob('*_depth.npy')}
    names = {f'{"x" * 200}_png_1': 4.0, f'{"x" * 200}_png_2': 6.0, 'ü' * 100: 8.0}
    assert set(written) == {f'{name}_depth.npy' for name in names}
    for name, depth_m in names.items():
        np.testing.assert_allclose(np.load(written[f'{name}_depth.npy']), depth_m, rtol=1e-6)


def test_a_live_photo_gives_both_its_picture_and_its_film(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / 'in'
    folder.mkdir()
    write_grey(folder / 'IMG_0001.JPG', 51)
    write_grey(folder / 'IMG_0001.png', 102)
    write_grey(folder / 'IMG_0002.JPG', 153)
    write_video(tmp_path / 'IMG_0001.avi', [0, 51]).rename(folder / 'IMG_0001.AVI')
    run(model, tmp_path / 'out', folder, folder / 'IMG_0002.JPG')
    written = {path.name for path in (tmp_path / 'out').iterdir()}
    assert {'IMG_0001_JPG_depth.npy', 'IMG_0001_AVI_preview.mp4'} <= written
    np.testing.assert_allclose(np.load(tmp_path / 'out/IMG_0001_JPG_depth.npy'), 4.0, atol=0.05)
    np.testing.assert_allclose(np.load(tmp_path / 'out/IMG_0001_png_depth.npy'), 6.0, rtol=1e-6)
    np.testing.assert_allclose(np.load(tmp_path / 'out/IMG_0002_depth.npy'), 8.0, atol=0.05)
    said = capsys.readouterr().out
    assert 'IMG_0001.JPG (written as IMG_0001_JPG_*)' in said
    assert '4 of 4 files predicted' in said


def test_a_file_is_predicted_once_and_a_link_under_its_own_name(
    images: Path, tmp_path: Path
) -> None:
    (images / 'again.png').symlink_to(images / 'one.png')
    given = [images, images / 'one.png', images / '..' / images.name / 'two.jpg']
    assert find_sources(given, tmp_path / 'out') == {
        images / 'again.png': 'again',
        images / 'one.png': 'one',
        images / 'two.jpg': 'two',
    }


def test_an_error_of_a_library_does_not_end_the_batch(
    model: Path,
    images: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    failure = '(-215:Assertion failed) size.width > 0'

    def fails_once(path: Path) -> Uint8Array:
        if path.name == 'one.png':
            raise cv2.error(failure)
        return read_image(path)

    monkeypatch.setattr(predict, 'read_image', fails_once)
    with pytest.raises(DataError, match=r'1 of 2 files failed: one\.png\.'):
        run(model, tmp_path / 'out', images)
    assert 'one.png: error: (-215:Assertion failed) size.width > 0' in capsys.readouterr().err
    assert (tmp_path / 'out' / 'two_depth.npy').exists()


def test_a_shipped_model_is_taken_by_name(tmp_path: Path) -> None:
    image = write_grey(tmp_path / 'one.png', 51)
    run(Path('densedepth_small'), tmp_path / 'out', image, '--threads', '1', '--hfov_deg', '60')
    assert (tmp_path / 'out' / 'one_depth.png').exists()


@pytest.mark.parametrize('encoding', ['utf-8:strict', 'ascii'])
def test_names_that_no_terminal_shows_are_predicted_and_escaped(
    model: Path, tmp_path: Path, encoding: str, repository: Path
) -> None:
    folder = tmp_path / 'in'
    folder.mkdir()
    names = [os.fsdecode(b'caf\xe9'), 'gr\u00f6\u00dfe', 'z']
    for name in names:
        write_grey(tmp_path / 'plain.png', 51).rename(folder / f'{name}.png')
    write_video(tmp_path / 'plain.avi', [0, 51]).rename(folder / os.fsdecode(b'fil\xe9m.avi'))
    (folder / os.fsdecode(b'emp\xe9ty.png')).touch()
    done = subprocess.run(
        [sys.executable, '-m', 'depth_core.predict', '--model', model, '--output', 'out', folder],
        cwd=tmp_path,
        env={**os.environ, 'PYTHONIOENCODING': encoding, 'PYTHONPATH': str(repository)},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert b'Traceback' not in done.stderr
    assert b'/in/caf\\xe9.png: 160x120' in done.stdout
    assert b'emp\\xe9ty.png (0 bytes) is empty' in done.stderr
    assert b'4 of 5 files predicted' in done.stdout
    for name in names:
        assert (tmp_path / 'out' / f'{name}_depth.png').exists()
    film = tmp_path / 'out' / os.fsdecode(b'fil\xe9m_preview.mp4')
    assert len(film.read_bytes()) > 1000


def test_wrong_inputs_are_refused_before_the_model_is_opened(images: Path, tmp_path: Path) -> None:
    absent = tmp_path / 'absent.onnx'
    for wrong, words in (
        (tmp_path / 'none.png', 'does not exist'),
        (images / 'notes.txt', 'no image or video by its ending'),
    ):
        with pytest.raises(DataError, match=words):
            run(absent, tmp_path / 'out', images / 'one.png', wrong)
    (tmp_path / 'empty').mkdir()
    with pytest.raises(DataError, match='holds no image or video'):
        run(absent, tmp_path / 'out', tmp_path / 'empty')
    with pytest.raises(ConfigError, match='is the input folder'):
        run(absent, images, images)
    with pytest.raises(DepthError, match=r'absent\.onnx does not exist'):
        run(absent, tmp_path / 'out', images / 'one.png')


@pytest.mark.slow
def test_the_command_ends_with_a_status_and_no_traceback(
    model: Path, images: Path, tmp_path: Path, repository: Path
) -> None:
    (images / 'broken.png').write_bytes(b'\x89PNG\r\n\x1a\n')
    for arguments, status in (([images / 'one.png'], 0), ([images], 2)):
        given = ['--model', str(model), '--output', str(tmp_path / 'out'), *map(str, arguments)]
        done = subprocess.run(
            [sys.executable, '-m', 'depth_core.predict', *given],
            cwd=repository,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == status, done.stderr
        assert 'Traceback' not in done.stderr
    assert 'broken.png (8 bytes) is a truncated PNG' in done.stderr
