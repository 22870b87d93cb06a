# SPDX-License-Identifier: Apache-2.0
"""One part of a recording: read, predicted and scored; what a worker does."""

from __future__ import annotations

import gzip
import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any, Final, TypeVar

import cv2
import numpy as np
import torch

from depth_core.contracts import Float32Array
from depth_core.data.bag.dataset import BagDataset
from depth_core.data.bag.truth import clocks_apart
from depth_core.data.sample import sample_to_score
from depth_core.errors import DataError
from depth_core.evaluate.bags.request import BagRequest, Part
from depth_core.evaluate.bags.score_file import score_from_json, score_to_json
from depth_core.evaluate.scoring import PredictsDepth, Scored, Scorer, View
from depth_core.files import gunzipped
from depth_core.metrics import ImageScore
from depth_core.processes import keep_freed_memory
from depth_core.runtime import Predictor

_Given = TypeVar('_Given')
_Made = TypeVar('_Made')

_MOST_BYTES: Final = 256 << 20
"""Of the results of a part once they are unpacked."""
_AHEAD: Final = 3
"""So many images may a thread be ahead: one that takes long then holds nobody up."""
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
        return gzip.compress(json.dumps(content).encode(), compresslevel=1, mtime=0)

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
    return score_part(request, part, open_model(request)).to_bytes()


def score_part(
    request: BagRequest,
    part: Part,
    predictor: PredictsDepth,
    *,
    on_scored: Callable[[Scored], object] | None = None,
) -> PartResult:
    """Predict and score each image of a part that has ground truth.

    Args:
        request: How.
        part: Which images.
        predictor: Gives depth for an image.
        on_scored: Called with each image that was predicted.

    Raises:
        DataError: The part cannot be read.
        ConfigError: The kind of depth cannot be scored so.
    """
    dataset = open_part(request, part)
    scorer = Scorer(
        predictor,
        request.protocol,
        source=request.scale_source(),
        flip_average=request.flip_average,
    )
    known = [index for index in range(len(dataset)) if dataset.has_depth(index)]
    scores = {index: _without_truth(dataset.key(index)) for index in range(len(dataset))}
    inference_s, backend = [], ''
    for index, found in zip(known, _scored(scorer, dataset, known), strict=True):
        if on_scored is not None:
            on_scored(found)
        scores[index] = found.score
        inference_s.append(found.answer.inference_s)
        backend = found.answer.backend
    return PartResult(
        scores=tuple(scores[index] for index in sorted(scores)),
        inference_s=tuple(inference_s),
        backend=backend,
        states=dict(scorer.states),
        notes=_notes(dataset, known),
    )


def open_part(request: BagRequest, part: Part) -> BagDataset:
    """Open the images of a part."""
    return BagDataset(part.bag, window_ns=(part.start_ns, part.stop_ns), **dict(request.data))


def _scored(scorer: Scorer, dataset: BagDataset, indices: Sequence[int]) -> Iterator[Scored]:
    """Score samples in turn: while one is predicted, the next is read and the last is scored."""

    def read(index: int) -> View:
        # In one thread, where the bag stays open.
        return scorer.look(sample_to_score(dataset, index), dataset.place(index))

    return _in_thread(scorer.score, map(scorer.predict, _in_thread(read, indices)))


def _in_thread(work: Callable[[_Given], _Made], given: Iterable[_Given]) -> Iterator[_Made]:
    """Give what `work` makes of each item, in order; it is at the next ones while one is used."""
    with ThreadPoolExecutor(1) as thread:
        waiting: deque[Future[_Made]] = deque()
        for item in given:
            waiting.append(thread.submit(work, item))
            if len(waiting) > _AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


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
