# SPDX-License-Identifier: Apache-2.0
"""The folder of a run: with what it was made, its numbers, its checkpoints."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import os
import platform
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import torch

from depth_core.data.sample import DepthDataset
from depth_core.errors import CheckpointError, ConfigError, DepthError
from depth_core.files import (
    give_back,
    read_text,
    replaced_atomically,
    sweep,
    try_lock,
    write_text_atomically,
)
from depth_core.train.command_line import plain
from depth_core.train.settings import DataSettings, TrainerSettings
from depth_core.weights.checkpoint import SUFFIX

_PACKAGES: Final = ('depth_ros', 'torchvision', 'timm', 'lightning-fabric', 'numpy')
_COMMAND: Final = 'depth_core.train'
_LOCK: Final = '.training'
"""Names the process that trains here; there as long as it does."""
_PACKAGE_FOLDER: Final = Path(__file__).resolve().parents[1]


@dataclass
class RunFolder:
    """Paths and records of one run; only the first process writes."""

    path: Path
    records: list[dict[str, Any]] = field(default_factory=list)
    """One entry a validation: step and metrics."""

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoints."""
        return self.path / 'checkpoints'

    @property
    def last(self) -> Path:
        """The newest checkpoint."""
        return self.checkpoints / f'last{SUFFIX}'

    @property
    def best(self) -> Path:
        """The weights with the best score on the held-out samples."""
        return self.checkpoints / f'best{SUFFIX}'

    def step_checkpoint(self, step: int) -> Path:
        """The checkpoint after `step` steps."""
        return self.checkpoints / f'step-{step:06d}{SUFFIX}'

    def steps(self) -> list[Path]:
        """The checkpoints by step, the oldest first."""
        return sorted(self.checkpoints.glob(f'step-*{SUFFIX}'), key=_step_of)

    def refuse_newer(self, source: Path, step: int) -> None:
        """Refuse to train over checkpoints that are newer than the one that was asked for.

        A run that was killed before `last` was renewed may have one: it is made again.

        Args:
            source: The checkpoint a run resumes from.
            step: Steps done there.

        Raises:
            ConfigError: There are newer ones.
        """
        newer = [path.name for path in self.steps() if _step_of(path) > step]
        if newer and not (self.last.is_file() and source.samefile(self.last)):
            message = (
                f'{source} was written after {step} steps, and {self.path} has newer checkpoints '
                f'({", ".join(newer)}), which the run would replace; give another '
                '--trainer.run_dir to try another way from there, or move them away.'
            )
            raise ConfigError(message)

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Let nobody else train here meanwhile, and remove what killed runs left.

        Raises:
            ConfigError: Another process does.
            DepthError: The folder cannot be made or written.
        """
        path, made = self.path / _LOCK, not self.path.exists()
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock = try_lock(path, mode=0o644)
        except OSError as error:
            message = f'cannot write {path}: {error.strerror or error}; give another folder.'
            raise DepthError(message) from error
        if lock is None:
            message = (
                f'{self.path} is already training, by process {read_text(path) or "unknown"}; '
                'wait for it or end it, or give another --trainer.run_dir.'
            )
            raise ConfigError(message)
        try:
            os.truncate(lock, 0)
            os.write(lock, f'{os.getpid()} on {platform.node()}'.encode())
            for folder in (self.path, self.checkpoints):
                sweep(folder)
            yield
        finally:
            path.unlink(missing_ok=True)
            give_back(lock)
            with contextlib.suppress(OSError):
                if made:
                    self.path.rmdir()  # where nothing came of the run

    def best_state(self, step: int) -> Path:
        """The whole state of the best validation, reached after `step` steps."""
        return self.checkpoints / f'best-state-{step:06d}{SUFFIX}'

    def point_last_to(self, checkpoint: Path, *, keep: int, best_step: int) -> None:
        """Make `last` the same file as `checkpoint`, then drop all but the `keep` newest.

        Of the best states only that of `best_step` stays, the one the checkpoint refers to.
        """
        with replaced_atomically(self.last) as temporary:
            temporary.unlink()
            try:
                os.link(checkpoint, temporary)
            except OSError:  # a file system without links
                shutil.copyfile(checkpoint, temporary)
        step = _step_of(checkpoint)
        former = [path for path in self.steps() if _step_of(path) <= step]
        for old in former[:-keep]:
            old.unlink()
        for old in self.checkpoints.glob(f'best-state-*{SUFFIX}'):
            if _step_of(old) != best_step:
                old.unlink()

    def record(self, step: int, numbers: Mapping[str, Any]) -> None:
        """Add the numbers of a validation to metrics.json."""
        self.records.append({'step': step, **numbers})
        write_text_atomically(
            self.path / 'metrics.json', json.dumps(self.records, indent=2, allow_nan=True) + '\n'
        )

    def log(self, step: int, numbers: Mapping[str, float]) -> None:
        """Add the numbers of training since the last entry as a line of training.jsonl."""
        with self.history.open('a', encoding='utf-8') as file:
            file.write(json.dumps({'step': step, **numbers}) + '\n')

    @property
    def history(self) -> Path:
        """One JSON object a line: step, loss and its terms, learning rate."""
        return self.path / 'training.jsonl'

    def drop_history_after(self, step: int) -> None:
        """Drop the lines of training.jsonl beyond `step`, where a resumed run continues."""
        if not self.history.is_file():
            return
        lines = self.history.read_text(encoding='utf-8').splitlines(keepends=True)
        # The last line of a run that was killed may be cut off.
        kept = [line for line in lines if line.endswith('\n') and json.loads(line)['step'] <= step]
        write_text_atomically(self.history, ''.join(kept))


def run_folder_of(trainer: TrainerSettings, model_name: str) -> RunFolder:
    """The folder that is asked for, or a new name."""
    stamp = dt.datetime.now(dt.timezone.utc).strftime('%Y%m%d-%H%M%S')
    return RunFolder(trainer.run_dir or Path('runs') / f'{model_name}-{stamp}')


def take_up(folder: RunFolder, *, resumed_step: int | None) -> None:
    """See that a new run may be made in a folder, or read what a resumed one recorded.

    Raises:
        ConfigError: The folder already holds a run that is not being resumed.
    """
    if resumed_step is None and folder.last.exists():
        message = (
            f'{folder.path} already holds a run; continue it with --trainer.resume last, or give '
            'another --trainer.run_dir.'
        )
        raise ConfigError(message)
    records = folder.path / 'metrics.json'
    if resumed_step is not None and records.is_file():
        folder.records = [
            record
            for record in json.loads(records.read_text(encoding='utf-8'))
            if record['step'] <= resumed_step
        ]


def find_resumed(trainer: TrainerSettings) -> Path | None:
    """The checkpoint to continue from, if any.

    Raises:
        CheckpointError: It does not exist.
    """
    if trainer.resume is None:
        return None
    if trainer.resume != 'last':
        return trainer.resume
    last = RunFolder(trainer.run_dir or Path()).last
    if not last.is_file():
        message = (
            f'there is nothing to resume in {trainer.run_dir}: {last} does not exist; give the '
            'folder of a run that wrote a checkpoint, or leave out trainer.resume.'
        )
        raise CheckpointError(message)
    return last


def describe(
    data: DataSettings, *, train_set: DepthDataset, held_out: DepthDataset | None, world: int
) -> dict[str, Any]:
    """With what a run is made: command, versions, machine, data."""
    return {
        'started': dt.datetime.now(dt.timezone.utc).isoformat(timespec='seconds'),
        'command': shlex.join(['python', '-m', _module(), *sys.argv[1:]]),
        'revision': _revision(),
        'python': platform.python_version(),
        'packages': {'torch': str(torch.__version__)}
        | {name: version for name in _PACKAGES if (version := _version(name))},
        'machine': {
            'system': platform.platform(),
            'processor': _processor(),
            'cpus': os.cpu_count(),
            'gpu': torch.cuda.get_device_name() if torch.cuda.is_available() else None,
            'threads': torch.get_num_threads(),
            'processes': world,
        },
        'height': data.height,
        'width': data.width,
        'canonical_focal_px': data.canonical_focal_px,
        'train': {**plain(data.train), 'images': len(train_set)},
        'validation': None
        if held_out is None
        else {**plain(data.validation), 'images': len(held_out)},
    }


def write_description(
    folder: RunFolder, settings_yaml: str, description: Mapping[str, Any], *, first_step: int
) -> None:
    """Write settings.yaml, add this start to run.json, and drop what came after its step."""
    folder.drop_history_after(first_step)
    write_text_atomically(folder.path / 'settings.yaml', settings_yaml)
    path = folder.path / 'run.json'
    starts = json.loads(path.read_text(encoding='utf-8')) if path.is_file() else []
    write_text_atomically(path, json.dumps([*starts, description], indent=2) + '\n')


def _module() -> str:
    """The command that runs, where it is one of training."""
    spec = getattr(sys.modules['__main__'], '__spec__', None)
    name = '' if spec is None else spec.name.removesuffix('.__main__')
    return name if name.startswith(_COMMAND) else _COMMAND


def _step_of(checkpoint: Path) -> int:
    return int(checkpoint.stem.rpartition('-')[2])


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    """The name of the CPU, as Linux gives it."""
    try:
        lines = Path('/proc/cpuinfo').read_text(encoding='utf-8').splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(':')[2].strip() for line in lines if line.startswith('model name')]
    return names[0] if names else platform.processor()


def _revision() -> str | None:
    """The git revision this package runs from, `+changes` when files differ from it."""
    git = ['git', '-C', str(_PACKAGE_FOLDER)]
    try:
        revision = subprocess.run(
            [*git, 'rev-parse', 'HEAD'], capture_output=True, text=True, timeout=10, check=True
        ).stdout.strip()
        changed = subprocess.run(
            [*git, 'status', '--porcelain', '--untracked-files=no'],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
    return f'{revision}+changes' if changed else revision
