# SPDX-License-Identifier: Apache-2.0
"""The files of plans in one private folder: written whole, read only as they were written.

A plan `<stem>.plan` stands beside its record `<stem>.json`, which is written last: a plan without
a record does not exist; the next process that has the lock of its stem deletes it.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import time
from pathlib import Path
from typing import Final

from depth_core.files import (
    give_back,
    replaced_atomically,
    sweep,
    sync_folder,
    try_lock,
    write_text_atomically,
)
from depth_core.runtime.engine.entry import Entry, EntryError
from depth_core.runtime.engine.folder import FILE_MODE, FOLDER_MODE, read_private

PLAN: Final = '.plan'
RECORD: Final = '.json'
LOCK: Final = '.lock'
"""Held alone by whoever loads, builds or deletes."""
USE: Final = '.use'
"""Shared by those who have the engine loaded."""
QUARANTINE: Final = 'quarantine'
TIMINGS: Final = 'timings'
"""Folder of the timing caches, which are no plans."""

STEM_LENGTH: Final = 32

_QUARANTINED: Final = 3
"""Plans kept for whoever wants to know what happened to them."""

_logger = logging.getLogger(__name__)


class PlanFiles:
    """Plans and their records in `folder`, by the stem of their names."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def stems(self) -> list[str]:
        """Every stem that has a record or a plan."""
        names = (path for path in self.folder.iterdir() if path.suffix in (PLAN, RECORD))
        return sorted({path.stem for path in names if _is_stem(path.stem)})

    def path(self, stem: str, suffix: str) -> Path:
        """The file of `stem` that ends in `suffix`."""
        return self.folder / f'{stem}{suffix}'

    def read_record(self, stem: str) -> Entry:
        """Read the record of a plan.

        Raises:
            FileNotFoundError: There is none.
            EntryError: It is damaged, of another version, or belongs to another plan.
            UnsafeError: Another user may have written it.
        """
        return Entry.from_json(read_private(self.path(stem, RECORD)), stem)

    def read_plan(self, entry: Entry) -> bytes:
        """Read the plan of `entry`, which is the one that was written.

        Raises:
            EntryError: It is missing or differs from its record.
            UnsafeError: Another user may have written it.
        """
        try:
            plan = read_private(self.path(entry.stem, PLAN))
        except FileNotFoundError as error:
            message = 'the plan is missing'
            raise EntryError(message) from error
        if len(plan) != entry.size:
            message = f'the plan has {len(plan)} bytes, its record says {entry.size}'
            raise EntryError(message)
        digest = hashlib.sha256(plan).hexdigest()
        if digest != entry.sha256:
            message = f'the plan has SHA-256 {digest}, its record says {entry.sha256}'
            raise EntryError(message)
        return plan

    def write(self, entry: Entry, plan: bytes | None) -> None:
        """Put a plan, or none, and its record in the place of what was there.

        Raises:
            DepthError: They cannot be written; then neither is there.
        """
        self.delete(entry.stem)
        try:
            if plan is not None:
                target = self.path(entry.stem, PLAN)
                with replaced_atomically(target, mode=FILE_MODE) as temporary:
                    temporary.write_bytes(plan)
            self.write_record(entry)
        except BaseException:
            self.delete(entry.stem)
            raise
        sync_folder(self.folder)

    def write_record(self, entry: Entry) -> None:
        """Put a record in the place of the former one.

        Raises:
            DepthError: It cannot be written; the former one is still there.
        """
        write_text_atomically(self.path(entry.stem, RECORD), entry.to_json(), mode=FILE_MODE)

    def delete(self, stem: str) -> None:
        """Delete a record and its plan, in this order, as far as they are there."""
        for suffix in (RECORD, PLAN):
            with contextlib.suppress(OSError):
                self.path(stem, suffix).unlink(missing_ok=True)

    def delete_unused(self, stem: str) -> bool:
        """Delete a plan with all its files, unless somebody builds it or has it loaded.

        Returns:
            Whether it is gone.

        Raises:
            OSError: Nothing can be deleted, for instance on a disk that is read-only.
        """
        with contextlib.ExitStack() as stack:
            for suffix in (LOCK, USE):
                held = try_lock(self.path(stem, suffix))
                if held is None:
                    return False
                stack.callback(give_back, held)
            self.delete(stem)
            for suffix in (LOCK, USE):  # while they are held: `try_lock` expects that
                self.path(stem, suffix).unlink(missing_ok=True)
        return True

    def quarantine(self, stem: str, reason: str) -> None:
        """Put a plan where it is not found, with a word in the log; the lock of it is held."""
        folder = self.folder / QUARANTINE
        moved = folder / f'{time.time_ns()}-{stem}'
        try:
            folder.mkdir(mode=FOLDER_MODE, exist_ok=True)
            for suffix in (RECORD, PLAN):
                with contextlib.suppress(FileNotFoundError):
                    self.path(stem, suffix).rename(moved.with_suffix(suffix))
        except OSError as error:
            self.delete(stem)
            _logger.warning('an engine cannot be used (%s); it is deleted (%s)', reason, error)
        else:
            _logger.warning('an engine cannot be used (%s); it is now %s%s', reason, moved, PLAN)
        self.bound_quarantine()

    def bound_quarantine(self, most: int = _QUARANTINED) -> None:
        """Delete the oldest plans in quarantine until `most` are left."""
        paths = sorted((self.folder / QUARANTINE).glob('*'), reverse=True)
        kept = list(dict.fromkeys(path.stem for path in paths))[:most]
        for path in paths:
            if path.stem not in kept:
                with contextlib.suppress(OSError):
                    path.unlink()

    def sweep(self, held: str | None = None) -> None:
        """Delete what builds that ended early left: unfinished files, plans without record, locks.

        Args:
            held: Stem whose lock the caller has; of other stems only those that nobody has.
        """
        for folder in (self.folder, self.folder / TIMINGS):
            sweep(folder)
        for path in self.folder.glob(f'*{PLAN}'):
            stem = path.stem
            if not _is_stem(stem) or self.path(stem, RECORD).exists():
                continue
            lock = None if stem == held else self._try(stem, LOCK)
            if stem == held or lock is not None:
                _logger.info('%s was left by a process that ended early; it is deleted', path)
                with contextlib.suppress(OSError):
                    path.unlink()
            if lock is not None:
                give_back(lock)
        for path in self.folder.glob(f'*{LOCK}'):
            if _is_stem(path.stem) and path.stem != held:
                self._delete_idle_lock(path.stem)

    def _delete_idle_lock(self, stem: str) -> None:
        """Delete the locks of what there is no plan or record of, unless somebody has them."""
        if self._is_known(stem):
            return
        with contextlib.ExitStack() as stack:
            for suffix in (LOCK, USE):
                held = self._try(stem, suffix)
                if held is None:
                    return
                stack.callback(give_back, held)
            if self._is_known(stem):  # stored meanwhile
                return
            for suffix in (LOCK, USE):
                with contextlib.suppress(OSError):
                    self.path(stem, suffix).unlink(missing_ok=True)

    def _is_known(self, stem: str) -> bool:
        return self.path(stem, PLAN).exists() or self.path(stem, RECORD).exists()

    def _try(self, stem: str, suffix: str) -> int | None:
        try:
            return try_lock(self.path(stem, suffix))
        except OSError:
            return None


def _is_stem(name: str) -> bool:
    return len(name) == STEM_LENGTH and not name.strip('0123456789abcdef')
