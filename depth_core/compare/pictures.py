# SPDX-License-Identifier: Apache-2.0
"""What each model made of the same images, in one range of colours."""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from depth_core.compare.bootstrap import Common
from depth_core.compare.subjects import Subject
from depth_core.contracts import Uint8Array
from depth_core.data import DepthDataset
from depth_core.data.sample import Sample
from depth_core.errors import DataError, DepthError
from depth_core.evaluate import Panel, choose_indices
from depth_core.evaluate.arguments import open_data, open_model, scale_source
from depth_core.evaluate.panels import panel_of, panel_scale_of
from depth_core.evaluate.pictures import draw_models
from depth_core.evaluate.scoring import Scorer
from depth_core.metrics import Protocol, find_protocol


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """What is shown."""

    drawn: Mapping[str, bytes]
    """A PNG file of each image, by its name."""
    left_out: tuple[str, ...]
    """Why a model is in none of them, or why there is none."""

    def sheet(self) -> bytes | None:
        """All of them below each other, one PNG file; None where there is none."""
        planes = [
            cv2.imdecode(np.frombuffer(item, np.uint8), cv2.IMREAD_COLOR)
            for item in self.drawn.values()
        ]
        if not planes:
            return None
        whole: Uint8Array = np.vstack([np.asarray(plane, np.uint8) for plane in planes])
        return bytes(cv2.imencode('.png', whole)[1])


def draw(subjects: Sequence[Subject], common: Sequence[Common], count: int) -> Pictures:
    """Let the models predict some of the images again, and draw them side by side.

    Args:
        subjects: What is compared.
        common: The images all of them scored.
        count: How many are drawn: at even distances, and the one on which AbsRel differs most.
    """
    chosen = _chosen(common, count)
    if not chosen:
        return Pictures(drawn={}, left_out=())
    try:
        samples, protocol = _samples(subjects, chosen)
    except DepthError as error:
        return Pictures(drawn={}, left_out=(f'no pictures: {error}',))
    found: dict[str, list[Panel]] = {}
    left_out = []
    for subject in subjects:
        try:
            found[subject.name] = _panels(subject, samples)
        except DepthError as error:  # noqa: PERF203  the other models are worth the time
            left_out.append(f'{subject.name} is not in the pictures: {error}')
    if not found:
        return Pictures(drawn={}, left_out=tuple(left_out))
    scale = panel_scale_of(itertools.chain.from_iterable(found.values()), protocol)
    drawn = {
        f'{item.recording} {item.image}'.strip(): draw_models(
            {name: panels[place] for name, panels in found.items()}, scale
        )
        for place, item in enumerate(chosen)
    }
    return Pictures(drawn=drawn, left_out=tuple(left_out))


def _chosen(common: Sequence[Common], count: int) -> list[Common]:
    """The image on which the models differ most, and others at even distances, in order."""
    if count == 0:
        return []
    apart = [max(item.abs_rel) - min(item.abs_rel) for item in common]
    most = max(range(len(common)), key=apart.__getitem__)
    others = [place for place in range(len(common)) if place != most]
    places = [most]
    if count > 1 and others:
        places += [others[place] for place in choose_indices(len(others), count - 1)]
    return [common[place] for place in sorted(places)]


def _samples(
    subjects: Sequence[Subject], chosen: Sequence[Common]
) -> tuple[list[Sample], Protocol]:
    """The images, by the first report that says how its data are opened.

    Raises:
        DepthError: There is none, or the data are not as they were.
    """
    reasons = []
    for place, subject in enumerate(subjects):
        try:
            options = subject.options()
            if options.calibrate is not None:
                message = f'{subject.name} was scored on a part of its data, by --calibrate.'
                raise DataError(message)
            dataset, _ = open_data(options)
            indices = choose_indices(len(dataset), options.limit)
            found = [_sample(dataset, indices, item, item.rows[place]) for item in chosen]
        except DepthError as error:  # noqa: PERF203  another may still be there
            reasons.append(str(error))
        else:
            return found, _protocol(options)
    raise DataError(' '.join(dict.fromkeys(reasons)))


def _sample(dataset: DepthDataset, indices: Sequence[int], item: Common, row: int) -> Sample:
    sample = dataset[indices[row]] if row < len(indices) else None
    if sample is None or str(sample.key) != item.image:
        message = f'image {item.image} is not where it was when it was scored; evaluate again.'
        raise DataError(message)
    return sample


def _panels(subject: Subject, samples: Sequence[Sample]) -> list[Panel]:
    """What the model of a report makes of some images.

    Raises:
        DepthError: It is gone, or does not answer as it did.
    """
    options = subject.options()
    scorer = Scorer(
        open_model(options.model, options),
        _protocol(options),
        source=scale_source(options),
        flip_average=options.flip_average,
    )
    panels = []
    for sample in samples:
        found = scorer(sample)
        if found.score.sums is None:
            message = f'{sample.key} was scored, and is not now; evaluate again.'
            raise DataError(message)
        panels.append(panel_of(found.score, found.image, found.answer, found.target_m))
    return panels


def _protocol(options: argparse.Namespace) -> Protocol:
    return find_protocol(
        options.protocol, min_depth_m=options.min_depth_m, max_depth_m=options.max_depth_m
    )
