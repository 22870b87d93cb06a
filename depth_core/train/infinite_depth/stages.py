# SPDX-License-Identifier: Apache-2.0
"""Both stages and what lies between them, each done once: a stopped run continues where it was."""

from __future__ import annotations

import dataclasses
import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from depth_core.errors import ConfigError
from depth_core.files import write_text_atomically
from depth_core.train.datasets import open_training_set, open_validation_set
from depth_core.train.fabric import is_first_process, open_device
from depth_core.train.infinite_depth.compare import compare, content
from depth_core.train.infinite_depth.frames import FrameVerdict, read_verdicts, write_verdicts
from depth_core.train.infinite_depth.holes import HoleSettings, judge_frames
from depth_core.train.loop import train
from depth_core.train.resume import refuse_other_settings
from depth_core.train.run_folder import RunFolder
from depth_core.train.settings import TrainSettings
from depth_core.weights.checkpoint import load_model, read_checkpoint

_LOG = logging.getLogger(__name__)
_SECONDS_BETWEEN_LINES: Final = 30.0
_SECONDS_BETWEEN_LOOKS: Final = 1.0
_STEP: Final = 'stage_1_step'
"""In holes.json: steps of the network that made the list."""


@dataclass(frozen=True, kw_only=True)
class InfiniteDepthResult:
    """The files of both stages."""

    folder: Path
    frames: Path
    """The list of frames, JSON lines."""
    first: RunFolder
    second: RunFolder
    verdicts: tuple[FrameVerdict, ...]
    comparison: Path | None
    """JSON of both networks on the held-out images; None when there are none, and in all but the
    first process."""


def train_infinite_depth(
    settings: TrainSettings, holes: HoleSettings, *, console: Console | None = None
) -> InfiniteDepthResult:
    """Train, look for holes, drop the frames that have them, and train again from scratch.

    Everything goes into trainer.run_dir: stage_1 and stage_2 (runs as any other), frames.jsonl
    and comparison.json. What is already there and finished is taken over.

    torchrun's processes share both trainings; the first one alone looks for holes and compares,
    on its own device.

    Raises:
        ConfigError: trainer.run_dir is not given, or the settings cannot be used.
        CheckpointError: A stage in that folder was trained with other settings.
        DepthError: A stage fails.
    """
    folder = settings.trainer.run_dir
    if folder is None:
        message = (
            'training against infinite depth keeps both stages in one folder; give '
            '--trainer.run_dir, as runs/infinite_depth.'
        )
        raise ConfigError(message)
    frames = folder / 'frames.jsonl'
    _refuse_other_holes(folder / 'holes.json', holes)
    if frames.is_file():
        _refuse_longer_first_stage(folder, settings.trainer.max_steps)
    first = _stage(settings, folder / 'stage_1', console)
    if not frames.is_file():
        _list_frames(settings, holes, folder, first)
    verdicts = tuple(read_verdicts(frames))
    dropped = sum(not verdict.kept for verdict in verdicts)
    _LOG.info('%s: %d of %d frames dropped', frames, dropped, len(verdicts))
    unjudged = sum(verdict.pixels_below is None for verdict in verdicts)
    if unjudged:
        _LOG.warning(
            '%s: no ground was found in %d of %d frames, which are kept unjudged; where these are '
            'most, train the first stage longer: the second one would be the first again',
            frames,
            unjudged,
            len(verdicts),
        )
    remaining = dataclasses.replace(settings.data.train, frames=frames)
    data = dataclasses.replace(settings.data, train=remaining)
    second = _stage(dataclasses.replace(settings, data=data), folder / 'stage_2', console)
    return InfiniteDepthResult(
        folder=folder,
        frames=frames,
        first=first,
        second=second,
        verdicts=verdicts,
        comparison=_compare(settings, folder, first, second),
    )


def _refuse_other_holes(path: Path, holes: HoleSettings) -> None:
    """Keep what counts as a hole beside the list, which is not made anew where it exists.

    Raises:
        ConfigError: The folder was begun with something else.
    """
    given = dataclasses.asdict(holes)
    if not path.is_file():
        if is_first_process():
            write_text_atomically(path, json.dumps(given, indent=2) + '\n')
        return
    found = _read_holes(path)
    differing = ', '.join(
        f'{key} {found.get(key)}' for key in given if found.get(key) != given[key]
    )
    if differing:
        message = (
            f'{path.parent} was begun with other holes ({differing}); give these, another '
            '--trainer.run_dir, or remove holes.json, frames.jsonl and stage_2 to drop other '
            'frames after the same first stage.'
        )
        raise ConfigError(message)


