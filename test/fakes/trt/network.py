# SPDX-License-Identifier: Apache-2.0
"""Networks and the ONNX parser: a network here is the ONNX model that was parsed into it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
from onnx import TensorProto

from test.fakes.trt.nouns import Dims, ILogger, PybindEnum, check_logger, complain

DTYPES = {
    TensorProto.FLOAT: 'FLOAT',
    TensorProto.DOUBLE: 'FLOAT',  # computed and given as float
    TensorProto.FLOAT16: 'HALF',
    TensorProto.INT8: 'INT8',
    TensorProto.INT32: 'INT32',
    TensorProto.INT64: 'INT64',
    TensorProto.UINT8: 'UINT8',
    TensorProto.BOOL: 'BOOL',
}
UNSUPPORTED = {'Col2Im', 'Optional', 'StringNormalizer', 'TfIdfVectorizer', 'Unique'}
"""Some of the operators that TensorRT does not know."""


class ITensor:
    api: Any

    def __init__(self, info: Any) -> None:
        self.name = info.name
        sizes = info.type.tensor_type.shape.dim
        self.shape = Dims(dim.dim_value if dim.HasField('dim_value') else -1 for dim in sizes)
        kind = DTYPES[info.type.tensor_type.elem_type]
        if kind == 'INT64' and self.api.major < 10:
            kind = 'INT32'
        self._kind = kind

    @property
    def dtype(self) -> Any:
        return self.api.DataType.__members__[self._kind]


class ILayer:
    api: Any

    def __init__(self, node: Any, inferred: dict[str, Any]) -> None:
        self._precision: Any = None
        self.name = node.name
        self.type = node.op_type
        self._outputs = [inferred[name] for name in node.output]

    @property
    def precision(self) -> Any:
        return self._precision

    @precision.setter
    def precision(self, kind: Any) -> None:
        self._precision = kind

    @property
    def num_outputs(self) -> int:
        return len(self._outputs)

    def get_output(self, index: int) -> Any:
        return self.api.ITensor(self._outputs[index])


class INetworkDefinition:
    api: Any

    def __init__(self, flags: int) -> None:
        self._flags = flags
        self.name = ''
        self.parser_flags: list[str] = []
        """Not in the bindings: what its parser was told."""
        self.model: Any = None
        """Not in the bindings: the parsed model."""
        self.layers: list[Any] = []
        """Nor this: one for each node."""

    @property
    def flags(self) -> int:
        return self._flags

    def get_flag(self, flag: PybindEnum) -> bool:
        return bool(self._flags >> int(flag) & 1)

    @property
    def num_inputs(self) -> int:
        return 0 if self.model is None else len(self.model.graph.input)

    @property
    def num_outputs(self) -> int:
        return 0 if self.model is None else len(self.model.graph.output)

    @property
    def num_layers(self) -> int:
        return len(self.layers)

    def get_input(self, index: int) -> Any:
        return self.api.ITensor(self.model.graph.input[index])

    def get_output(self, index: int) -> Any:
        return self.api.ITensor(self.model.graph.output[index])

    def get_layer(self, index: int) -> Any:
        return self.layers[index]


class ParserError:
    def __init__(
        self, description: str, node: int = -1, name: str = '', operator: str = ''
    ) -> None:
        self._description, self._node = description, node
        self._name, self._operator = name, operator

    def code(self) -> int:
        return 8

    def desc(self) -> str:
        return self._description

    def node(self) -> int:
        return self._node

    def file(self) -> str:
        return 'ModelImporter.cpp'

    def line(self) -> int:
        return 732

    def func(self) -> str:
        return 'parseGraph'

    def node_name(self) -> str:
        return self._name

    def node_operator(self) -> str:
        return self._operator


class OnnxParser:
    api: Any

    def __init__(self, network: Any, logger: ILogger) -> None:
        if network is None:
            message = '__init__(): incompatible constructor arguments.'
            raise TypeError(message)
        self._network, self._logger = network, check_logger(logger)
        self._errors: list[Any] = []

    @property
    def num_errors(self) -> int:
        return len(self._errors)

    def get_error(self, index: int) -> Any:
        return self._errors[index]

    def clear_errors(self) -> None:
        self._errors.clear()

    def set_flag(self, flag: PybindEnum) -> None:
        self._network.parser_flags.append(flag.name)

    def parse(self, model: bytes, path: str | None = None) -> bool:
        return self._parse(model, None if path is None else Path(path).parent)

    def parse_from_file(self, model: str) -> bool:
        path = Path(model)
        if not path.is_file():
            return self._refuse(self.api.ParserError(f'Failed to open file: {path}'))
        return self._parse(path.read_bytes(), path.parent)

    def _refuse(self, error: Any) -> bool:
        self._errors.append(error)
        complain(self._logger, error.desc())
        return False

    def _fault(self, model: Any) -> Any:
        """What of a graph this parser does not take; None when it takes all."""
        make = self.api.ParserError
        bytes_in = {
            item.name
            for item in model.graph.input
            if item.type.tensor_type.elem_type == TensorProto.UINT8
        }
        for item in (*model.graph.input, *model.graph.output):
            if item.type.tensor_type.elem_type not in DTYPES:
                kind = TensorProto.DataType.Name(item.type.tensor_type.elem_type)
                return make(f'Unsupported ONNX data type: {kind} of {item.name}')
        for index, node in enumerate(model.graph.node):
            if node.op_type in UNSUPPORTED or node.domain not in {'', 'ai.onnx'}:
                text = f'In node {index} with name: {node.name} and operator: {node.op_type} '
                text += f'(checkFallbackPluginImporter): No importer registered for {node.op_type}'
                return make(text, index, node.name, node.op_type)
            if bytes_in & set(node.input) and node.op_type != 'Cast':
                text = f'{node.op_type} on UINT8 is not supported: only Cast takes it.'
                return make(text, index, node.name, node.op_type)
        return None

    def _parse(self, content: bytes, folder: Path | None) -> bool:
        make = self.api.ParserError
        explicit = self.api.NetworkDefinitionCreationFlag.__members__.get('EXPLICIT_BATCH')
        if self.api.major < 10 and not self._network._flags >> int(explicit) & 1:
            text = 'This version of the ONNX parser only supports networks with explicit batch.'
            return self._refuse(make(text))
        try:
            model = onnx.load_from_string(content)
            outside = [item for item in model.graph.initializer if item.data_location == 1]
            if outside and folder is None:
                return self._refuse(make(f'Failed to import initializer: {outside[0].name}'))
            if outside:
                onnx.load_external_data_for_model(model, str(folder))
            onnx.checker.check_model(model)
        except Exception as error:  # noqa: BLE001  whatever the model is
            return self._refuse(make(f'Failed to parse the ONNX model: {error}'))
        fault = self._fault(model)
        if fault is not None:
            return self._refuse(fault)
        self._network.model = model
        graph = onnx.shape_inference.infer_shapes(model).graph
        inferred = {item.name: item for item in (*graph.value_info, *graph.output)}
        self._network.layers = [self.api.ILayer(node, inferred) for node in graph.node]
        return True
