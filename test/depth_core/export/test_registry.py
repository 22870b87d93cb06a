# SPDX-License-Identifier: Apache-2.0
"""Every network of the registry as a graph, in its small form; test/engines.py has the others.

That a graph answers as its network is proven by each export, or there would be none, and by
test_contract.py on an image of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnx
import pytest

from depth_core.errors import BackendError
from depth_core.export.constants import BROADCASTS
from depth_core.manifest import read_manifest
from depth_core.models import list_models
from depth_core.runtime.engine.api import TensorRt, load_tensorrt
from depth_core.runtime.engine.build import build_plan
from depth_core.runtime.engine.graph_checks import check_operators
from depth_core.runtime.engine.options import EngineOptions, Flavour
from depth_core.runtime.onnx_reader import read_graph
from test.exports import SMALL, Exports

TARGET = '8.6'

SUPPORTED: Sequence[tuple[Flavour, tuple[int, ...]]] = (
    ('tensorrt', (10, 3, 0)),  # JetPack 6.1 and 6.2
    ('tensorrt', (10, 13, 3)),
    ('tensorrt', (10, 16, 2)),  # JetPack 7.2
    ('tensorrt', (11, 4, 1)),
    ('tensorrt-rtx', (1, 5, 0)),
    ('tensorrt-rtx', (1, 7, 1)),
)


@pytest.fixture(scope='module')
def rtx() -> TensorRt:
    """The real parser and builder, which need no GPU."""
    try:
        return load_tensorrt('tensorrt-rtx')
    except BackendError as error:
        pytest.skip(f'TensorRT for RTX is a wheel for Linux on x86-64 only: {error}')


def parse(rtx: TensorRt, path: Path) -> Any:
    """Parse a graph; the network, which holds the parser too."""
    rtx.clear_errors()
    builder = rtx.module.Builder(rtx.logger)
    network = builder.create_network(rtx.network_flags())
    parser = rtx.module.OnnxParser(network, rtx.logger)
    parsed = parser.parse_from_file(str(path))
    errors = [parser.get_error(number).desc() for number in range(parser.num_errors)]
    assert (parsed, errors) == (True, [])
    return network


@pytest.mark.numeric
@pytest.mark.parametrize('name', list_models())
def test_it_was_proven_to_answer_as_its_network(name: str, exports: Exports) -> None:
    manifest = read_manifest(exports(name))
    assert manifest.name == name
    assert manifest.parity is not None
    assert manifest.parity.depth_max_rel <= manifest.parity.tolerance == 1e-3
    assert manifest.parity.sigma_max_rel <= manifest.parity.tolerance
    # Where the batch is free: of three images together and of single ones.
    assert manifest.input.batch == (0 if name in SMALL else 1)


@pytest.mark.parametrize('name', list_models())
def test_tensorrt_parses_it(name: str, exports: Exports, rtx: TensorRt) -> None:
    path = exports(name)
    network = parse(rtx, path)
    image = network.get_input(0)
    assert (network.num_inputs, image.name) == (1, 'image')
    given = read_manifest(path).input
    assert list(image.shape) == [given.batch or -1, given.height, given.width, 3]
    assert image.dtype == rtx.module.DataType.UINT8
    outputs = [network.get_output(number) for number in range(network.num_outputs)]
    assert [output.name for output in outputs] == ['depth', 'sigma']
    assert {output.dtype for output in outputs} == {rtx.module.DataType.FLOAT}


@pytest.mark.parametrize('name', SMALL)
def test_tensorrt_builds_the_light_ones(name: str, exports: Exports, rtx: TensorRt) -> None:
    path = exports(name)
    plan = build_plan(
        rtx,
        path,
        read_manifest(path),
        precision='fp32',
        options=EngineOptions(),
        targets=[TARGET],
    )
    assert len(plan) > 100_000


@pytest.mark.parametrize('name', list_models())
def test_no_supported_version_refuses_it(name: str, exports: Exports) -> None:
    graph = read_graph(exports(name))
    for flavour, release in SUPPORTED:
        check_operators(graph, flavour=flavour, release=release, precision='fp32')


@pytest.mark.parametrize('name', list_models())
def test_nothing_is_left_that_could_have_been_computed(name: str, exports: Exports) -> None:
    graph = onnx.load(exports(name)).graph
    constant = {item.name for item in graph.initializer}
    left = [
        node.op_type
        for node in graph.node
        if set(node.input) <= constant | {''} and node.op_type not in BROADCASTS
    ]
    assert left == []
    assert 'GatherND' not in {node.op_type for node in graph.node}
