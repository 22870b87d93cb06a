# SPDX-License-Identifier: Apache-2.0
"""How large the activations of a graph get on some images.

They are reduced inside the graph, or counted in bins, a part of the tensors of one image at a
time: a network whose activations would fill the memory needs little more than it takes to run,
whatever the number of images.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray

from depth_core.errors import DataError, ExportError
from depth_core.export.precision.graph import FLOAT, Graph
from depth_core.export.precision.sessions import NOTHING, Extra, feeds, open_session

_BINS: Final = 4096

_TOGETHER: Final = 512 << 20
"""Bytes of activations that are looked at in one run; a single tensor may have more."""

_NO_IMAGE: Final = (
    'there is no image to calibrate with; give a folder or data set that holds some, or leave '
    '--calibration out to draw them.'
)


def extents(
    graph: Graph, inputs: Iterable[NDArray[Any]], extra: Extra = NOTHING
) -> dict[str, tuple[float, float]]:
    """Measure the smallest and largest number of each fp32 tensor that is computed.

    Args:
        graph: A graph in fp32.
        inputs: Images as it takes them, one after the other.
        extra: What is given to its other inputs.

    Raises:
        DataError: There is no image.
        ExportError: A number is not finite.
    """
    names = [name for index in range(len(graph.nodes)) for name in graph.float_outputs(index)]
    names += [item.name for item in graph.model.graph.input if graph.is_float(item.name)]
    model = onnx.ModelProto()
    model.CopyFrom(graph.model)
    del model.graph.output[:]
    for name in names:
        for kind in ('ReduceMin', 'ReduceMax'):
            node = onnx.helper.make_node(kind, [name], [f'{name}_{kind}'], keepdims=0)
            model.graph.node.append(node)
            model.graph.output.append(
                onnx.helper.make_tensor_value_info(f'{name}_{kind}', FLOAT, [])
            )
    session = open_session(model, optimise=True)
    lowest = np.full(len(names), np.inf)
    highest = np.full(len(names), -np.inf)
    for value in inputs:
        answers = np.array(session.run(None, feeds(session, value, extra)), np.float64).reshape(
            -1, 2
        )
        lowest = np.minimum(lowest, answers[:, 0])
        highest = np.maximum(highest, answers[:, 1])
    if np.isposinf(lowest).all() and np.isneginf(highest).all():
        raise DataError(_NO_IMAGE)
    for name, low, high in zip(names, lowest, highest, strict=True):
        if not (math.isfinite(low) and math.isfinite(high)):
            message = (
                f'tensor {name!r} of the graph is {low:g} to {high:g} on the calibration images; '
                'a graph whose numbers are not finite cannot be converted: check its training.'
            )
            raise ExportError(message)
    pairs = zip(lowest.tolist(), highest.tolist(), strict=True)
    return dict(zip(names, pairs, strict=True))


def percentiles(
    graph: Graph,
    inputs: Sequence[NDArray[Any]],
    measured: Mapping[str, tuple[float, float]],
    extra: Extra = NOTHING,
    *,
    fraction: float,
) -> dict[str, tuple[float, float]]:
    """Between which numbers a fraction of each tensor lies, cutting as much off on each side.

    Args:
        graph: A graph in fp32.
        inputs: Images as it takes them, one after the other.
        measured: The `extents` of the tensors to look at.
        extra: What is given to its other inputs.
        fraction: Of the values, that are no larger, and of those that are no smaller.

    Raises:
        DataError: There is no image.
    """
    if not inputs:
        raise DataError(_NO_IMAGE)
    names = [name for name in measured if measured[name][0] < measured[name][1]]
    ranges = dict(measured)
    for group in _groups(graph, names):
        for name, counts in _counted(
            graph, inputs, {name: measured[name] for name in group}, extra
        ):
            ranges[name] = _between(counts, measured[name], fraction)
    return ranges


def _groups(graph: Graph, names: Iterable[str]) -> Iterator[list[str]]:
    """Tensors that are looked at in one run."""
    group: list[str] = []
    held = 0
    for name in names:
        size = 4 * math.prod(size or 1 for size in graph.shapes.get(name, ()))
        if group and held + size > _TOGETHER:
            yield group
            group, held = [], 0
        group.append(name)
        held += size
    if group:
        yield group


def _counted(
    graph: Graph,
    inputs: Iterable[NDArray[Any]],
    extent: Mapping[str, tuple[float, float]],
    extra: Extra,
) -> Iterator[tuple[str, NDArray[np.int64]]]:
    """How many values of each tensor lie in each bin of its extent."""
    graphs = (*graph.model.graph.value_info, *graph.model.graph.input, *graph.model.graph.output)
    known = {item.name: item for item in graphs}
    model = onnx.ModelProto()
    model.CopyFrom(graph.model)
    del model.graph.output[:]
    model.graph.output.extend(known[name] for name in extent)
    session = open_session(model, optimise=True)
    counts = {name: np.zeros(_BINS, np.int64) for name in extent}
    for value in inputs:
        answers = session.run(list(extent), feeds(session, value, extra))
        for name, answer in zip(extent, answers, strict=True):
            # Rounded otherwise than where the extent was measured, a value may be outside of it.
            counts[name] += np.histogram(np.clip(answer, *extent[name]), _BINS, extent[name])[0]
    yield from counts.items()


def _between(
    counts: NDArray[np.int64], extent: tuple[float, float], fraction: float
) -> tuple[float, float]:
    edges = np.linspace(*extent, _BINS + 1)
    shares = np.cumsum(counts) / counts.sum()
    low = int(np.searchsorted(shares, 1.0 - fraction, side='right'))
    high = int(np.searchsorted(shares, fraction, side='left'))
    return float(edges[low]), float(edges[high + 1])
