# SPDX-License-Identifier: Apache-2.0
"""TensorRT and TensorRT-RTX behind one name: which is here, what it can do, what it complains of.

The Python interface has lost and gained names from 8.5 to 11, and its enumerations were numbered
anew. What a module can do is therefore asked of the module itself, `hasattr` by `hasattr`, and
never concluded from a version or written as a number. Its calls do not raise: they give None,
False or -1, and only the logger hears why; `required` turns that into an error.

Objects of the library have no types that a checker could see. Where one is handed on, it is
annotated with the alias of its class below, by which a test holds every name that is used against
a table of what each version has.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import logging
import re
import threading
import weakref
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias, TypeVar

from depth_core.errors import BackendError
from depth_core.runtime.engine.options import Flavour

Module: TypeAlias = Any
Builder: TypeAlias = Any
IBuilderConfig: TypeAlias = Any
INetworkDefinition: TypeAlias = Any
ILayer: TypeAlias = Any
ITensor: TypeAlias = Any
ITimingCache: TypeAlias = Any
IOptimizationProfile: TypeAlias = Any
OnnxParser: TypeAlias = Any
ParserError: TypeAlias = Any
Runtime: TypeAlias = Any
ICudaEngine: TypeAlias = Any
IExecutionContext: TypeAlias = Any
DataType: TypeAlias = Any

Answer = TypeVar('Answer')

MODULES: Final[Mapping[Flavour, tuple[str, str]]] = {
    'tensorrt': (
        'tensorrt',
        (
            'on a Jetson it comes with JetPack (apt install python3-libnvinfer), on a desktop '
            "with pip install 'depth_ros[tensorrt]'"
        ),
    ),
    'tensorrt-rtx': ('tensorrt_rtx', 'pip install tensorrt-rtx (desktop GPUs of x86-64 machines)'),
}
"""The Python module of each flavour, and what brings it."""

NUMPY_TYPES: Final[Mapping[str, str]] = {
    'FLOAT': 'float32',
    'HALF': 'float16',
    'INT8': 'int8',
    'INT32': 'int32',
    'INT64': 'int64',
    'BOOL': 'bool',
    'UINT8': 'uint8',
}
"""NumPy's name for each type by TensorRT's; its own `nptype` fails with some versions of NumPy."""

_NO_DRIVER: Final = re.compile(
    r'cuda(?:Error)?\W*(?:error\W*)?35\b|CUDA driver version is insuff', re.IGNORECASE
)
"""What TensorRT adds on a machine without a driver, whatever the real fault was."""

OUT_OF_MEMORY: Final = re.compile(
    r'out ?of ?memory|bad_?alloc|insufficient memory|memory .*could not be allocated',
    re.IGNORECASE,
)
"""What it says where memory is lacking."""

_CUDA_MAJORS: Final = range(11, 15)
"""In names of packages, such as tensorrt-cu12; those of apt have none."""

_KEPT_ERRORS: Final = 32
_LONGEST_ERROR: Final = 600

_logger = logging.getLogger(__name__)


class TensorRt:
    """One TensorRT module that has been imported, and the one logger it is given.

    The logger lives as long as the process, as the library demands, and may be called from any
    thread.
    """

    def __init__(self, module: Module, flavour: Flavour) -> None:
        self.module = module
        self.flavour = flavour
        self.version = str(module.__version__)
        """As the module states it: `10.3.0`, `1.7.1.116`."""
        self.logger: Any = _make_logger(module)
        """What `Builder`, `OnnxParser` and `Runtime` take."""

    @property
    def release(self) -> tuple[int, ...]:
        """The numbers of `version`, for comparisons with what a release is known to do wrong."""
        return tuple(int(number) for number in re.findall(r'\d+', self.version)[:4])

    @property
    def always_typed(self) -> bool:
        """Whether networks keep the types of their graph without being asked: 11, RTX 1.5."""
        return not hasattr(self.module.BuilderFlag, 'FP16')

    @property
    def weakly_typed(self) -> bool:
        """Whether types are only hints and flags allow half precision: 8."""
        flags = self.module.NetworkDefinitionCreationFlag
        return not self.always_typed and not hasattr(flags, 'STRONGLY_TYPED')

    @property
    def chooses_targets(self) -> bool:
        """Whether a plan is built for stated GPUs, which need not be here: RTX."""
        return hasattr(self.module, 'ComputeCapability')

    @property
    def targets(self) -> tuple[str, ...]:
        """Names of what a plan can be built for, where it `chooses_targets`."""
        return tuple(self.module.ComputeCapability.__members__) if self.chooses_targets else ()

    @property
    def has_progress_monitor(self) -> bool:
        """Whether a build says how far it is: 10 and later."""
        return hasattr(self.module, 'IProgressMonitor')

    @property
    def keeps_timings(self) -> bool:
        """Whether a timing cache makes the next build quicker; RTX has only the calls of it."""
        return not self.chooses_targets

    def network_flags(self) -> int:
        """What `Builder.create_network` is given: types of the graph kept, batch explicit."""
        flags = self.module.NetworkDefinitionCreationFlag
        if self.always_typed:
            return 0
        if hasattr(flags, 'STRONGLY_TYPED'):
            return 1 << int(flags.STRONGLY_TYPED)
        return 1 << int(flags.EXPLICIT_BATCH)

    @property
    def cuda_major(self) -> int | None:
        """CUDA that it was built for, as the name of its package has it; None where none does.

        A driver of an older one leaves a `Runtime` whose use ends the process.
        """
        found = []
        for major in _CUDA_MAJORS:
            name = f'{self.flavour}-cu{major}'
            for package in (f'{name}-bindings', name):
                with contextlib.suppress(importlib.metadata.PackageNotFoundError):
                    if importlib.metadata.version(package).startswith(self.version):
                        found.append(major)
                        break
        return found[0] if len(found) == 1 else None

    def first_error(self, *, own: bool = False) -> str:
        """The first error since this thread called `clear_errors`, empty when there was none.

        Only those that this thread came upon, and the threads of TensorRT itself, which work for
        whoever waits. What follows the first is its consequence, or says that there is no CUDA
        driver (error 35) where the fault was another one.

        Args:
            own: Leave out what TensorRT's own threads said, which may work for other threads.
        """
        return self.logger.collected.first(own=own)  # type: ignore[no-any-return]

    def clear_errors(self) -> None:
        """Forget this thread's errors so far; call it before what `first_error` is to judge."""
        self.logger.collected.clear()

    def register_plugins(self) -> None:
        """Make the operators known that come as plugins; before a graph or a plan is read."""
        self.required(
            self.module.init_libnvinfer_plugins(self.logger, ''), 'register its own plugins'
        )

    def required(self, answer: Answer | None, what: str) -> Answer:
        """Return `answer`, unless it is how TensorRT says that it failed: None, False or -1.

        Args:
            answer: What a call of the library gave.
            what: What the call was to do, as in 'cannot ...'.

        Raises:
            BackendError: It failed; the message holds the first error that TensorRT logged.
        """
        # -1 is compared by identity of type: True and numbers of flags are answers, too.
        if answer is None or answer is False or (type(answer) is int and answer == -1):
            because = self.first_error() or 'TensorRT gave no reason'
            message = f'{self.flavour} {self.version} cannot {what}: {because}'
            raise BackendError(message)
        return answer

    def __str__(self) -> str:
        return f'{self.flavour} {self.version}'


