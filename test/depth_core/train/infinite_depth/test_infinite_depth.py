# SPDX-License-Identifier: Apache-2.0
"""Training against infinite depth: holes, the list of frames, and both stages in one go."""

from __future__ import annotations

import importlib
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from depth_core.contracts import Float32Array, Intrinsics
from depth_core.data.sample import Sample
from depth_core.data.synthetic import Pace, SyntheticDataset
from depth_core.errors import ConfigError, DataError
from depth_core.models.base import DepthModel, ModelSpec, Prediction
from depth_core.models.selfsup.inverse_depth import inverse_depth_spec
from depth_core.scale import ScaleState
from depth_core.train.command_line import parse
from depth_core.train.infinite_depth.__main__ import main, read_holes
from depth_core.train.infinite_depth.compare import compare
from depth_core.train.infinite_depth.frames import (
    FrameVerdict,
    KeptFrames,
    read_verdicts,
    write_verdicts,
)
from depth_core.train.infinite_depth.holes import HoleSettings, count_below, judge, judge_frames
from depth_core.train.infinite_depth.stages import train_infinite_depth
from depth_core.weights.checkpoint import read_checkpoint

CAMERA = Intrinsics(fx_px=60.0, fy_px=60.0, cx_px=31.5, cy_px=15.5, height=48, width=64)


def road(factor: float = 1.0) -> Float32Array:
    """Depth of the ground 1.65 m below the camera, a wall at 30 m, in units of `factor` metres."""
    rows = np.arange(48, dtype=np.float32)[:, None] - 15.5
    with np.errstate(divide='ignore'):
        depth_m = np.where(rows > 0.0, 1.65 * 60.0 / rows, np.float32(30.0))
    return np.repeat(np.minimum(depth_m, 30.0) / factor, 64, axis=1).astype(np.float32)


@pytest.mark.parametrize('factor', [1.0, 12.0])
def test_a_hole_is_counted_in_whatever_unit(factor: float) -> None:
    depth = road(factor)
    assert count_below(depth, CAMERA, HoleSettings()) == (0, ScaleState.VALID)
    depth[24:30, 20:32] = 80.0 / factor  # where a car would be, infinitely far: 72 pixels
    assert count_below(depth, CAMERA, HoleSettings()) == (72, ScaleState.VALID)


def test_how_far_below_by_hand() -> None:
    depth = road()
    depth[40, :16] *= 1.25  # 24.5 rows below the horizon: 1.25 * 1.65 m, so 0.41 m too low
    depth[41, :16] *= 1.35  # 0.58 m too low
    assert count_below(depth, CAMERA, HoleSettings())[0] == 16
    assert count_below(depth, CAMERA, HoleSettings(below_m=0.3))[0] == 32
    # Of a lower camera the same picture is smaller: 0.58 m becomes 0.35 m.
    assert count_below(depth, CAMERA, HoleSettings(camera_height_m=1.0))[0] == 0


def test_a_frame_without_a_ground_is_kept() -> None:
    wall = np.full((48, 64), 5.0, np.float32)
    settings = HoleSettings()
    count, state = count_below(wall, CAMERA, settings)
    assert (count, state) == (None, ScaleState.NO_PLANE)
    verdict = judge(3, 'a', count, state, settings)
    assert verdict.kept
    assert verdict.reason == 'no ground to compare with: no_plane'


def test_ten_pixels_are_kept_and_eleven_are_not() -> None:
    settings = HoleSettings()
    kept = judge(0, 'a', 10, ScaleState.VALID, settings)
    dropped = judge(1, 'b', 11, ScaleState.VALID, settings)
    assert (kept.kept, dropped.kept) == (True, False)
    assert dropped.reason == '11 pixels over 0.5 m below the ground, more than 10'
    assert 'not more than 10' in kept.reason


class Flat(DepthModel):
    """A network that sees the road, and a hole wherever the image is red."""

    def __init__(self) -> None:
        super().__init__()
        self.spec: ModelSpec = inverse_depth_spec(
            'flat', min_depth=0.1, max_depth=100.0, metric=False
        )
        self.weight = torch.nn.Parameter(torch.zeros(()))

    def forward(self, images: torch.Tensor) -> Prediction:
        depth = torch.from_numpy(road(5.0)).expand(len(images), 48, 64)
        red = images[:, 0] > 0.9
        depth = torch.where(red, 16.0, depth)
        return Prediction(depth=depth, sigma=0.1 * depth)

    def official_forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        return {'depth': self.forward(x).depth}


class Frames:
    """Three frames; in the second one a car is red."""

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> Sample:
        image = torch.zeros(3, 48, 64)
        image[0, 30:36, 20:40] = float(index == 1)
        return Sample(
            image=image,
            depth_m=torch.ones(48, 64),
            valid=torch.ones(48, 64, dtype=torch.bool),
            intrinsics=torch.from_numpy(CAMERA.matrix.astype(np.float32)),
            key=f'frame {index}',
        )


