# SPDX-License-Identifier: Apache-2.0
"""Shows the progress of a run: a bar, what the loggers show, training.jsonl."""

from __future__ import annotations

import logging
import math
import statistics
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Final

from lightning_fabric import Fabric
from rich import progress as rich_progress
from rich.console import Console
from torch import Tensor, distributed
from typing_extensions import Self

from depth_core.contracts import Uint8Array
from depth_core.train.command_line import flat
from depth_core.train.loggers import RunLogger
from depth_core.train.memory import peak_memory_gb
from depth_core.train.recipes import Score
from depth_core.train.run_folder import RunFolder
from depth_core.train.settings import TrainSettings

_LOG = logging.getLogger(__name__)
_SECONDS_BETWEEN_LINES: Final = 30.0
_GROUPS: Final = {
    'learning_rate': 'optimizer',
    'gradient_norm': 'optimizer',
    'images_per_second': 'machine',
    'peak_memory_gb': 'machine',
}
"""Where the loggers show numbers that are no terms of the loss."""


class Progress:
    """A bar with loss, images/s and time left; plain lines where the output is no terminal."""

    def __init__(
        self,
        settings: TrainSettings,
        console: Console | None,
        run: RunFolder,
        *,
        first_step: int,
        fabric: Fabric,
        loggers: Sequence[RunLogger] = (),
    ) -> None:
        """Show the steps after `first_step`, in the first of the processes of `fabric`."""
        self.active = active = fabric.is_global_zero
        self._settings = settings
        self._trainer = trainer = settings.trainer
        self._console = console if active else None
        self.run = run
        self._fabric = fabric
        self._loggers = loggers
        self._scored = False
        """Whether the loggers know by which numbers runs are compared."""
        self._losses: list[float] = []
        self._clock_s = self._line_s = time.perf_counter()
        self._spent_s = 0.0
        self._steps_timed = 0
        self._bar = rich_progress.Progress(
            rich_progress.TextColumn('step'),
            rich_progress.MofNCompleteColumn(),
            rich_progress.BarColumn(),
            rich_progress.TextColumn('loss {task.fields[loss]:.4f}'),
            rich_progress.TextColumn('{task.fields[rate]:.1f} images/s'),
            rich_progress.TextColumn('ETA {task.fields[eta]}'),
            console=console,
            disable=self._console is None or not self._console.is_terminal,
            refresh_per_second=4,
        )
        self._task = self._bar.add_task(
            'train',
            total=trainer.max_steps,
            completed=first_step,
            loss=math.nan,
            rate=math.nan,
            eta='-',
        )

    def __enter__(self) -> Self:
        self._bar.start()
        self.restart_clock()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._bar.stop()
        if not self._scored:
            self._compare_by(('train/loss',))
        for logger in self._loggers:
            logger.finalize('success' if error is None else 'failed')
        if self._console is not None and error is None:
            _LOG.info('done: %s', self.run.last)

    def restart_clock(self) -> None:
        """Leave out of the throughput what happened since the last step."""
        self._clock_s = time.perf_counter()

    def is_logged(self, step: int) -> bool:
        """Whether the numbers of `step` are logged."""
        return step % self._trainer.log_every_steps == 0 or step == self._trainer.max_steps

    def advance(
        self,
        step: int,
        terms: Mapping[str, Tensor],
        *,
        lr: float,
        gradient_norm: Tensor | None = None,
    ) -> None:
        """Show that `step` steps are done; every process calls it.

        Args:
            step: How many.
            terms: The loss and what it is the sum of, over the share of this process.
            lr: Learning rate.
            gradient_norm: Length of the gradient before it was shortened, where it is known.
        """
        trainer = self._trainer
        now_s = time.perf_counter()
        self._spent_s += now_s - self._clock_s
        self._clock_s = now_s
        self._steps_timed += 1
        self._losses.append(terms['loss'].item())
        rate = trainer.batch_size * self._steps_timed / self._spent_s
        left_s = (trainer.max_steps - step) * trainer.batch_size / rate
        mean = sum(self._losses) / len(self._losses)
        self._bar.update(
            self._task, completed=step, loss=mean, rate=rate, eta=_clock(left_s), refresh=False
        )
        if self.is_logged(step):
            numbers = {name: term.item() for name, term in terms.items()} | {'loss': mean}
            numbers = mean_over_processes(numbers, self._fabric)
            peak_gb = peak_memory_gb(self._fabric.device)
            numbers |= {'learning_rate': lr, 'images_per_second': rate, 'peak_memory_gb': peak_gb}
            if gradient_norm is not None and math.isfinite(length := gradient_norm.item()):
                numbers['gradient_norm'] = length
            self._write(step, numbers)
            self._say(step, numbers, left_s, now_s)
            self._losses.clear()
            self._spent_s, self._steps_timed = 0.0, 0

    def show(self, step: int, score: Score, drawn: Uint8Array | None) -> None:
        """Show the numbers and pictures of the held-out samples after `step` steps."""
        protocol = score.numbers.get('protocol', 'none')
        group = 'held_out' if protocol == 'none' else f'held_out_{protocol}'
        numbers = {
            f'{group}/{name}': value
            for name, value in score.numbers.items()
            if isinstance(value, float)
        }
        if not self._scored and score.costs:
            best = self._trainer.best_metric
            names = sorted(score.costs, key=lambda name: name != best)  # that of best.ckpt first
            self._compare_by([tag for name in names if (tag := f'{group}/{name}') in numbers])
        for logger in self._loggers:
            logger.log_metrics(numbers, step)
        self._show_picture('held_out/drawn', drawn, step)
        level = logging.INFO if score.costs else logging.WARNING
        _LOG.log(level, 'step %d, held out: %s', step, score.summary)

    def show_training(self, step: int, drawn: Uint8Array | None) -> None:
        """Show pictures of samples that `step` was made with."""
        self._show_picture('train/drawn', drawn, step)

    def _show_picture(self, name: str, drawn: Uint8Array | None, step: int) -> None:
        for logger in self._loggers:
            if drawn is not None:
                logger.log_picture(name, drawn, step)

    def _compare_by(self, names: Sequence[str]) -> None:
        self._scored = True
        for logger in self._loggers:
            logger.log_score_names(flat(self._settings), names)

    def _write(self, step: int, numbers: Mapping[str, float]) -> None:
        if not self.active:
            return
        grouped = {f'{_GROUPS.get(name, "train")}/{name}': item for name, item in numbers.items()}
        for logger in self._loggers:
            logger.log_metrics(grouped, step)
        self.run.log(step, numbers)

    def _say(self, step: int, numbers: Mapping[str, float], left_s: float, now_s: float) -> None:
        if self._console is None or self._console.is_terminal:
            return
        if now_s - self._line_s < _SECONDS_BETWEEN_LINES and step != self._trainer.max_steps:
            return
        self._line_s = now_s
        _LOG.info(
            'step %d/%d, loss %.4f, %.1f images/s, %.2f GB at most, ETA %s',
            step, self._trainer.max_steps, numbers['loss'], numbers['images_per_second'],
            numbers['peak_memory_gb'], _clock(left_s),
        )  # fmt: skip


def mean_over_processes(numbers: Mapping[str, float], fabric: Fabric) -> dict[str, float]:
    """The means of numbers by name over the processes that have them; every process calls it."""
    if fabric.world_size == 1:
        return dict(numbers)
    shares: list[Mapping[str, float]] = [numbers] * fabric.world_size
    distributed.all_gather_object(shares, numbers)
    names = dict.fromkeys(name for share in shares for name in share)
    return {
        name: statistics.fmean(share[name] for share in shares if name in share) for name in names
    }


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f'{hours}:{minutes:02d}:{seconds:02d}'
