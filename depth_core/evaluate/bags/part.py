# SPDX-License-Identifier: Apache-2.0
"""One part of a recording: read, predicted and scored; what a worker does."""

from __future__ import annotations

import json
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any, Final

import cv2
import numpy as np
import torch

from depth_core.contracts import Float32Array
from depth_core.data.bag.dataset import BagDataset
from depth_core.data.bag.truth import clocks_apart
from depth_core.data.sample import sample_to_score
from depth_core.errors import DataError, DepthError
from depth_core.evaluate.bags.request import BagRequest, Part
from depth_core.evaluate.bags.score_file import score_from_json, score_to_json
from depth_core.evaluate.pipeline import ahead, in_thread
from depth_core.evaluate.scoring import Answered, PredictsDepth, Scored, Scorer, View
from depth_core.files import gunzipped
from depth_core.metrics import ImageScore
from depth_core.processes import keep_freed_memory
from depth_core.runtime import Predictor

_MOST_BYTES: Final = 256 << 20
"""Of the results of a part once they are unpacked."""
_GZIP: Final = 16 + zlib.MAX_WBITS
UNSEEN: Final = (
    'scans or depth images are there, and none of their points lies in an image: look at '
    '/tf_static, at the frames that clouds and camera_info name, and at where the lidar looks'
)
"""Said of a recording without any true depth in its images."""
_NO_TRUTH: Final[Float32Array] = np.zeros(0, np.float32)


@dataclass(frozen=True, kw_only=True)
class PartResult:
    """What a part gives."""

    scores: tuple[ImageScore, ...]
    """Of each image, in the order of recording."""
    inference_s: tuple[float, ...]
    """Of each image that was predicted, seconds."""
    backend: str
    """What computed the depth; empty where nothing was predicted."""
    states: dict[str, int]
    """How many images each state of the scale had."""
    notes: tuple[str, ...]
    """What should be said of the recording."""

    def to_bytes(self) -> bytes:
        """The result as a compressed file."""
        content = {
            'format': 1,
            'scores': [score_to_json(score) for score in self.scores],
            'inference_s': self.inference_s,
            'backend': self.backend,
            'states': self.states,
            'notes': self.notes,
        }
        # Depths do not repeat: all there is to gain comes from their few letters.
        pack = zlib.compressobj(1, wbits=_GZIP, strategy=zlib.Z_HUFFMAN_ONLY)
        return pack.compress(json.dumps(content).encode()) + pack.flush()

    @classmethod
    def from_bytes(cls, data: bytes) -> PartResult:
        """Read what `to_bytes` wrote.

        Raises:
            DataError: It is damaged.
        """
        try:
            content: dict[str, Any] = json.loads(gunzipped(data, _MOST_BYTES))
            return cls(
                scores=tuple(score_from_json(item) for item in content['scores']),
                inference_s=tuple(content['inference_s']),
                backend=content['backend'],
                states=content['states'],
                notes=tuple(content['notes']),
            )
        except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
            message = f'kept results are damaged ({error}); remove the report folder and rerun.'
            raise DataError(message) from error


def evaluate_part(request: BagRequest, part: Part) -> bytes:
    """Evaluate a part, with the model that this process has open.

    Raises:
        DepthError: The model cannot be opened, or the part cannot be read.
    """
    return score_part(request, part, open_model(request))


def evaluate_parts(
    request: BagRequest, parts: Sequence[Part]
) -> Iterator[tuple[Part, bytes | DepthError]]:
    """Evaluate parts in turn: the next is opened while images of one are predicted.

    Returns:
        The result of each part, or why it could not be read, or the model not be opened.
    """
    try:
        predictor = open_model(request)
    except DepthError as error:
        yield parts[0], error
        return
    for work, found in ahead(_found(request, parts, predictor)):
        if isinstance(found, (bytes, DepthError)):
            yield work.part, found


def score_part(
    request: BagRequest,
    part: Part,
    predictor: PredictsDepth,
    *,
    on_scored: Callable[[Scored], object] = lambda _: None,
) -> bytes:
    """Predict and score each image of a part that has ground truth.

    Args:
        request: How.
        part: Which images.
        predictor: Gives depth for an image; it is asked in this thread.
        on_scored: Called with each image that was predicted.

    Returns:
        A `PartResult` as a compressed file.

    Raises:
        DataError: The part cannot be read.
        ConfigError: The kind of depth cannot be scored so.
    """
    result = b''
    for _, found in _found(request, [part], predictor):
        if isinstance(found, Scored):
            on_scored(found)
        elif isinstance(found, DepthError):
            raise found
        elif found is not None:
            result = found
    return result


