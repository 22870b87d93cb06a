# SPDX-License-Identifier: Apache-2.0
"""Which version of TensorRT has which names, and the code that handles its objects."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

TABLE = Path(__file__).resolve().parents[3] / 'data' / 'tensorrt_api.json'

MODULE, OWN = 'Module', 'TensorRt'


@dataclass(frozen=True)
class Table:
    """Which version has which names."""

    versions: Sequence[str]
    everywhere: frozenset[str]
    only: Mapping[str, frozenset[str]]

    def has(self, name: str, version: str) -> bool:
        """Whether `version` has the name."""
        return name in self.everywhere or version in self.only.get(name, ())

    def __contains__(self, name: object) -> bool:
        return name in self.everywhere or name in self.only


def read_table() -> Table:
    content = json.loads(TABLE.read_text(encoding='utf-8'))
    only = {name: frozenset(versions) for name, versions in content['only'].items()}
    return Table(content['versions'], frozenset(content['everywhere']), only)


def column(module: Any, names: Iterable[str]) -> set[str]:
    """Those of the names that a module has: how a column of the table is made."""
    found = set()
    for name in names:
        value = module
        for part in name.split('.'):
            value = getattr(value, part, None)
        if value is not None:
            found.add(name)
    return found


@dataclass
class Code:
    """The functions of the files that are walked, by what they are called."""

    files: Mapping[Path, ast.Module]
    functions: dict[str, ast.FunctionDef] = field(default_factory=dict)
    homes: dict[str, str] = field(default_factory=dict)
    """The file of each function."""
    called: set[str] = field(default_factory=set)
    """Functions that are walked where they are called; others could be called by anyone."""
    asked: set[str] = field(default_factory=set)
    """Names that `hasattr` and `getattr` ask for."""
    _held: dict[tuple[str, str], str] = field(default_factory=dict)
    classes: dict[str, ast.ClassDef] = field(default_factory=dict)
    """Our own, whose attributes may hold objects of TensorRT."""

    @classmethod
    def of(cls, sources: Mapping[Path, str]) -> Code:
        code = cls({path: ast.parse(text) for path, text in sources.items()})
        for path, tree in code.files.items():
            for node in tree.body:
                if isinstance(node, ast.FunctionDef):
                    code.functions[node.name] = node
                    code.homes[node.name] = path.name
                if isinstance(node, ast.ClassDef):
                    code.classes[node.name] = node
            calls = (node.func for node in ast.walk(tree) if isinstance(node, ast.Call))
            code.called |= {name.id for name in calls if isinstance(name, ast.Name)}
        return code

    def annotated(self, annotation: ast.expr | None) -> str:
        """The class that an annotation names, of TensorRT or our own."""
        for node in ast.walk(annotation) if annotation is not None else ():
            name = node.id if isinstance(node, ast.Name) else ''
            if name == MODULE or name in ALIASES or name in self.classes:
                return name
        return ''

    def method(self, owner: str, name: str) -> ast.FunctionDef | None:
        """A method or property of one of our classes."""
        body = self.classes[owner].body if owner in self.classes else []
        found = (item for item in body if isinstance(item, ast.FunctionDef) and item.name == name)
        return next(found, None)

    def held(self, owner: str, name: str) -> str:
        """What an attribute of one of our classes holds, by an annotation or where it is set."""
        if (owner, name) not in self._held:
            self._held[owner, name] = self._find_held(owner, name)
        return self._held[owner, name]

    def _find_held(self, owner: str, name: str) -> str:
        for function in (self.classes[owner], *self.classes[owner].body):
            arguments = function.args.args if isinstance(function, ast.FunctionDef) else []
            given = {item.arg: self.annotated(item.annotation) for item in arguments}
            for node in ast.walk(function):
                for target, value, annotation in _assigned(node):
                    attribute = target.attr if isinstance(target, ast.Attribute) else ''
                    if name not in (attribute, getattr(target, 'id', '')):
                        continue
                    kind = self.annotated(annotation) or self._made(owner, value, given)
                    if kind:
                        return kind
        return ''

    def _made(self, owner: str, value: ast.expr | None, given: Mapping[str, str]) -> str:
        """What an expression gives: an annotated argument, or the call of one of our functions."""
        if isinstance(value, ast.Name):
            return given.get(value.id, '')
        called = value.func if isinstance(value, ast.Call) else None
        if isinstance(called, ast.Name):
            return called.id if called.id in self.classes else ''
        method = self.method(owner, called.attr) if isinstance(called, ast.Attribute) else None
        return '' if method is None else self.annotated(method.returns)


Assigned: TypeAlias = tuple[ast.expr, ast.expr | None, ast.expr | None]


def _assigned(node: ast.AST) -> Iterator[Assigned]:
    """Each target of an assignment, with its value and its annotation."""
    if isinstance(node, ast.AnnAssign):
        yield node.target, node.value, node.annotation
    for target in node.targets if isinstance(node, ast.Assign) else ():
        value = node.value if isinstance(node, ast.Assign) else None
        if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
            for item, part in zip(target.elts, value.elts, strict=True):
                yield item, part, None
        else:
            yield target, value, None


def _aliases() -> frozenset[str]:
    tree = ast.parse((ENGINE / 'api.py').read_text(encoding='utf-8'))
    return frozenset(
        node.target.id
        for node in tree.body
        if isinstance(node, ast.AnnAssign)
        and isinstance(node.target, ast.Name)
        and isinstance(node.annotation, ast.Name)
        and node.annotation.id == 'TypeAlias'
    )


ENGINE = Path(__file__).resolve().parents[4] / 'depth_core' / 'runtime' / 'engine'
ALIASES = _aliases() - {MODULE}
