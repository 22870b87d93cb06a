# SPDX-License-Identifier: Apache-2.0
"""Reading code as one version of TensorRT would run it, to see which of its names it touches.

The walk knows what each expression is: an object of TensorRT by the annotations with the aliases
of `engine.api` and by what methods give, and the truth of conditions as far as they are made of
`hasattr` and of the capabilities of `TensorRt`. A branch that a version never takes is not
walked, so that a name it lacks may stand there, and nowhere else.
"""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from test.depth_core.runtime.engine.tensorrt_names import MODULE, OWN, Code, Table

GIVES: Mapping[str, str] = {
    'Builder.create_network': 'INetworkDefinition',
    'Builder.create_builder_config': 'IBuilderConfig',
    'Builder.create_optimization_profile': 'IOptimizationProfile',
    'Builder.build_serialized_network': 'IHostMemory',
    'IBuilderConfig.create_timing_cache': 'ITimingCache',
    'IBuilderConfig.get_timing_cache': 'ITimingCache',
    'ICudaEngine.create_execution_context': 'IExecutionContext',
    'ICudaEngine.get_tensor_dtype': 'DataType',
    'ICudaEngine.get_tensor_mode': 'TensorIOMode',
    'ICudaEngine.get_tensor_location': 'TensorLocation',
    'ILayer.get_output': 'ITensor',
    'INetworkDefinition.get_input': 'ITensor',
    'INetworkDefinition.get_layer': 'ILayer',
    'INetworkDefinition.get_output': 'ITensor',
    'ITensor.dtype': 'DataType',
    'ITimingCache.serialize': 'IHostMemory',
    'OnnxParser.get_error': 'ParserError',
    'Runtime.deserialize_cuda_engine': 'ICudaEngine',
}
"""What methods and attributes give, where that is an object of TensorRT again."""

ENUM_MEMBERS = ('name', 'value', '__members__')
"""What every member of an enumeration has, or the enumeration itself."""

HIDING = ('attrgetter', 'methodcaller', 'vars', '__getattribute__', '__dict__')
"""Ways to a name that the walk does not follow."""


class Known(NamedTuple):
    """What is known of an expression."""

    kind: str = ''
    """The class of TensorRT that it is an object of, `type X` for the class itself, `Module`,
    `TensorRt`, `many X` for several; empty for anything else."""
    truth: bool | None = None


NOTHING = Known()


class Use(NamedTuple):
    """A name of TensorRT that is touched."""

    name: str
    """`Class.attribute`, or that of a class or function of the module."""
    where: str

    def __str__(self) -> str:
        return f'{self.where}: {self.name}'


def uses(code: Code, table: Table, version: str) -> set[Use]:
    """Every name of TensorRT that the code may touch when `version` runs it."""
    found: set[Use] = set()
    walked: set[str] = set()
    for path, tree in code.files.items():
        _Walk(
            code=code, table=table, version=version, home=path.name, found=found, walked=walked
        ).file(tree)
    return found