_loaded: Final[list[TensorRt]] = []
_loading: Final = threading.Lock()


def load_tensorrt(flavour: Flavour) -> TensorRt:
    """Import the TensorRT of `flavour`; each module gets one `TensorRt`, which is kept.

    Importing touches no driver; opening a `Runtime` does, so probe the GPU before that.

    Raises:
        BackendError: It is not installed, or its libraries do not load.
    """
    name, install = MODULES[flavour]
    try:
        module = importlib.import_module(name)
    except (ImportError, OSError, RuntimeError) as error:
        # A library that is missing is an OSError; the package for data centres asks PyPI in vain.
        first = (str(error).splitlines() or [type(error).__name__])[0]
        message = f'{flavour} is not installed or does not load ({first}); {install}.'
        raise BackendError(message) from error
    missing = [
        item for item in ('__version__', 'Builder', 'OnnxParser') if not hasattr(module, item)
    ]
    if missing:
        message = (
            f'module {name} at {getattr(module, "__file__", None)} is not TensorRT: it has no '
            f'{", ".join(missing)}; {install}.'
        )
        raise BackendError(message)
    with _loading:
        for known in _loaded:
            if known.module is module:
                return known
        _loaded.append(TensorRt(module, flavour))
        return _loaded[-1]


class _Heard:
    """The first errors and the last ones since one thread began to listen."""

    def __init__(self) -> None:
        self._first: list[tuple[str, bool]] = []
        self._last: deque[tuple[str, bool]] = deque(maxlen=_KEPT_ERRORS)

    def add(self, message: str, *, own: bool) -> None:
        self._last.append((message, own))
        if len(self._first) < _KEPT_ERRORS:
            self._first.append((message, own))

    def texts(self, *, own: bool) -> list[str]:
        return [text for text, is_own in (*self._first, *self._last) if is_own or not own]


