# SPDX-License-Identifier: Apache-2.0
"""Plans that were built on this machine, kept by the content that they were built from.

Nothing is looked up by a name and nothing comes from elsewhere: the key is made of everything a
plan depends on. The hash of a plan is compared before TensorRT sees a byte of it, for a plan is a
program; what does not fit goes to quarantine and is built again.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from depth_core.errors import DepthError
from depth_core.files import give_back, try_lock
from depth_core.runtime.engine.entry import Entry, EntryError, now, stem_of
from depth_core.runtime.engine.folder import (
    UnavailableError,
    UnsafeError,
    default_folder,
    private_folder,
)
from depth_core.runtime.engine.locks import locked
from depth_core.runtime.engine.plan_files import LOCK, PLAN, USE, PlanFiles

LIMIT_BYTES: Final = 8 << 30
"""Of all plans together: some ten networks of paper size in fp16."""

_UNREADABLE: Final = (FileNotFoundError, EntryError, DepthError)

_logger = logging.getLogger(__name__)


class EngineCache:
    """The plans of one folder; any number of processes and threads may use it at once.

    Args:
        folder: None takes `default_folder`.
        limit_bytes: Of all plans together; the least recently used go first.

    Raises:
        UnsafeError: Another user may write to the folder.
        UnavailableError: It cannot be made or used.
    """

    def __init__(self, folder: Path | None = None, *, limit_bytes: int = LIMIT_BYTES) -> None:
        self.folder = private_folder(default_folder() if folder is None else folder)
        self.limit_bytes = limit_bytes
        self._files = PlanFiles(self.folder)

    @contextmanager
    def locked(
        self,
        key: str,
        *,
        cancelled: threading.Event | None = None,
        waiting: Callable[[float], None] | None = None,
    ) -> Iterator[None]:
        """Be the only one who loads, builds or stores the plan of `key`; see `locks.locked`.

        Raises:
            BuildCancelledError: `cancelled` was set while another process had the lock.
            UnavailableError: The lock cannot be made.
        """
        stem = stem_of(key)
        with contextlib.ExitStack() as stack:
            try:
                path = self._files.path(stem, LOCK)
                stack.enter_context(locked(path, cancelled=cancelled, waiting=waiting))
                self._files.sweep(held=stem)
            except OSError as error:
                message = (
                    f'the engine cache {self.folder} cannot be used: {error.strerror or error}; '
                    'free space, or name another folder for the engine cache.'
                )
                raise UnavailableError(message) from error
            yield

    def keep(self, key: str) -> Callable[[], None]:
        """Keep the plan of `key` from being deleted until what is returned is called."""
        stack = contextlib.ExitStack()
        with contextlib.suppress(OSError):
            held = try_lock(self._files.path(stem_of(key), USE), shared=True)
            if held is not None:
                stack.callback(give_back, held)
        return stack.close

    def entry(self, key: str) -> Entry | None:
        """The record of `key`; None when there is none or it is not valid."""
        try:
            return self._files.read_record(stem_of(key))
        except _UNREADABLE:
            return None

    def load(self, key: str) -> bytes | None:
        """Read the plan of `key` after comparing it with its hash; its lock is held.

        Returns:
            None when there is none, when it was refused by the gate, or when it cannot be read
            now; and when it is not what its record says: then it is put into quarantine.
        """
        stem = stem_of(key)
        try:
            entry = self._files.read_record(stem)
            plan = None if entry.is_refused else self._files.read_plan(entry)
        except FileNotFoundError:
            return None
        except (EntryError, UnsafeError) as error:
            self.quarantine(key, str(error))
            return None
        except UnavailableError as error:  # of the disk or this process: it stays where it is
            _logger.warning('an engine that is kept cannot be read: %s', error)
            return None
        self._rewrite(dataclasses.replace(entry, last_used=now()))
        return plan

    def store(
        self,
        key: str,
        plan: bytes,
        fields: Mapping[str, Any],
        notes: Mapping[str, str] | None = None,
    ) -> None:
        """Keep a plan; its lock is held.

        Args:
            key: `EngineKey.digest`.
            plan: The plan.
            fields: `EngineKey.fields`.
            notes: What tells a reader where it comes from: the file of the model, the driver.

        Raises:
            DepthError: It cannot be written, for instance because the disk is full; nothing of
                it is left.
        """
        entry = _entry(key, fields, notes, sha256=hashlib.sha256(plan).hexdigest(), size=len(plan))
        self._files.write(entry, plan)
        self._evict(kept=key)

    def record(self, key: str, parity: Mapping[str, Any], notes: Mapping[str, str]) -> None:
        """Add to the record of `key` how its engine answered; nothing where there is none."""
        entry = self.entry(key)
        if entry is not None:
            notes = {**entry.notes, **notes}
            self._rewrite(dataclasses.replace(entry, parity=dict(parity), notes=notes))

    def refuse(
        self,
        key: str,
        fields: Mapping[str, Any],
        parity: Mapping[str, Any],
        notes: Mapping[str, str] | None = None,
    ) -> None:
        """Delete the plan of `key`, and remember that its engine does not answer as its graph."""
        entry = dataclasses.replace(_entry(key, fields, notes), parity=dict(parity))
        try:
            self._files.write(entry, None)
        except DepthError as error:
            _logger.warning('an engine that was refused will be built again: %s', error)

    def discard(self, key: str) -> None:
        """Delete the plan of `key` and what is known of it, as if it had never been built."""
        self._files.delete(stem_of(key))

    def quarantine(self, key: str, reason: str) -> None:
        """Put the plan of `key` where it is not found, and say why in the log; lock held."""
        self._files.quarantine(stem_of(key), reason)

    def entries(self) -> list[Entry]:
        """Every valid record, the most recently used first."""
        found = []
        for stem in self._files.stems():
            with contextlib.suppress(*_UNREADABLE):
                found.append(self._files.read_record(stem))
        return sorted(found, key=lambda entry: entry.last_used, reverse=True)

    def verify(
        self, opens: Callable[[Entry, bytes], str | None] | None = None
    ) -> dict[str, str | None]:
        """Compare every plan with its record, and change nothing.

        Args:
            opens: Tries to open a plan that is as it was written, and says what is wrong.

        Returns:
            For each stem of files, what is wrong with them, None when nothing is.
        """
        return {stem: self._complaint(stem, opens) for stem in self._files.stems()}

    def clear(self, *, older_than: timedelta = timedelta(0)) -> tuple[list[Entry], list[Entry]]:
        """Delete what has not been used for so long, and what cannot be used at all.

        Returns:
            What was deleted, and what was left because a process builds it or has it loaded.

        Raises:
            UnavailableError: Nothing can be deleted.
        """
        try:
            return self._clear(older_than)
        except OSError as error:
            message = (
                f'engines in {self.folder} cannot be deleted: {error.strerror or error}; make the '
                'disk writable, or name another folder for the engine cache.'
            )
            raise UnavailableError(message) from error

    def _clear(self, older_than: timedelta) -> tuple[list[Entry], list[Entry]]:
        deleted: list[Entry] = []
        left: list[Entry] = []
        for entry in self.entries():
            # Without a clock of its own a computer may have used one tomorrow.
            if not older_than or entry.unused_for() >= older_than:
                (deleted if self._files.delete_unused(entry.stem) else left).append(entry)
        valid = {entry.stem for entry in self.entries()}
        for stem in set(self._files.stems()) - valid:
            self._files.delete_unused(stem)
        self._files.bound_quarantine(0)
        self._files.sweep()
        return deleted, left

    def _complaint(
        self, stem: str, opens: Callable[[Entry, bytes], str | None] | None
    ) -> str | None:
        try:
            entry = self._files.read_record(stem)
            plan = None if entry.is_refused else self._files.read_plan(entry)
            return None if plan is None or opens is None else opens(entry, plan)
        except FileNotFoundError:
            return f'{stem}{PLAN} has no record'
        except (EntryError, DepthError) as error:
            return str(error)

    def _evict(self, *, kept: str) -> None:
        """Delete the least recently used plans until all together are within the limit."""
        entries = self.entries()
        total = sum(entry.size for entry in entries)
        for entry in reversed(entries):
            if total <= self.limit_bytes:
                return
            if entry.key == kept or entry.is_refused or not self._gave_way(entry):
                continue
            total -= entry.size
            _logger.info(
                'the engine of %s (%.0f MB, last used %s) is deleted: %s is limited to %.0f MB',
                entry.notes.get('model', 'a model'),
                entry.size / 1e6,
                entry.last_used[:10],
                self.folder,
                self.limit_bytes / 1e6,
            )

    def _gave_way(self, entry: Entry) -> bool:
        try:
            return self._files.delete_unused(entry.stem)
        except OSError as error:
            _logger.debug('an engine beyond the limit stays: %s', error)
            return False

    def _rewrite(self, entry: Entry) -> None:
        try:
            self._files.write_record(entry)
        except DepthError as error:
            _logger.debug('the record of an engine stays as it is: %s', error)


def _entry(
    key: str,
    fields: Mapping[str, Any],
    notes: Mapping[str, str] | None,
    *,
    sha256: str | None = None,
    size: int = 0,
) -> Entry:
    return Entry(
        key=key,
        fields=dict(fields),
        sha256=sha256,
        size=size,
        notes=dict(notes or {}),
        created=now(),
        last_used=now(),
    )