@dataclass(kw_only=True)
class _Walk:
    """A walk through one file."""

    code: Code
    table: Table
    version: str
    home: str
    """Name of the file."""
    found: set[Use]
    walked: set[str]
    """Functions that have been followed."""
    names: dict[str, Known] = field(default_factory=dict)

    def file(self, tree: ast.Module) -> None:
        for node in tree.body:
            if isinstance(node, ast.ClassDef):
                for item in node.body:
                    if isinstance(item, ast.FunctionDef):
                        self.function(item, own=node.name)
            elif isinstance(node, ast.FunctionDef):
                if node.name not in self.code.called:
                    self.function(node)
            else:
                self.statement(node)

    def function(self, node: ast.FunctionDef, own: str = '') -> Known:
        """Walk a function; what is known of its result."""
        before, self.names = self.names, dict(self.names)
        arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        for default in (*node.args.defaults, *node.args.kw_defaults):
            if default is not None:
                self.value(default)
        for argument in arguments:
            self.names[argument.arg] = Known(self.code.annotated(argument.annotation))
        if own:
            self.names['self'] = Known(own)
        result = self.body(node.body)
        self.names = before
        return result if isinstance(result, Known) else NOTHING

    def body(self, nodes: Sequence[ast.stmt]) -> Known | None:
        """Walk statements; what is returned, where that is certain, None when they go on."""
        for node in nodes:
            ended = self.statement(node)
            if ended is not None:
                return ended
        return None

    def statement(self, node: ast.stmt) -> Known | None:
        if isinstance(node, ast.Return):
            return NOTHING if node.value is None else self.value(node.value)
        if isinstance(node, (ast.Raise, ast.Continue, ast.Break)):
            self.children(node)
            return NOTHING
        if isinstance(node, ast.If):
            return self.branch(node)
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            self.imported(node)
            return None
        if isinstance(node, (ast.Assign, ast.AnnAssign)):
            self.assign(node)
        elif isinstance(node, ast.For):
            self.bind(node.target, Known(_element(self.value(node.iter).kind)))
            self.body(node.body)
        elif isinstance(node, ast.FunctionDef):
            self.function(node)
        elif isinstance(node, (ast.With, ast.Try, ast.While)):
            return self.block(node)
        else:
            self.children(node)
        return None

    def imported(self, node: ast.Import | ast.ImportFrom) -> None:
        """Refuse TensorRT by a statement: it is absent elsewhere, and what comes of it unseen."""
        modules = [alias.name for alias in node.names]
        for module in [node.module or ''] if isinstance(node, ast.ImportFrom) else modules:
            said = f'{self.home}:{node.lineno}: {module} is imported by a statement'
            assert module.partition('.')[0] not in ('tensorrt', 'tensorrt_rtx'), said

    def block(self, node: ast.With | ast.Try | ast.While) -> Known | None:
        if isinstance(node, ast.While):
            self.value(node.test)
        for item in node.items if isinstance(node, ast.With) else ():
            held = self.value(item.context_expr)
            if item.optional_vars is not None:
                self.bind(item.optional_vars, held)
        ended = self.body(node.body)
        for handler in node.handlers if isinstance(node, ast.Try) else ():
            self.body(handler.body)
        if isinstance(node, ast.Try):
            self.body(node.orelse)
            self.body(node.finalbody)
        return ended if isinstance(node, ast.With) else None

    def branch(self, node: ast.If) -> Known | None:
        truth = self.value(node.test).truth
        ended = [
            self.body(nodes)
            for nodes, taken in ((node.body, truth is not False), (node.orelse, truth is not True))
            if taken
        ]
        if None in ended or not ended:
            return None
        return ended[0] if len(ended) == 1 else NOTHING

    def assign(self, node: ast.Assign | ast.AnnAssign) -> None:
        if isinstance(node.value, ast.Tuple) and isinstance(node, ast.Assign):
            for target in node.targets:
                if isinstance(target, ast.Tuple):
                    for item, given in zip(target.elts, node.value.elts, strict=True):
                        self.bind(item, self.value(given))
            return
        value = NOTHING if node.value is None else self.value(node.value)
        targets = [node.target] if isinstance(node, ast.AnnAssign) else node.targets
        if isinstance(node, ast.AnnAssign) and self.code.annotated(node.annotation):
            value = Known(self.code.annotated(node.annotation), value.truth)
        for target in targets:
            self.value(target)
            self.bind(target, value)

    def bind(self, target: ast.expr, value: Known) -> None:
        if isinstance(target, ast.Name):
            self.names[target.id] = value
        elif isinstance(target, ast.Tuple):
            for item in target.elts:
                self.bind(item, NOTHING)

    def children(self, node: ast.AST) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.expr):
                self.value(child)
            elif isinstance(child, ast.stmt):
                self.statement(child)
            else:
                self.children(child)

    def value(self, node: ast.expr) -> Known:  # noqa: PLR0911  one for each kind of expression
        self.refuse_hiding(node)
        if isinstance(node, ast.Name):
            return self.names.get(node.id, NOTHING)
        if isinstance(node, ast.Constant):
            return Known(truth=bool(node.value))
        if isinstance(node, ast.Attribute):
            return self.attribute(node)
        if isinstance(node, ast.Call):
            return self.call(node)
        if isinstance(node, ast.BoolOp):
            return self.logic(node)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            truth = self.value(node.operand).truth
            return Known(truth=None if truth is None else not truth)
        if isinstance(node, ast.IfExp):
            truth = self.value(node.test).truth
            then = self.value(node.body) if truth is not False else NOTHING
            other = self.value(node.orelse) if truth is not True else NOTHING
            return then if then.kind or truth else other
        if isinstance(node, ast.NamedExpr):
            value = self.value(node.value)
            self.bind(node.target, value)
            return value
        return self.container(node)

    def refuse_hiding(self, node: ast.expr) -> None:
        """Refuse what would take a name of TensorRT past this walk."""
        name = node.id if isinstance(node, ast.Name) else getattr(node, 'attr', '')
        assert name not in HIDING, f'{self.home}:{node.lineno}: {name} hides which names are used'

    def container(self, node: ast.expr) -> Known:
        """Several objects, or one of several."""
        if isinstance(node, (ast.ListComp, ast.GeneratorExp, ast.SetComp)):
            return self.comprehension(node)
        if isinstance(node, (ast.List, ast.Tuple, ast.Set)):
            kinds = [self.value(item).kind for item in node.elts]
            kind = next(filter(None, kinds), '')
            return Known(f'many {kind}' if kind else '')
        if isinstance(node, ast.Subscript):
            self.value(node.slice)
            return Known(_element(self.value(node.value).kind))
        self.children(node)
        return NOTHING

    def comprehension(self, node: ast.ListComp | ast.GeneratorExp | ast.SetComp) -> Known:
        before, self.names = self.names, dict(self.names)
        for part in node.generators:
            self.bind(part.target, Known(_element(self.value(part.iter).kind)))
            for condition in part.ifs:
                self.value(condition)
        kind = self.value(node.elt).kind
        self.names = before
        return Known(f'many {kind}' if kind else '')

    def logic(self, node: ast.BoolOp) -> Known:
        stopper = isinstance(node.op, ast.Or)
        truths: list[bool | None] = []
        kinds: list[str] = []
        for item in node.values:
            known = self.value(item)
            truths.append(known.truth)
            kinds.append(known.kind)
            if known.truth is stopper:
                return Known(known.kind, stopper)
        kind = next(filter(None, reversed(kinds)), '')
        return Known(kind, None if None in truths else not stopper)

    def attribute(self, node: ast.Attribute) -> Known:
        kind = self.value(node.value).kind
        if node.attr == 'module' and kind in ('', OWN):
            return Known(MODULE)
        if kind in self.code.classes:
            return self.own(kind, node.attr)
        return self.touch(kind, node.attr, node.lineno)

    def own(self, kind: str, name: str) -> Known:
        """An attribute of one of our classes; a property is walked for what it is here."""
        member = self.code.method(kind, name)
        if member is None:
            return Known(self.code.held(kind, name))
        if any(
            isinstance(item, ast.Name) and item.id == 'property' for item in member.decorator_list
        ):
            inner = dataclasses.replace(self, found=set(), names={})
            return inner.function(member, own=kind)
        return Known(self.code.annotated(member.returns))

    def touch(self, kind: str, name: str, line: int) -> Known:
        """What `name` of an object of `kind` is; noted as a use."""
        if not kind or kind.startswith('many '):
            return NOTHING
        if name in ENUM_MEMBERS and kind not in ('', MODULE) and not kind.startswith('I'):
            return NOTHING
        owner = kind.removeprefix('type ')
        full = name if kind == MODULE else f'{owner}.{name}'
        self.found.add(Use(full, f'{self.home}:{line}'))
        if kind == MODULE:
            return Known(f'type {name}')
        if kind.startswith('type '):  # a member of an enumeration, or an enumeration inside
            return Known(f'type {full}' if name[:1].isupper() and not name.isupper() else owner)
        return Known(GIVES.get(full, ''))

    def call(self, node: ast.Call) -> Known:
        arguments = [self.value(item) for item in node.args]
        for keyword in node.keywords:
            self.value(keyword.value)
        function = node.func
        self.refuse_hiding(function)
        if isinstance(function, ast.Name):
            if function.id in ('hasattr', 'getattr', 'setattr'):
                return self.asked(node, arguments[0].kind)
            if function.id in self.code.functions:
                self.follow(function.id)
                return Known(self.code.annotated(self.code.functions[function.id].returns))
            return Known(arguments[0].kind if function.id in ('sorted', 'list', 'tuple') else '')
        if isinstance(function, ast.Attribute) and function.attr.endswith('required'):
            self.value(function.value)
            return Known(arguments[0].kind)
        kind = self.value(function).kind
        return Known(kind.removeprefix('type ')) if kind.startswith('type ') else Known(kind)

    def follow(self, name: str) -> None:
        """Walk a function that is called, once."""
        if name not in self.walked:
            self.walked.add(name)
            home = self.code.homes[name]
            walk = dataclasses.replace(self, home=home, names={})
            walk.function(self.code.functions[name])

    def asked(self, node: ast.Call, kind: str) -> Known:
        """`hasattr`, `getattr` and `setattr`: asking for a name is no use of it, having it is."""
        if not kind:
            return NOTHING
        name = node.args[1].value if isinstance(node.args[1], ast.Constant) else None
        said = f'{self.home}:{node.lineno}: a name of {kind} is asked for by a variable'
        assert isinstance(name, str), said
        owner = kind.removeprefix('type ')
        full = name if kind == MODULE else f'{owner}.{name}'
        assert full in self.table, f'{self.home}:{node.lineno}: no version has {full}'
        self.code.asked.add(full)
        present = self.table.has(full, self.version)
        asker = node.func.id if isinstance(node.func, ast.Name) else ''
        if asker == 'hasattr':
            return Known(truth=present)
        if asker == 'setattr' or len(node.args) < 3 or present:
            return self.touch(kind, name, node.lineno)
        return self.value(node.args[2])


def _element(kind: str) -> str:
    return kind.removeprefix('many ') if kind.startswith('many ') else ''