def open_part(request: BagRequest, part: Part) -> BagDataset:
    """Open the images of a part."""
    return BagDataset(part.bag, window_ns=(part.start_ns, part.stop_ns), **dict(request.data))


class _Work:
    """A part while it is read, predicted and scored; after an error nothing more is done."""

    def __init__(self, request: BagRequest, part: Part, predictor: PredictsDepth) -> None:
        self.part = part
        self._request = request
        self._scorer = Scorer(
            predictor,
            request.protocol,
            source=request.scale_source(),
            flip_average=request.flip_average,
        )
        self._error: DepthError | None = None
        self._scores: list[ImageScore] = []
        self._known: deque[int] = deque()
        self._inference_s: list[float] = []
        self._backend = ''
        self._notes: tuple[str, ...] = ()
        self._truth_seen = True

    def views(self) -> Iterator[View]:
        """Read the images that have ground truth."""
        try:
            dataset = open_part(self._request, self.part)
            known = [index for index in range(len(dataset)) if dataset.has_depth(index)]
            self._scores = [_without_truth(dataset.key(index)) for index in range(len(dataset))]
            self._known.extend(known)
            self._notes = _notes(dataset, known)
            self._truth_seen = not known
            for index in known:
                yield self._scorer.look(sample_to_score(dataset, index), dataset.place(index))
        except DepthError as error:
            self._error = error

    def predict(self, view: View) -> Answered | None:
        """Predict one image."""
        try:
            return None if self._error else self._scorer.predict(view)
        except DepthError as error:
            self._error = error
            return None

    def score(self, answered: Answered) -> Scored | None:
        """Score one image; they come in the order in which they were read."""
        try:
            found = self._scorer.score(answered)
        except DepthError as error:
            self._error = error
            return None
        self._truth_seen = self._truth_seen or bool(answered.view.valid.any())
        self._scores[self._known.popleft()] = found.score
        self._inference_s.append(found.answer.inference_s)
        self._backend = found.answer.backend
        return found

    def result(self) -> bytes | DepthError:
        """What the part gives once all is scored, or why it gives nothing."""
        if self._error is not None:
            return self._error
        return PartResult(
            scores=tuple(self._scores),
            inference_s=tuple(self._inference_s),
            backend=self._backend,
            states=dict(self._scorer.states),
            notes=self._notes if self._truth_seen else (*self._notes, UNSEEN),
        ).to_bytes()


def _found(
    request: BagRequest, parts: Iterable[Part], predictor: PredictsDepth
) -> Iterator[tuple[_Work, Scored | bytes | DepthError | None]]:
    """Each image of the parts that was scored, and after those of a part its result."""

    def read() -> Iterator[tuple[_Work, View | None]]:
        # In one thread, where the bag stays open.
        for part in parts:
            work = _Work(request, part, predictor)
            yield from ((work, view) for view in work.views())
            yield work, None

    def predicted() -> Iterator[tuple[_Work, Answered | None]]:
        for work, view in ahead(read()):
            answered = None if view is None else work.predict(view)
            if view is None or answered is not None:
                yield work, answered

    def score(
        item: tuple[_Work, Answered | None],
    ) -> tuple[_Work, Scored | bytes | DepthError | None]:
        work, answered = item
        return work, work.result() if answered is None else work.score(answered)

    return in_thread(score, predicted())


@lru_cache(maxsize=1)
def open_model(request: BagRequest) -> Predictor:
    """The model, opened once in a process, which then computes on as many threads as asked."""
    keep_freed_memory()
    cv2.setNumThreads(request.threads)
    torch.set_num_threads(request.threads)
    return Predictor.open(
        request.model,
        manifest=request.manifest,
        backend=request.backend,
        precision=request.precision,
        threads=request.threads,
        assumed_hfov_deg=request.assumed_hfov_deg,
    )


def _without_truth(key: str) -> ImageScore:
    return ImageScore(
        key=key,
        targets=0,
        predicted=0,
        scale=float('nan'),
        sums=None,
        distance=None,
        calibration=None,
        sparsification=None,
        by_class=None,
        targets_m=_NO_TRUTH,
    )


def _notes(dataset: BagDataset, known: Sequence[int]) -> tuple[str, ...]:
    notes = []
    stamps = [dataset.stamp_ns(index) for index in range(len(dataset))]
    back = sum(later < earlier for earlier, later in pairwise(stamps))
    if back:
        notes.append(
            f'{back} images have a stamp before that of the image recorded before them: stamps '
            'that jump back; look at the clock of the camera'
        )
    if stamps and not known:
        notes.append(dataset.depth_looked_for().rstrip('.'))
    if known and dataset.truth is not None:
        apart = clocks_apart(dataset.images, dataset.truth)
        notes += [] if apart is None else [apart]
    return tuple(notes)