def _read_holes(path: Path) -> dict[str, Any]:
    """Read what counted as a hole in a folder.

    Raises:
        ConfigError: The file is damaged.
    """
    try:
        found = json.loads(path.read_text(encoding='utf-8'))
    except (OSError, ValueError) as error:
        found = error
    if isinstance(found, dict):
        return found
    message = (
        f'{path} does not say what counted as a hole ({str(found)[:80]}); remove it, '
        'frames.jsonl and stage_2 to drop frames anew after the same first stage.'
    )
    raise ConfigError(message)


def _refuse_longer_first_stage(folder: Path, max_steps: int) -> None:
    """Refuse to train the first stage on after it made the list.

    A list without the step of its network, written by hand or before steps were kept, is taken.

    Raises:
        ConfigError: The second stage would follow the list of a network that is no more.
    """
    path = folder / 'holes.json'
    made_at = _read_holes(path).get(_STEP, max_steps) if path.is_file() else max_steps
    if max_steps > made_at:
        message = (
            f'the list of frames in {folder} was made by stage 1 after {made_at} steps, and '
            f'trainer.max_steps is {max_steps}; give --trainer.max_steps {made_at} or another '
            '--trainer.run_dir, or remove frames.jsonl and stage_2 to train stage 1 on and make '
            'both anew.'
        )
        raise ConfigError(message)


def _list_frames(
    settings: TrainSettings, holes: HoleSettings, folder: Path, first: RunFolder
) -> None:
    """Look for holes and write the list, or wait until the first process has."""
    frames = folder / 'frames.jsonl'
    if not is_first_process():
        # Longer than any barrier waits; where the first process fails, torchrun ends this one.
        while not frames.is_file():
            time.sleep(_SECONDS_BETWEEN_LOOKS)
        return
    device = open_device(settings.trainer)
    train_set = open_training_set(settings.data, needs_depth=settings.recipe.needs_depth)
    _LOG.info('%s: looking for holes in %d frames on %s', folder, len(train_set), device)
    verdicts = judge_frames(
        load_model(first.last).to(device),
        train_set,
        holes,
        on_frame=counter(f'{folder}: holes', len(train_set)),
    )
    training: Any = read_checkpoint(first.last).training
    made_with = {**dataclasses.asdict(holes), _STEP: training['step']}
    write_text_atomically(folder / 'holes.json', json.dumps(made_with, indent=2) + '\n')
    write_verdicts(frames, verdicts)


def counter(
    what: str, total: int, *, clock_s: Callable[[], float] = time.monotonic
) -> Callable[[], None]:
    """Make a function that counts its calls and logs every half minute how many are left.

    Args:
        what: What is counted.
        total: Calls expected.
        clock_s: Seconds since any moment.
    """
    begun_s = said_s = clock_s()
    done = 0

    def advance() -> None:
        nonlocal done, said_s
        done += 1
        now_s = clock_s()
        if now_s - said_s >= _SECONDS_BETWEEN_LINES:
            said_s = now_s
            left_min = (now_s - begun_s) / done * (total - done) / 60.0
            _LOG.info('%s: %d of %d, %.0f min left', what, done, total, left_min)

    return advance


def _stage(settings: TrainSettings, folder: Path, console: Console | None) -> RunFolder:
    """Train in `folder`, go on with what is there, or take over what is finished."""
    resume = None
    run = RunFolder(folder)
    if run.last.exists():
        training: Any = read_checkpoint(run.last).training
        if training is not None and training['step'] >= settings.trainer.max_steps:
            refuse_other_settings(
                run.last,
                training,
                settings,
                remedy='take another --trainer.run_dir: both stages train from scratch',
            )
            _LOG.info('%s is finished', folder)
            return run
        resume = run.last
    trainer = dataclasses.replace(settings.trainer, run_dir=folder, resume=resume)
    return train(dataclasses.replace(settings, trainer=trainer), console=console)


def _compare(
    settings: TrainSettings, folder: Path, first: RunFolder, second: RunFolder
) -> Path | None:
    if not is_first_process():
        return None
    # Not from the cache, which does not keep what moves.
    data = dataclasses.replace(settings.data, cache=None)
    held_out = open_validation_set(data, needs_depth=settings.recipe.needs_depth)
    if held_out is None:
        return None
    device = open_device(settings.trainer)
    numbers = {}
    for name, run in (('stage_1', first), ('stage_2', second)):
        count = counter(f'{folder}: {name} compared', len(held_out))
        model = load_model(run.last).to(device)
        numbers[name] = content(compare(model, held_out, on_image=count))
    path = folder / 'comparison.json'
    write_text_atomically(path, json.dumps(numbers, indent=2) + '\n')
    return path