class _CollectedErrors:
    """Errors by the thread that asks for them.

    A thread that has called `clear` hears its own; those of a thread that never did, which is one
    of TensorRT's, are heard by all, since nothing says for whom it works.
    """

    def __init__(self) -> None:
        # Taken again by its own thread where a collection ends an engine that then complains.
        self._lock = threading.RLock()
        self._own = threading.local()
        self._all: weakref.WeakSet[_Heard] = weakref.WeakSet()

    def add(self, message: str) -> None:
        with self._lock:
            own: _Heard | None = getattr(self._own, 'heard', None)
            for heard in list(self._all) if own is None else [own]:
                heard.add(message, own=own is not None)

    def clear(self) -> None:
        with self._lock:
            self._own.heard = _Heard()  # the former one goes with its last reference
            self._all.add(self._own.heard)

    def first(self, *, own: bool) -> str:
        with self._lock:
            heard: _Heard = getattr(self._own, 'heard', None) or _Heard()
            texts = heard.texts(own=own)
        telling = [text for text in texts if not _NO_DRIVER.search(text)]
        found = (telling or texts or [''])[0]
        if found and not telling:
            found = f'no CUDA driver that this version can use ({found})'
        return found if len(found) <= _LONGEST_ERROR else f'{found[:_LONGEST_ERROR]}...'


class _Listening:
    """The methods of the logger; its other base is the ILogger of the module."""

    collected: _CollectedErrors
    error_level: int
    warning_level: int

    def log(self, severity: Any, msg: str) -> None:  # noqa: ANN401  an enumeration of the module
        """Hear a message; TensorRT calls this from its own threads."""
        level = int(severity)
        if level <= self.error_level:
            self.collected.add(' '.join(str(msg).split()))
            _logger.info('TensorRT: %s', msg)
        elif level <= self.warning_level:
            _logger.info('TensorRT warns: %s', msg)


def _make_logger(module: Module) -> Any:  # noqa: ANN401  a class of the module
    # The constructor found is that of ILogger, which has to run; `_Listening` has none.
    logger = type('Logger', (_Listening, module.ILogger), {})()
    logger.collected = _CollectedErrors()
    logger.error_level = int(module.ILogger.Severity.ERROR)
    logger.warning_level = int(module.ILogger.Severity.WARNING)
    return logger


class _Phases:
    """How far a build is, from the phases within phases that TensorRT tells.

    A phase takes a number of steps, and a phase inside it is a part of its next step.
    """

    def __init__(self) -> None:
        # Taken again by its own thread where a collection ends an engine that then complains.
        self._lock = threading.RLock()
        self._running: dict[str, list[int]] = {}
        self._most = 0.0

    def start(self, name: str, steps: int) -> tuple[str, float]:
        with self._lock:
            self._running[name] = [0, max(steps, 1)]
            return self._state()

    def step(self, name: str, step: int) -> tuple[str, float]:
        with self._lock:
            if name in self._running:
                self._running[name][0] = step + 1
            return self._state()

    def finish(self, name: str) -> None:
        with self._lock:
            self._running.pop(name, None)

    def _state(self) -> tuple[str, float]:
        fraction = 0.0
        for done, steps in reversed(self._running.values()):
            fraction = min((done + fraction) / steps, 1.0)
        # A phase is over before its step of the phase around it is done.
        self._most = max(self._most, fraction)
        return next(reversed(self._running), ''), self._most


class _Watching:
    """The methods of the monitor; its other base is the IProgressMonitor of the module."""

    phases: _Phases
    told: Callable[[str, float], bool]

    def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
        """Hear that a phase begins."""
        del parent_phase  # phases end in the reverse order of their beginnings
        self.told(*self.phases.start(phase_name, num_steps))

    def phase_finish(self, phase_name: str) -> None:
        """Hear that a phase is over."""
        self.phases.finish(phase_name)

    def step_complete(self, phase_name: str, step: int) -> bool:
        """Hear that a step is done, and say whether to go on."""
        return self.told(*self.phases.step(phase_name, step))


def progress_monitor(trt: TensorRt, told: Callable[[str, float], bool]) -> Any:  # noqa: ANN401  a class of the module
    """Make a monitor of a build, for a TensorRT that `has_progress_monitor`.

    Args:
        trt: The TensorRT that builds.
        told: Called with the innermost phase and the fraction of the whole, from any thread; it
            returns at once, and False gives up the build.
    """
    monitor = type('Monitor', (_Watching, trt.module.IProgressMonitor), {})()
    monitor.phases = _Phases()
    monitor.told = told
    return monitor
