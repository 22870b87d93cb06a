# SPDX-License-Identifier: Apache-2.0
"""Each limit: the graph it is about is refused where it holds, and let through where not."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import NodeProto, TensorProto, helper, numpy_helper

from depth_core.errors import BackendError
from depth_core.runtime.backends.base import Precision
from depth_core.runtime.engine.graph_checks import (
    LIMITS,
    OPSETS,
    Release,
    check_operators,
)
from depth_core.runtime.engine.options import Flavour
from depth_core.runtime.onnx_graph import OnnxGraph
from depth_core.runtime.onnx_reader import read_graph

FLOAT, HALF, UINT8 = TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.UINT8
NEWEST: Mapping[Flavour, Release] = {'tensorrt': (11, 4, 1), 'tensorrt-rtx': (1, 7, 1, 116)}
node = helper.make_node


@dataclass(frozen=True)
class Case:
    """A graph that a limit is about, and a version on either side of it."""

    what: str
    nodes: Sequence[NodeProto]
    wrong: tuple[Flavour, Release]
    right: tuple[Flavour, Release] | None = None
    """None where no version is right."""
    harmless: Sequence[NodeProto] = ()
    """Much the same, and taken even by the version that is wrong."""
    inputs: Mapping[str, tuple[int, Sequence[int]]] = field(
        default_factory=lambda: {'x': (FLOAT, [1, 4, 8, 8])}
    )
    constants: Mapping[str, Any] = field(default_factory=dict)
    opset: int = 18
    precision: Precision = 'fp32'


GRID = {'x': (FLOAT, [1, 4, 8, 8]), 'g': (FLOAT, [1, 8, 8, 2])}
VOLUME = {'x': (FLOAT, [1, 4, 8, 8, 8]), 'g': (FLOAT, [1, 8, 8, 8, 3])}
TOKENS = {name: (HALF, [1, 2, 16, 8]) for name in ('q', 'k', 'v')}
CODES = {'x': (UINT8, [1, 8, 8, 3])}
SCATTER: Mapping[str, Any] = {'i': np.array([[0]]), 'u': np.zeros((1, 4, 8, 8), np.float32)}
SCALE: Mapping[str, Any] = {'s': np.array(0.1, np.float32)}
QUANTISED = 'quantisation with a zero point, to uint8, or of a bias'
ATTENTION = [
    node('MatMul', ['q', 'k'], ['logits'], 'first'),
    node('Mul', ['logits', 'scale'], ['scaled']),
    node('Cast', ['scaled'], ['wide'], to=FLOAT),
    node('Softmax', ['wide'], ['weights'], 'softmax'),
    node('Cast', ['weights'], ['narrow'], to=HALF),
    node('MatMul', ['narrow', 'v'], ['y'], 'second'),
]
CLASSIFIER = [
    node('MatMul', ['q', 'weight'], ['logits']),
    node('Softmax', ['logits'], ['y']),
]
ATTENTION_CONSTANTS = {
    'scale': np.array(0.125, np.float16),
    'weight': np.zeros((8, 8), np.float16),
}

CASES = (
    Case(
        'GridSample of opset 20 and later',
        [node('GridSample', ['x', 'g'], ['y'], 'warp', mode='linear')],
        ('tensorrt', (11, 1, 9)),
        ('tensorrt', (11, 2)),
        [node('GridSample', ['x', 'g'], ['y'], mode='nearest')],
        inputs=GRID,
        opset=20,
    ),
    Case(
        'GridSample of opset 20 and later',
        [node('GridSample', ['x', 'g'], ['y'], 'warp')],
        ('tensorrt-rtx', (1, 5, 0, 114)),
        ('tensorrt-rtx', (1, 6, 1)),
        inputs=GRID,
        opset=20,
    ),
    Case(
        'GridSample of volumes',
        [node('GridSample', ['x', 'g'], ['y'], 'warp', mode='nearest')],
        ('tensorrt', (11, 2, 0)),
        ('tensorrt', (11, 2, 1)),
        inputs=VOLUME,
        opset=20,
    ),
    Case(
        'ScatterND with a stated reduction of none',
        [node('ScatterND', ['x', 'i', 'u'], ['y'], 'write', reduction='none')],
        ('tensorrt', (10, 8, 0, 43)),
        ('tensorrt', (10, 9)),
        [node('ScatterND', ['x', 'i', 'u'], ['y'])],
        constants=SCATTER,
    ),
    Case(
        'ScatterND with a reduction',
        [node('ScatterND', ['x', 'i', 'u'], ['y'], 'sum', reduction='add')],
        ('tensorrt', (11, 4, 1)),
        constants=SCATTER,
    ),
    Case(
        'ScatterElements with a reduction',
        [node('ScatterElements', ['x', 'e', 'u'], ['y'], 'sum', reduction='add')],
        ('tensorrt-rtx', (1, 7, 1, 116)),
        ('tensorrt', (10, 3)),
        [node('ScatterElements', ['x', 'e', 'u'], ['y'])],
        constants={**SCATTER, 'e': np.zeros((1, 4, 8, 8), np.int64)},
    ),
    Case(
        'an operation on uint8',
        [
            node('Transpose', ['x'], ['turned'], 'turn', perm=[0, 3, 1, 2]),
            node('Cast', ['turned'], ['y'], to=FLOAT),
        ],
        ('tensorrt-rtx', (1, 7, 1, 116)),
        None,
        [
            node('Cast', ['x'], ['codes'], to=FLOAT),
            node('Shape', ['x'], ['size']),
            node('Reshape', ['codes', 'size'], ['y']),
        ],
        inputs=CODES,
    ),
    Case(
        'an operation on uint8',
        [
            node('Cast', ['x'], ['codes'], 'back', to=UINT8),
            node('Cast', ['codes'], ['y'], to=FLOAT),
        ],
        ('tensorrt', (10, 3)),
    ),
    Case(
        'Resize with antialias, a kept aspect or a crop',
        [node('Resize', ['x', '', 'half'], ['y'], 'shrink', mode='linear', antialias=1)],
        ('tensorrt-rtx', (1, 7, 1, 116)),
        None,
        [node('Resize', ['x', '', 'half'], ['y'], mode='linear')],
        constants={'half': np.array([1, 1, 0.5, 0.5], np.float32)},
    ),
    Case(
        'an operator that TensorRT does not have',
        [node('Det', ['x'], ['y'], 'det')],
        ('tensorrt', (11, 4, 1)),
    ),
    Case(
        'the operator Attention',
        [node('Attention', ['x', 'x', 'x'], ['y'], 'attend')],
        ('tensorrt', (10, 13, 3)),
        ('tensorrt', (10, 14)),
        opset=23,
    ),
    Case(
        'attention in fp16',
        ATTENTION,
        ('tensorrt', (10, 3, 0)),
        ('tensorrt', (10, 8)),
        CLASSIFIER,
        inputs=TOKENS,
        constants=ATTENTION_CONSTANTS,
        precision='fp16',
    ),
    Case(
        'TopK of more than 3840',
        [node('TopK', ['x', 'many'], ['y', 'places'], 'sort')],
        ('tensorrt', (10, 3)),
        None,
        [node('TopK', ['x', 'some'], ['y', 'places'])],
        inputs={'x': (FLOAT, [1, 5000])},
        constants={'many': np.array([3841]), 'some': np.array([3840])},
    ),
    Case(
        QUANTISED,
        [node('QuantizeLinear', ['x', 's', 'z'], ['y'], 'quantise')],
        ('tensorrt', (10, 3)),
        None,
        [node('QuantizeLinear', ['x', 's', 'zero'], ['y'])],
        constants={**SCALE, 'z': np.array(3, np.int8), 'zero': np.array(0, np.int8)},
    ),
    Case(
        QUANTISED,
        [node('QuantizeLinear', ['x', 's', 'z'], ['y'], 'quantise')],
        ('tensorrt-rtx', (1, 7, 1, 116)),
        constants={**SCALE, 'z': np.array(0, np.uint8)},
    ),
    Case(
        QUANTISED,
        [node('QuantizeLinear', ['x', 's'], ['y'], 'quantise')],
        ('tensorrt', (10, 3)),
        constants=SCALE,
    ),
    Case(
        QUANTISED,
        [node('DequantizeLinear', ['b', 's'], ['y'], 'bias')],
        ('tensorrt', (10, 3)),
        None,
        [node('DequantizeLinear', ['w', 's'], ['y'])],
        constants={**SCALE, 'b': np.zeros(4, np.int32), 'w': np.zeros(4, np.int8)},
    ),
    Case(
        'a reduction over axes that are an input',
        [node('ReduceMean', ['x', 'axes'], ['y'], 'mean')],
        ('tensorrt', (8, 6, 1)),
        ('tensorrt', (10, 0, 1)),
        constants={'axes': np.array([1])},
    ),
    Case(
        'LayerNormalization or GroupNormalization',
        [node('LayerNormalization', ['x', 'w'], ['y'], 'norm')],
        ('tensorrt', (8, 5, 2)),
        ('tensorrt', (8, 6, 1)),
        constants={'w': np.ones(8, np.float32)},
        opset=17,
    ),
    Case(
        'GroupNormalization of opset 21 and later',
        [node('GroupNormalization', ['x', 'w', 'w'], ['y'], 'norm', num_groups=2)],
        ('tensorrt', (10, 8)),
        ('tensorrt', (10, 9)),
        constants={'w': np.ones(4, np.float32)},
        opset=21,
    ),
    Case(
        'Einsum with an ellipsis',
        [node('Einsum', ['x', 'x'], ['y'], 'product', equation='...ij,...jk->...ik')],
        ('tensorrt', (8, 6, 1)),
        ('tensorrt', (10, 3)),
        [node('Einsum', ['x', 'x'], ['y'], equation='bcij,bcjk->bcik')],
        opset=17,
    ),
)

WARNED = (
    Case(
        'attention',
        ATTENTION,
        ('tensorrt', (10, 7, 0, 23)),
        ('tensorrt', (10, 8)),
        CLASSIFIER,
        inputs=TOKENS,
        constants=ATTENTION_CONSTANTS,
    ),
    Case(
        'ReduceLogSumExp in fp16',
        [node('ReduceLogSumExp', ['x'], ['y'], 'lse')],
        ('tensorrt', (10, 9)),
        inputs={'x': (HALF, [1, 4, 8, 8])},
        precision='fp16',
    ),
)


def graph_of(case: Case, nodes: Sequence[NodeProto], folder: Path) -> OnnxGraph:
    make = helper.make_tensor_value_info
    proto = helper.make_graph(
        nodes,
        'case',
        [make(name, kind, shape) for name, (kind, shape) in case.inputs.items()],
        [make('y', FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in case.constants.items()],
    )
    model = helper.make_model(proto, opset_imports=[helper.make_opsetid('', case.opset)])
    path = folder / 'case.onnx'
    onnx.save(model, path)
    return read_graph(path)


def check(graph: OnnxGraph, version: tuple[Flavour, Release], precision: Precision) -> list[str]:
    flavour, release = version
    return check_operators(graph, flavour=flavour, release=release, precision=precision)


def names(cases: Sequence[Case]) -> list[str]:
    return [f'{case.what}-{case.wrong[0]}' for case in cases]


@pytest.mark.parametrize('case', CASES, ids=names(CASES))
def test_a_graph_is_refused_where_it_would_go_wrong(case: Case, tmp_path: Path) -> None:
    graph = graph_of(case, case.nodes, tmp_path)
    with pytest.raises(BackendError) as caught:
        check(graph, case.wrong, case.precision)
    limit = next(item for item in LIMITS if item.what == case.what)
    told = str(caught.value)
    assert limit.what in told
    assert limit.reason in told
    assert limit.remedy in told
    assert any(item.op_type in told for item in case.nodes if item.name)
    if case.right is not None:
        check(graph, case.right, case.precision)
    if case.harmless:
        check(graph_of(case, case.harmless, tmp_path), case.wrong, case.precision)


@pytest.mark.parametrize('case', WARNED, ids=names(WARNED))
def test_what_may_be_wrong_is_said_and_built(
    case: Case, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        (said,) = check(graph_of(case, case.nodes, tmp_path), case.wrong, case.precision)
    assert said.startswith(case.what)
    assert said in caplog.text
    if case.right is not None:
        assert not check(graph_of(case, case.nodes, tmp_path), case.right, case.precision)
    if case.harmless:
        assert not check(graph_of(case, case.harmless, tmp_path), case.wrong, case.precision)


def test_every_limit_has_its_case() -> None:
    assert {case.what for case in CASES} == {item.what for item in LIMITS if item.refused}
    assert {case.what for case in WARNED} == {item.what for item in LIMITS if not item.refused}


def test_attention_that_stays_in_fp32_is_not_refused_in_a_mixed_graph(tmp_path: Path) -> None:
    wide = {name: (FLOAT, [1, 2, 16, 8]) for name in ('q', 'k', 'v')}
    nodes = [
        node('MatMul', ['q', 'k'], ['logits'], 'first'),
        node('Softmax', ['logits'], ['weights'], 'softmax'),
        node('MatMul', ['weights', 'v'], ['y'], 'second'),
    ]
    case = Case('attention in fp16', nodes, ('tensorrt', (10, 3)), inputs=wide)
    proto = helper.make_graph(
        nodes,
        'wide',
        [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in wide.items()],
        [helper.make_tensor_value_info('y', FLOAT, None)],
        value_info=[helper.make_tensor_value_info('weights', FLOAT, None)],
    )
    model = helper.make_model(proto, opset_imports=[helper.make_opsetid('', 18)])
    onnx.save(model, tmp_path / 'wide.onnx')
    assert check(read_graph(tmp_path / 'wide.onnx'), case.wrong, 'fp16')  # only a warning


@pytest.mark.parametrize(
    ('flavour', 'release', 'latest'),
    [
        ('tensorrt', (8, 5, 2), 17),
        ('tensorrt', (8, 6, 1), 17),
        ('tensorrt', (10, 3, 0), 20),
        ('tensorrt', (10, 16, 2, 10), 24),
        ('tensorrt-rtx', (1, 4, 0), 24),
    ],
)
def test_an_opset_that_the_parser_does_not_know_is_refused(
    flavour: Flavour, release: Release, latest: int, tmp_path: Path
) -> None:
    relu = [node('Relu', ['x'], ['y'])]
    check(
        graph_of(Case('', relu, (flavour, release), opset=latest), relu, tmp_path),
        (flavour, release),
        'fp32',
    )
    later = graph_of(Case('', relu, (flavour, release), opset=latest + 1), relu, tmp_path)
    with pytest.raises(BackendError, match=f'opset {latest + 1}.* up to {latest}'):
        check(later, (flavour, release), 'fp32')


def test_our_shipped_graph_is_taken_by_every_version_that_knows_its_opset(
    repository: Path,
) -> None:
    graph = read_graph(repository / 'trt_engines' / 'densedepth_small.onnx')
    for flavour, steps in OPSETS.items():
        for release, opset in steps:
            if opset >= graph.opset:
                assert not check(graph, (flavour, release), 'fp32'), (flavour, release)
        assert not check(graph, (flavour, NEWEST[flavour]), 'fp32')
