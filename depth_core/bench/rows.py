# SPDX-License-Identifier: Apache-2.0
"""Which rows a command line asks for, and what each is compared with."""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, get_args

from depth_core.bench.request import BenchRequest
from depth_core.errors import BackendError, ConfigError, unknown_name
from depth_core.focal_options import camera_of
from depth_core.runtime import BACKENDS, Precision
from depth_core.runtime.backends import default_chain

_TORCH: Final = 'torch'
_RAW: Final = 'raw'


@dataclass(frozen=True, kw_only=True)
class Rows:
    """What is measured."""

    requests: tuple[BenchRequest, ...]
    references: Mapping[str, str]
    """The label of each row that is compared, and that of the row it is compared with."""
    automatic: bool
    """Whether the backends were not named, so that one that does not run here is passed over."""


def choose_rows(model: Path, options: argparse.Namespace) -> Rows:
    """Read the rows out of the options of the command.

    Raises:
        BackendError: A backend is unknown.
        ConfigError: A precision or the reference is unknown, or the reference has no checkpoint.
    """
    _check_names(options)
    rows = tuple(_rows(model, options))
    others, references = _references(model, options, rows)
    return Rows(
        requests=(*rows, *others),
        references=references,
        automatic=options.backends is None,
    )


def _check_names(options: argparse.Namespace) -> None:
    for backend in options.backends or ():
        if backend not in BACKENDS:
            raise BackendError(unknown_name('backend', backend, BACKENDS))
    for precision in options.precision:
        if precision not in get_args(Precision):
            raise ConfigError(unknown_name('precision', precision, get_args(Precision)))


def _rows(model: Path, options: argparse.Namespace) -> Iterator[BenchRequest]:
    """Each combination, but for those that a backend nobody named does not know."""
    named = options.backends is not None
    for backend, precision, threads, batch in itertools.product(
        dict.fromkeys(options.backends or default_chain(model)),
        dict.fromkeys(options.precision),
        dict.fromkeys(options.threads or (None,)),
        sorted({1, options.batch}),
    ):
        if named or precision in BACKENDS[backend].precisions:
            yield BenchRequest(
                model=model,
                manifest=options.manifest,
                backend=backend,
                precision=precision,
                threads=threads,
                image_height=options.image_height,
                image_width=options.image_width,
                frames=options.frames,
                batch=batch,
                camera=camera_of(options, height=options.image_height, width=options.image_width),
                device=options.device,
                cuda_graph=options.cuda_graph,
            )


def _references(
    model: Path, options: argparse.Namespace, rows: Sequence[BenchRequest]
) -> tuple[Sequence[BenchRequest], Mapping[str, str]]:
    """Rows that are only there to be compared with, and who is compared with whom."""
    if options.reference is None:
        return [], {}
    if options.reference == _RAW:
        bare = [replace(row, loop='raw') for row in rows]
        return bare, {row.label: raw.label for row, raw in zip(rows, bare, strict=True)}
    if options.reference == _TORCH and model.suffix != '.ckpt':
        return _torch_rows(model, options, rows)
    reference = _named_row(options.reference, rows)
    return [], {row.label: reference for row in rows if row.label != reference}


def _named_row(name: str, rows: Sequence[BenchRequest]) -> str:
    """The label of the row that is meant: by its label, or by its backend where one row has it."""
    labels = [row.label for row in rows]
    if name in labels:
        return name
    of_backend = [row.label for row in rows if row.backend == name]
    if len(of_backend) != 1:
        raise ConfigError(unknown_name('reference', name, (*labels, _TORCH, _RAW)))
    return of_backend[0]


def _torch_rows(
    model: Path, options: argparse.Namespace, rows: Sequence[BenchRequest]
) -> tuple[Sequence[BenchRequest], Mapping[str, str]]:
    """One for each number of threads and of images, at the size of the graph."""
    if options.checkpoint is None:
        message = (
            f'--reference torch compares {model.name} with torch on the same weights; give the '
            'checkpoint it was exported from: --checkpoint FILE.ckpt.'
        )
        raise ConfigError(message)
    spec = rows[0].sized.manifest_of(model).input
    size = (spec.height, spec.width)
    eager: dict[str, BenchRequest] = {}
    references = {}
    for row in rows:
        request = replace(
            row,
            model=options.checkpoint,
            manifest=None,
            backend=_TORCH,
            precision='fp32',
            device=None,
            network_size=size,
        )
        eager[request.label] = request
        references[row.label] = request.label
    return list(eager.values()), references
