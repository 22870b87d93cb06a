# SPDX-License-Identifier: Apache-2.0
"""Curves, pictures and settings for TensorBoard, in the folder `tensorboard` of the run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from lightning_fabric.loggers.tensorboard import TensorBoardLogger
from torch.utils.tensorboard.summary import hparams

from depth_core.contracts import Uint8Array
from depth_core.train.loggers.base import RunLogger, Told

FOLDER: Final = 'tensorboard'
_CHARTS: Final = {
    'training': {
        'loss and its terms': ['Multiline', ['train/.*']],
        'length of the gradient': ['Multiline', ['optimizer/gradient_norm']],
        'learning rate': ['Multiline', ['optimizer/learning_rate']],
    },
    'held out': {
        'AbsRel, and of the best constant depth': [
            'Multiline',
            ['held_out.*/abs_rel', 'held_out.*/constant_abs_rel'],
        ],
        'share of pixels within a factor of 1.25, its square and its cube': [
            'Multiline',
            ['held_out.*/a[123]'],
        ],
    },
}
"""The page Custom Scalars: charts of several curves with their legend."""


class TensorBoardRun(TensorBoardLogger, RunLogger):
    """Fabric's logger of TensorBoard, with pictures, charts and the page HParams."""

    def __init__(self, told: Told) -> None:
        super().__init__(told.folder, name='', version=FOLDER, purge_step=told.first_step)
        self.experiment.add_custom_scalars(_CHARTS)

    def log_picture(self, name: str, picture: Uint8Array, step: int) -> None:
        """Show a picture on the page Images."""
        self.experiment.add_image(name, picture, step, dataformats='HWC')

    def log_score_names(
        self, settings: Mapping[str, bool | float | str], names: Sequence[str]
    ) -> None:
        """Fill the page HParams; its numbers are those logged last under these names."""
        for summary in hparams(dict(settings), dict.fromkeys(names, 0.0)):
            self.experiment._get_file_writer().add_summary(summary)  # noqa: SLF001  as add_hparams