def test_frames_with_holes_are_listed_and_left_out(tmp_path: Path) -> None:
    verdicts = judge_frames(Flat(), Frames(), HoleSettings(), batch_size=2)
    assert [verdict.kept for verdict in verdicts] == [True, False, True]
    assert verdicts[1].pixels_below == 6 * 20
    path = tmp_path / 'frames.jsonl'
    write_verdicts(path, verdicts)
    assert read_verdicts(path) == verdicts
    entry = json.loads(path.read_text(encoding='utf-8').splitlines()[1])
    assert entry == {
        'index': 1, 'key': 'frame 1', 'pixels_below': 120, 'ground': 'valid', 'kept': False,
        'reason': '120 pixels over 0.5 m below the ground, more than 10',
    }  # fmt: skip
    kept = KeptFrames(Frames(), path)
    assert [kept[index].key for index in range(len(kept))] == ['frame 0', 'frame 2']


def test_a_list_of_other_frames_is_refused(tmp_path: Path) -> None:
    path = tmp_path / 'frames.jsonl'
    with pytest.raises(
        DataError, match=r'make it with python -m depth_core\.train\.infinite_depth'
    ):
        KeptFrames(Frames(), path)
    verdicts = [judge(index, f'frame {index}', 0, ScaleState.VALID, HoleSettings())
                for index in range(3)]  # fmt: skip
    write_verdicts(path, verdicts[:2])
    with pytest.raises(DataError, match='has 2 lines, and the data set has 3 samples'):
        KeptFrames(Frames(), path)
    renamed = FrameVerdict(**(vars(verdicts[2]) | {'key': 'other'}))
    write_verdicts(path, [*verdicts[:2], renamed])
    with pytest.raises(DataError, match=r'is frame 2, and list of frames .* calls it oth'):
        KeptFrames(Frames(), path)[2]
    nothing = [FrameVerdict(**(vars(item) | {'kept': False})) for item in verdicts]
    write_verdicts(path, nothing)
    with pytest.raises(
        DataError, match=r'keeps none of 3 samples; .*--holes\.max_pixels or --holes\.below_m'
    ):
        KeptFrames(Frames(), path)
    path.write_text('{"index": 0}\n', encoding='utf-8')
    with pytest.raises(DataError, match='line 1: an entry has ground, index'):
        read_verdicts(path)
    path.write_text('index 0\n', encoding='utf-8')
    with pytest.raises(DataError, match='line 1: no JSON'):
        read_verdicts(path)


