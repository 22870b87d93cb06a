# SPDX-License-Identifier: Apache-2.0
"""The commands that are killed, each with small inputs of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import cv2
import numpy as np
import torch

from depth_core.models import create_model
from depth_core.models.zoedepth.keys import official_key
from depth_core.weights.checkpoint import save_model
from test.depth_ros.bags import write_bag
from test.depth_ros.kitti_drive import write_drive
from test.security.kills import REPOSITORY, Command
from test.standin import write_standin_onnx

_STEPS: Final = 40
"""Of a training."""
_TINY: Final = {
    'encoder_options': {'img_size': 64, 'embed_dim': 32, 'depth': 4, 'num_heads': 2},
    'hooks': [0, 1, 2, 3],
    'neck_channels': [16, 24, 32, 32],
    'features': 32,
    'n_bins': 16,
    'bin_embedding_dim': 32,
}


def _images(folder: Path) -> None:
    write_standin_onnx(folder / 'model.onnx')
    (folder / 'images').mkdir()
    for number in range(20):
        plane = np.full((240, 320, 3), number, np.uint8)
        cv2.imwrite(str(folder / 'images' / f'{number}.png'), plane)


def _resumed(folder: Path) -> list[str]:
    """Training that goes on where a killed one stopped, or anew where that one had done all."""
    checkpoints = folder / 'run' / 'checkpoints'
    if (checkpoints / f'step-{_STEPS:06d}.ckpt').exists():
        return [*TRAIN, '--trainer.run_dir', 'another_run']
    there = (checkpoints / 'last.ckpt').exists()
    return [*TRAIN, *(('--trainer.resume', 'last') if there else ())]


TRAIN: Final = (
    *('depth_core.train', '--config', str(REPOSITORY / 'config/train/densedepth_synthetic.yaml')),
    *('--model.name', 'densedepth_small', '--model.options.encoder_weights', 'none'),
    *('--data.height', '64', '--data.width', '96', '--data.workers', '1'),
    *('--trainer.batch_size', '2', '--trainer.max_steps', str(_STEPS)),
    *('--trainer.accelerator', 'cpu'),
    *('--trainer.checkpoint_every_steps', '4', '--trainer.validate_every_steps', '20'),
    *('--trainer.run_dir', 'run'),
)


def _checkpoint(folder: Path) -> None:
    """A checkpoint, and a former graph of another model where it is exported to."""
    torch.manual_seed(0)
    model = create_model('densedepth_small', encoder_weights='none')
    save_model(folder / 'small.ckpt', model)
    write_standin_onnx(folder / 'model.onnx')
    (folder / 'model.json').write_text('{}')


def _official(folder: Path) -> None:
    """A tiny network under the names of its authors, and a former checkpoint."""
    torch.manual_seed(0)
    model = create_model('zoedepth_k', **_TINY)
    own = model.own_state()
    state = {
        official_key(key): value for key, value in model.state_dict().items() if key not in own
    }
    torch.save({'model': state}, folder / 'official.pt')
    save_model(folder / 'k.ckpt', model)


def _drive(folder: Path) -> None:
    write_drive(folder / 'kitti', cameras=(2,))


def _recorded(folder: Path) -> None:
    write_standin_onnx(folder / 'model.onnx')
    write_bag(
        folder / 'street', frames=40, lidar_depth_m=lambda _: np.full((64, 96), 5.0, np.float32)
    )


def _bag(folder: Path) -> list[str]:
    """Converting to a new folder, or going on: a bag that is there is whole, and is left alone."""
    number = len([bag for bag in folder.glob('bag*') if bag.suffix != '.partial'])
    drive = next((folder / 'kitti').glob('*/*_sync'))
    return ['depth_ros.kitti_to_bag', str(drive), '--output', f'bag{number}', '--workers', '1']


PREDICT: Final = Command(
    name='predict',
    prepare=_images,
    arguments=lambda _: ('depth_core.predict', '--model', 'model.onnx', 'images'),
)
_EVALUATE: Final = (
    *('depth_core.evaluate', '--onnx', 'model.onnx', '--data', 'synthetic'),
    *('--height', '64', '--width', '96', '--protocol', 'none', '--output', 'report'),
)
_EVALUATE_BAG: Final = (
    *('depth_ros.evaluate_bag', 'street', '--model', 'model.onnx', '--backend', 'onnxruntime'),
    *('--protocol', 'none', '--output', 'report', '--workers', '2', '--part_frames', '5'),
)
_TINY_OPTIONS: Final = tuple(f'--{key}={value}'.replace("'", '"') for key, value in _TINY.items())
COMMANDS: Final = (
    PREDICT,
    Command(name='evaluate', prepare=_images, arguments=lambda _: (*_EVALUATE, '--limit', '3')),
    Command(
        name='calibrate',
        prepare=_images,
        arguments=lambda _: (*_EVALUATE, '--limit', '6', '--calibrate', 'calibrated.onnx'),
    ),
    Command(name='train', arguments=_resumed),
    Command(
        name='export',
        prepare=_checkpoint,
        arguments=lambda _: (
            *('depth_core.export', '--checkpoint', 'small.ckpt', '--output', 'model.onnx'),
            *('--height', '64', '--width', '96'),
        ),
    ),
    Command(
        name='convert',
        prepare=_official,
        arguments=lambda _: (
            *('depth_core.convert', '--family', 'zoedepth', '--source', 'official.pt'),
            *('--output', 'k.ckpt', *_TINY_OPTIONS),
        ),
    ),
    Command(
        name='bench',
        prepare=_images,
        arguments=lambda _: (
            *('depth_core.bench', '--model', 'model.onnx', '--backends', 'onnxruntime'),
            *('--frames', '20', '--rounds', '2', '--starts', '0', '--output', 'bench.json'),
        ),
    ),
    Command(name='evaluate_bag', prepare=_recorded, arguments=lambda _: _EVALUATE_BAG),
    Command(name='kitti_to_bag', prepare=_drive, arguments=_bag),
)
