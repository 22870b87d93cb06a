# SPDX-License-Identifier: Apache-2.0
"""Notices a backend that hangs or fails, opens it again, and then the next one of the chain.

A thread inside a hung runtime cannot be ended: it is left behind with its model, what it may
answer one day is not published, and the frames go on with a new thread and a new model.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from depth_core.errors import DataError, DepthError
from depth_core.runtime import Predictor
from depth_core.runtime.engine import EngineOptions
from depth_ros.model.opening import Opening

CHECK_S: Final = 0.1
"""Time between two looks."""

MOST_FAILURES: Final = 3
"""So many inferences that fail in a row are a problem of the backend."""

STEADY_ANSWERS: Final = 10
"""So many answers after a backend was opened again, it is taken for well."""

FIRST_PAUSE_S: Final = 0.5
LONGEST_PAUSE_S: Final = 15.0
"""Attempts that help nothing follow each other ever more slowly."""

MOST_LEFT_BEHIND: Final = 4
"""Each hung thread keeps its model in memory; after so many only a new process helps."""


class InferenceRecord:
    """What one backend does and did: the worker writes, the watchdog reads."""

    def __init__(self) -> None:
        self._begun_s: float | None = None
        self.answered = 0
        """Inferences that gave an answer."""
        self.failed = 0
        """Those that failed since."""
        self.problem = ''
        """Why the last one failed."""

    @property
    def running_s(self) -> float:
        """For how long an inference runs, seconds; 0 when none does."""
        begun_s = self._begun_s
        return 0.0 if begun_s is None else time.monotonic() - begun_s

    @contextlib.contextmanager
    def inference(self, *, counts_failure: bool = True) -> Iterator[None]:
        """Watch the block, which asks the backend once.

        Args:
            counts_failure: Whether a failure is one; else it is asked again in another way.

        Raises:
            DataError: The frame cannot be used, which says nothing of the backend.
        """
        self._begun_s = time.monotonic()
        try:
            yield
        except DataError:
            raise
        except BaseException as error:
            self.failed += counts_failure
            self.problem = first_line(error)
            raise
        else:
            self.failed = 0
            self.answered += 1
        finally:
            self._begun_s = None

    def trouble(self, limit_s: float) -> str:
        """Why the backend is not well; empty when it is.

        Args:
            limit_s: Longest time of an inference, seconds; 0 allows any.
        """
        if self.failed >= MOST_FAILURES:
            return f'{self.failed} inferences failed in a row: {self.problem}'
        running_s = self.running_s
        if 0.0 < limit_s < running_s:
            return f'an inference runs for {running_s:.1f} s (inference_limit_s = {limit_s:g})'
        return ''


@dataclass(frozen=True, kw_only=True)
class WatchState:
    """What the watchdog says."""

    first_backend: str = ''
    """The backend that configure opened."""
    running_s: float = 0.0
    """For how long an inference runs; 0 when none does."""
    failed_in_row: int = 0
    at_work: str = ''
    """What is being done about a problem, with the problem; empty when there is none."""
    reopened: int = 0
    """How often a backend was opened again since configure."""
    last_problem: str = ''
    last_problem_age_s: float = 0.0


class Watchdog:
    """Decides when which backend is opened, and opens it in a thread of its own."""

    def __init__(
        self,
        open_backend: Callable[[str, EngineOptions], Predictor],
        options: EngineOptions,
        *,
        backend: str,
        chain: Sequence[str],
        cancelled: threading.Event,
        log: Callable[[str], object],
        complain: Callable[[str], object],
    ) -> None:
        """Watch a backend that is open.

        Args:
            open_backend: Opens the model on the backend of that name, and on no other.
            options: How engines are built.
            backend: The one in use.
            chain: The backends that may be used, the preferred one first.
            cancelled: Set when the node ends.
            log: Takes a line on how far it is.
            complain: Takes a line on a problem.
        """
        self._open_backend = open_backend
        self._options = options
        self._first = self._backend = backend
        self._chain = tuple(chain) if backend in chain else (backend, *chain)
        self._cancelled = cancelled
        self._log = log
        self._complain = complain
        self._opening: Opening[Predictor] | None = None
        self._waiting: list[str] = []
        self._not_before_s = 0.0
        self._attempts = self._reopened = 0
        self._problem, self._problem_s = '', 0.0
        self._why_not = ''

    @property
    def left_behind(self) -> bool:
        """Whether a model is being opened that nobody may wait for."""
        opening = self._opening
        return opening is not None and opening.is_running

    @property
    def is_busy(self) -> bool:
        """Whether a backend is to be opened."""
        return self._opening is not None or bool(self._waiting)

    def state(self, record: InferenceRecord | None, *, given_up: bool) -> WatchState:
        """Say how things are, for the diagnostics.

        Args:
            record: Of the worker in use.
            given_up: Whether too many threads were left behind.
        """
        at_work = ''
        if given_up and self.is_busy:
            at_work = f'{MOST_LEFT_BEHIND} threads hang; start the node again'
        elif self._opening is not None:
            at_work = f'opening {self._backend}'
        elif self._waiting:
            pause_s = max(0.0, self._not_before_s - time.monotonic())
            at_work = f'opening {self._waiting[0]} in {pause_s:.0f} s'
        if at_work:
            at_work = '; '.join(filter(None, (self._problem, self._why_not, at_work)))
        return WatchState(
            first_backend=self._first,
            running_s=0.0 if record is None else record.running_s,
            failed_in_row=0 if record is None else record.failed,
            at_work=at_work,
            reopened=self._reopened,
            last_problem=self._problem,
            last_problem_age_s=time.monotonic() - self._problem_s,
        )

    def steady(self, answered: int) -> None:
        """Learn how many inferences the backend in use has answered since it was opened."""
        if answered >= STEADY_ANSWERS:
            self._attempts = 0

    def report(self, problem: str) -> None:
        """Begin to do something about a problem of the backend in use."""
        self._problem, self._problem_s = problem, time.monotonic()
        self._why_not = ''
        at = self._chain.index(self._backend)
        turn = (*self._chain[at:], *self._chain[:at])
        again = self._attempts % 2  # each one is opened again once
        self._waiting = [*turn[again:], *turn[:again]]
        self._pause()
        self._complain(f'backend {self._backend}: {problem}; opening {self._waiting[0]}')

    def opened(self) -> Predictor | None:
        """Return the model once it is open on a backend; that one is in use from now on."""
        if self._opening is None:
            if self._waiting and time.monotonic() >= self._not_before_s:
                self._begin()
            return None
        if self._opening.is_running or self._cancelled.is_set():
            return None
        opening, self._opening = self._opening, None
        try:
            predictor = opening.model(self._log)
        except Exception as error:  # noqa: BLE001 whatever a runtime raises, the next one is tried
            self._refused(error)
            return None
        self._reopened += 1
        self._waiting = []
        self._log(f'backend {self._backend} is open')
        return predictor

    def _begin(self) -> None:
        self._backend = name = self._waiting.pop(0)
        self._opening = Opening(
            lambda options: self._open_backend(name, options),
            self._options,
            cancelled=self._cancelled,
        )

    def _refused(self, error: Exception) -> None:
        reason = first_line(error)
        self._why_not = f'{self._backend} cannot be opened: {reason}'
        self._complain(self._why_not)
        if not self._waiting:
            self._waiting = list(self._chain)
            self._pause()

    def _pause(self) -> None:
        self._attempts += 1
        pause_s = 0.0
        if self._attempts > 2:  # noqa: PLR2004 opened again, and the next one: both at once
            pause_s = min(FIRST_PAUSE_S * 2.0 ** (self._attempts - 3), LONGEST_PAUSE_S)
        self._not_before_s = time.monotonic() + pause_s


def first_line(error: BaseException) -> str:
    """Say what an exception says, in one line; a defect with its class."""
    text = str(error).strip().partition('\n')[0]
    if isinstance(error, DepthError) and text:
        return text
    return f'{type(error).__name__}: {text}' if text else type(error).__name__