def test_help_explains_holes_and_training(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(['--help'])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert shown.count('usage: python -m depth_core.train.infinite_depth ') == 2
    assert '--holes.max_pixels' in shown
    assert '--recipe.pose_network' in shown
    former = importlib.import_module('depth_core.train.two_stage')
    assert former.main is main, 'its former name'
    with pytest.raises(ConfigError, match=r'See python -m depth_core.train.infinite_depth --help'):
        main(['--trainer.max_steps', 'few'])


def test_holes_have_settings_of_their_own() -> None:
    holes, rest = read_holes(
        ['--config', 'a.yaml', '--holes.max_pixels', '3', '--trainer.max_steps', '5',
         '--holes.below_m=0.25']
    )  # fmt: skip
    assert holes == HoleSettings(max_pixels=3, below_m=0.25)
    assert rest == ['--config', 'a.yaml', '--trainer.max_steps', '5']
    with pytest.raises(
        ConfigError, match=r'below_m is -1.0; give a number above 0; max_pixels is -1'
    ):
        HoleSettings(below_m=-1.0, max_pixels=-1)

    with pytest.raises(ConfigError, match=r'camera_height_m is inf; give a number above 0'):
        HoleSettings(camera_height_m=math.inf)


@pytest.mark.parametrize(
    ('arguments', 'words'),
    [
        (['--holes.max_pixel', '3'], ("'--holes.max_pixel'", "did you mean '--holes.max_pixels'")),
        (['--holes.below=1'], ("did you mean '--holes.below_m'",)),
        (['--hole.max_pixels', '3'], ("did you mean '--holes.max_pixels'",)),
        (['--holes', '3'], ("unknown option '--holes'", 'Known: --holes.below_m')),
        (['--holes.max_pixels', 'foo'], ('--holes.max_pixels', "'foo' is not a whole number")),
        (['--holes.max_pixels', '2.5'], ("'2.5' is not a whole number of at least 0",)),
        (['--holes.max_pixels', '-1'], ("'-1' is not a whole number of at least 0",)),
        (['--holes.below_m', 'nan'], ("--holes.below_m: 'nan' is not a number above 0",)),
        (['--holes.camera_height_m=inf'], ("'inf' is not a number above 0",)),
        (['--trainer.max_steps', '1', '--holes.below_m'], ('expected one argument',)),
    ],
)
def test_settings_of_the_holes_are_refused_by_name(
    arguments: list[str], words: tuple[str, ...]
) -> None:
    with pytest.raises(ConfigError) as caught:
        main(arguments)
    for word in words:
        assert word in str(caught.value)


def test_zero_pixels_are_a_limit_too() -> None:
    assert read_holes(['--holes.max_pixels', '0'])[0] == HoleSettings(max_pixels=0)


def test_without_a_folder_there_are_no_stages(tiny_config: Path) -> None:
    with pytest.raises(ConfigError, match=r'give --trainer\.run_dir'):
        train_infinite_depth(parse(['--config', str(tiny_config)]), HoleSettings())


def test_both_stages_in_one_go(
    tiny_config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command trains, filters and trains again; a second call takes everything over."""
    folder = tmp_path / 'run'
    arguments = [
        '--config', str(tiny_config), '--trainer.run_dir', str(folder), '--trainer.max_steps', '1',
        '--schedule.warmup_steps', '0', '--trainer.images_logged', '0',
        '--data.train.options.scenes', 'outdoor', '--data.validation.options.scenes', 'outdoor',
        '--data.validation.options.leaders', '1.0', '--holes.max_pixels', '1000000',
    ]  # fmt: skip
    main(arguments)
    verdicts = read_verdicts(folder / 'frames.jsonl')
    assert [verdict.index for verdict in verdicts] == list(range(6))
    assert all(verdict.kept for verdict in verdicts)
    first, second = (
        read_checkpoint(folder / f'stage_{stage}/checkpoints/last.ckpt').training
        for stage in (1, 2)
    )
    assert first is not None
    assert second is not None
    assert first['step'] == second['step'] == 1
    content = json.loads((folder / 'comparison.json').read_text(encoding='utf-8'))
    assert set(content) == {'stage_1', 'stage_2'}
    # Nothing was dropped and the seed is the same: the second stage is the first one again.
    assert content['stage_1'] == content['stage_2']
    assert content['stage_1']['mean']['abs_rel'] > 0.0
    assert set(content['stage_1']['by_class']) >= {'road'}
    assert content['stage_1']['with_camera']['pixels'] > 0
    assert '0 of 6 frames dropped' in capsys.readouterr().out
    stamps = {path: path.stat().st_mtime_ns for path in folder.rglob('*.ckpt')}
    main(arguments)
    assert stamps == {path: path.stat().st_mtime_ns for path in folder.rglob('*.ckpt')}
    with pytest.raises(ConfigError, match=r'begun with other holes \(max_pixels 1000000\)'):
        main([*arguments, '--holes.max_pixels', '5'])


def test_what_drives_along_is_scored_apart() -> None:
    dataset = SyntheticDataset(
        seed=3, length=2, height=64, width=96, scenes='street_country', camera='kitti', leaders=1.0
    )
    truth = [dataset[index].depth_m for index in range(2)]
    paces = [dataset.pace(index) == Pace.WITH_CAMERA for index in range(2)]

    class Holed(Flat):
        """The truth, but for holes three times too deep in the cars of the first image."""

        def __init__(self) -> None:
            super().__init__()
            self.calls = 0
            # In metres: the median of a holed image would move with the holes.
            self.spec = inverse_depth_spec('flat', min_depth=0.1, max_depth=100.0, metric=True)

        def forward(self, images: torch.Tensor) -> Prediction:
            depth = truth[self.calls].clone()
            if self.calls == 0:
                depth[paces[0]] *= 3.0
            self.calls += 1
            return Prediction(depth=depth[None].expand(len(images), -1, -1), sigma=depth[None])

    found = compare(Holed(), dataset).with_camera
    assert found is not None
    first, second = (int(pace.sum()) for pace in paces)
    assert found.pixels == first + second
    assert found.bias == pytest.approx(2.0 * first / (first + second), rel=1e-3)
    assert found.abs_rel == pytest.approx(found.bias, rel=1e-3)
    assert found.holes == pytest.approx(first / (first + second))


def test_the_second_stage_sees_the_kept_frames_alone(tiny_config: Path, tmp_path: Path) -> None:
    dataset = SyntheticDataset(seed=1, length=6, height=64, width=64, scenes='indoor')
    verdicts = [
        judge(index, str(dataset[index].key), 99 * (index % 2), ScaleState.VALID, HoleSettings())
        for index in range(6)
    ]
    folder = tmp_path / 'run'
    write_verdicts(folder / 'frames.jsonl', verdicts)
    result = train_infinite_depth(
        parse(['--config', str(tiny_config), '--trainer.run_dir', str(folder),
               '--trainer.max_steps', '1', '--schedule.warmup_steps', '0',
               '--trainer.images_logged', '0']),
        HoleSettings(),
    )  # fmt: skip
    (made_with,) = json.loads((result.second.path / 'run.json').read_text(encoding='utf-8'))
    assert made_with['train']['images'] == 3
    (made_with,) = json.loads((result.first.path / 'run.json').read_text(encoding='utf-8'))
    assert made_with['train']['images'] == 6
