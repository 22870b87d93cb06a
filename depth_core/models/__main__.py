# SPDX-License-Identifier: Apache-2.0
"""List the networks as docs/models.md does: `python -m depth_core.models`."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence

import torch

from depth_core.contracts import DepthKind
from depth_core.errors import run_command
from depth_core.models import FAMILIES, Family, Network, create_model

_WORDS = {DepthKind.METRIC: 'metres', DepthKind.UP_TO_SCALE: 'up to scale'}


def page() -> str:
    """Describe every family and its networks in Markdown, as they state themselves."""
    networks = (_row_of(network) for family in FAMILIES for network in family.networks)
    families = (
        _names_of(family, family.title, family.paper, family.recipe) for family in FAMILIES
    )
    sigmas = (_names_of(family, family.sigma) for family in FAMILIES)
    files = (_names_of(family, family.published) for family in FAMILIES)
    parts = (
        '## The families',
        _table(('name', 'parameters', 'depth', 'what it is'), networks),
        _table(('family', 'by its authors', 'paper', 'recipe'), families),
        '## Where sigma comes from',
        _table(('family', 'sigma'), sigmas),
        '## Published weights that are read',
        _table(('family', 'files'), files),
    )
    return '\n\n'.join(parts)


def _names_of(family: Family, *cells: str) -> tuple[str, ...]:
    names = ', '.join(f'`{name}`' for name in (family.name, *family.aliases))
    return (names, *cells)


def _row_of(network: Network) -> tuple[str, ...]:
    with torch.device('meta'):
        model = create_model(network.name)
    count = sum(parameter.numel() for parameter in model.parameters())
    kind = _WORDS.get(model.spec.kind, model.spec.kind.value)
    return f'`{network.name}`', f'{count / 1e6:.3g} M', kind, network.summary


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return '\n'.join(f'| {" | ".join(cells)} |' for cells in (head, ['---'] * len(head), *rows))


def main() -> None:
    """Write the page to the standard output."""
    sys.stdout.write(page() + '\n')


if __name__ == '__main__':
    run_command(main)
