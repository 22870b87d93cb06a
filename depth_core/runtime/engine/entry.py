# SPDX-License-Identifier: Apache-2.0
"""The record beside a plan: what it was made of, its hash, and how far it was from its graph."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any, Final

from depth_core.errors import DepthError
from depth_core.runtime.engine.key import SCHEMA, key_of

_TYPES: Final[dict[str, tuple[type, ...]]] = {
    'key': (str,),
    'fields': (dict,),
    'sha256': (str, type(None)),
    'size': (int,),
    'parity': (dict, type(None)),
    'notes': (dict,),
    'created': (str,),
    'last_used': (str,),
}


class EntryError(Exception):
    """A record is not one, or is not that of the plan it stands beside."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What is known of one plan; without a hash when the plan was refused and is not kept."""

    key: str
    fields: Mapping[str, Any]
    """`EngineKey.fields`, of which the key is made."""
    sha256: str | None
    """Of the plan."""
    size: int
    """Of the plan, bytes."""
    parity: Mapping[str, Any] | None = None
    """`gate.GateReport`, once the engine has answered."""
    notes: Mapping[str, str] = field(default_factory=dict)
    """What tells a reader where it comes from, and no key: the file of the model, the driver."""
    created: str = ''
    """UTC, ISO 8601, as the next."""
    last_used: str = ''

    @property
    def is_refused(self) -> bool:
        """Whether the engine was built and did not answer as its graph."""
        return self.sha256 is None

    @property
    def stem(self) -> str:
        """Name of its files, without their ending."""
        return stem_of(self.key)

    def unused_for(self) -> timedelta:
        """Since it was last loaded or stored."""
        return datetime.now(timezone.utc) - _time(self.last_used)

    def to_json(self) -> str:
        """Write it as indented JSON.

        Raises:
            DepthError: A number in it is not finite, which JSON has no word for.
        """
        try:
            return json.dumps(dataclasses.asdict(self), indent=1, allow_nan=False) + '\n'
        except ValueError as error:
            message = f'the record of an engine cannot be written as JSON ({error}).'
            raise DepthError(message) from error

    @classmethod
    def from_json(cls, text: bytes, stem: str) -> Entry:
        """Read and check the record of the plan whose files are named `stem`.

        Raises:
            EntryError: It is no such record, or belongs to another plan.
        """
        try:
            content = json.loads(text)
        except ValueError as error:
            message = f'its record is not JSON ({error})'
            raise EntryError(message) from error
        if not isinstance(content, dict) or set(content) != set(_TYPES):
            message = 'its record has not the keys that this version writes'
            raise EntryError(message)
        for name, kinds in _TYPES.items():
            if not isinstance(content[name], kinds) or isinstance(content[name], bool):
                message = f'{name} in its record is a {type(content[name]).__name__}'
                raise EntryError(message)
        entry = cls(**content)
        if entry.fields.get('schema') != SCHEMA:
            message = f'its record has schema {entry.fields.get("schema")}, this version {SCHEMA}'
            raise EntryError(message)
        if key_of(content['fields']) != entry.key or entry.stem != stem:
            message = 'its record belongs to another plan (its key is not that of its fields)'
            raise EntryError(message)
        try:
            _time(entry.created)
            _time(entry.last_used)
        except ValueError as error:
            message = f'a time in its record is no time ({error})'
            raise EntryError(message) from error
        return entry


def stem_of(key: str) -> str:
    """Name of the files of a key: half of its digits, since names are read by people too."""
    return key[:32]


def now() -> str:
    """The time as records state it."""
    return datetime.now(timezone.utc).isoformat(timespec='microseconds')


def _time(text: str) -> datetime:
    time = datetime.fromisoformat(text)
    return time if time.tzinfo is not None else time.replace(tzinfo=timezone.utc)
