# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest

from depth_core.data.images import read_depth_png
from depth_core.errors import ConfigError, DataError, DepthError
from depth_core.manifest import read_manifest
from depth_core.predict import depth_codes, main
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
    with pytest.raises(DataError, match=r'drive\.avi gave \d+ of the 40 frames'):
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


def test_two_files_are_never_written_over_each_other(
    model: Path, images: Path, tmp_path: Path
) -> None:
    write_grey(images / 'one.bmp', 3)
    with pytest.raises(ConfigError, match=r'one\.bmp and .*one\.png would both'):
        run(model, tmp_path / 'out', images)
    assert not (tmp_path / 'out').exists()


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
    assert 'broken.png (8 bytes) is a truncated PNG file' in done.stderr
