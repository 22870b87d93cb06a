# SPDX-License-Identifier: Apache-2.0
"""The tables of docs/engines.md, from the code and from what tests and benchmarks measured.

`python -m test.packaging.engine_tables` renews them; `make docs` calls it. What was measured lies
in docs/results, in the files that these commands write:

* engine_builds.json: `python -m test.engines`
* engine_precision.json: `python -m test.benchmarks.small_precisions`
* bench.json: `python -m test.benchmarks.small_models`
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from depth_core.runtime.backends import BACKENDS
from depth_core.runtime.engine.gate import LIMITS as GATE_LIMITS
from depth_core.runtime.engine.graph_checks import LIMITS

ROOT: Final = Path(__file__).resolve().parents[2]
PAGE: Final = ROOT / 'docs' / 'engines.md'
RESULTS: Final = ROOT / 'docs' / 'results'
_TABLE: Final = re.compile(r'(<!-- table: (\w+) -->\n).*?(<!-- end -->)', re.DOTALL)
_OPEN: Final = 1000
"""Numbers of versions above this mean that there is no end yet."""


def filled(page: str) -> str:
    """A page with every table made anew."""
    return _TABLE.sub(lambda found: f'{found[1]}{_content(found[2])}{found[3]}', page)


def _content(name: str) -> str:
    try:
        return TABLES[name]()
    except FileNotFoundError as error:
        return f'(Not measured yet: there is no {Path(error.filename).name}.)\n'


def results(name: str) -> Any:
    """What a command measured: the content of a file of docs/results."""
    return json.loads((RESULTS / f'{name}.json').read_text(encoding='utf-8'))


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = (head, ['---'] * len(head), *rows)
    return ''.join(f'| {" | ".join(cells)} |\n' for cells in lines)


def _backends() -> str:
    rows = (
        (
            f'`{name}`',
            entry.summary,
            ' '.join(entry.suffixes),
            ', '.join(entry.precisions),
            'yes' if entry.automatic else '',
            _code(entry.install),
        )
        for name, entry in BACKENDS.items()
    )
    return _table(('backend', 'what it is', 'files', 'precisions', 'in `auto`', 'needs'), rows)


def _code(install: str) -> str:
    """A command as code, with the words around it as they are."""
    return re.sub(r"pip install (?:'[^']+'|\S+)", lambda found: f'`{found[0]}`', install)


def _refusals() -> str:
    rows = (
        (
            limit.what,
            '; '.join(_span(flavour, *span) for flavour, span in limit.versions.items()),
            limit.reason,
            limit.remedy.replace('python -m ', ''),
            'refused' if limit.refused else 'logged',
        )
        for limit in LIMITS
    )
    return _table(('in the graph', 'versions', 'why', 'what helps', ''), rows)


def _span(flavour: str, first: tuple[int, ...], end: tuple[int, ...]) -> str:
    since = '.'.join(map(str, first)) if any(first) else ''
    until = '' if end[0] > _OPEN else '.'.join(map(str, end))
    if since and until:
        return f'{flavour} {since} up to, not with, {until}'
    if until:
        return f'{flavour} before {until}'
    return f'{flavour} from {since} on' if since else f'every {flavour}'


def _gate() -> str:
    rows = (
        (precision, *(f'{value:g}' for value in (limit.mean, limit.p999, limit.max)))
        for precision, limit in GATE_LIMITS.items()
    )
    return _table(('precision', 'mean', '99.9 % of the pixels', 'worst pixel'), rows)


def _builds() -> str:
    head = (
        'network', 'input', 'export, CPU s', 'memory, GB', 'graph, MB', 'parse, s',
        'build, s', 'plan, MB', 'int8 build, s', 'int8 plan, MB', 'what is wrong',
    )  # fmt: skip
    numbers = (
        *('export_cpu_s', 'export_peak_gb', 'graph_mb', 'parse_s'),
        *('build_s', 'plan_mb', 'int8_build_s', 'int8_plan_mb'),
    )
    rows = (
        (
            f'`{one["model"]}`',
            one['size'],
            *('-' if one.get(name) is None else f'{one[name]:g}' for name in numbers),
            '; '.join(one['unsupported']) or 'nothing',
        )
        for one in results('engine_builds')['results']
    )
    return _table(head, rows)


def _precision() -> str:
    rows = (
        (
            f'`{one["model"]}`',
            one['precision'],
            *(_spread(one['error'].get(output)) for output in ('depth', 'sigma')),
            _changes(one['abs_rel']),
            one['error']['method'],
        )
        for one in results('engine_precision')['results']
    )
    head = ('network', 'precision', 'depth', 'sigma', 'AbsRel', 'measured by')
    return _table(head, rows)


def _spread(error: Mapping[str, float] | None) -> str:
    if error is None:
        return '-'
    return ' / '.join(f'{error[name]:.1e}' for name in ('mean', 'p999', 'max'))


def _changes(sets: Mapping[str, Mapping[str, float]]) -> str:
    """How AbsRel changes on each set with ground truth."""
    texts = (
        f'{name} {found["change"]:+.2%} of {found["fp32"]:.3f}' for name, found in sets.items()
    )
    return ', '.join(texts) or '-'


def _speed() -> str:
    return _table(
        (
            'network',
            'row',
            'CPU, ms',
            'p50, ms',
            'p90, ms',
            'p99, ms',
            'frames/s',
            'MB',
            'cached start, s',
            'ratio to',
        ),
        _speed_rows(results('bench')['runs']),
    )


def _speed_rows(runs: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, ...]]:
    for run in runs:
        for row in run['results']:
            ratio = row['ratio']
            yield (
                f'`{run["network"]}`',
                row['label'],
                *(f'{row[name]:.1f}' for name in ('cpu_ms', 'p50_ms', 'p90_ms', 'p99_ms')),
                f'{row["frames_per_s"]:.1f}',
                f'{row["peak_memory_mb"]:.0f}',
                '-' if row['start_cached_s'] is None else f'{row["start_cached_s"]:.2f}',
                '-' if ratio is None else _ratio(ratio),
            )


def _ratio(ratio: Mapping[str, Any]) -> str:
    chance = f'{ratio["null_low"]:.2f} to {ratio["null_high"]:.2f}'
    return f'{ratio["reference"]}: {ratio["value"]:.3f} (chance {chance})'


def _machine() -> str:
    content = results('bench')
    found = content['machine']
    able = ', '.join(found['instruction_sets'][-2:])
    libraries = ', '.join(f'{name} {version}' for name, version in found['libraries'].items())
    loads = [run['load_1min'] for run in content['runs']]
    calls = min(row['frames'] for run in content['runs'] for row in run['results'])
    busy = (
        'The machine was not idle: compare CPU times, for those on the clock hold the turns of '
        'others.\n'
        if max(loads) > found['cpus']
        else ''
    )
    return (
        f'Measured {found["date"][:10]} on {found["processor"]} ({able}), {found["cpus"]} of '
        f'{found["cpus_of_machine"]} CPUs, {calls} calls in each row, load {min(loads):.1f} to '
        f'{max(loads):.1f}; Python {found["python"]}, {libraries}.\n{busy}'
    )


TABLES: Final[Mapping[str, Callable[[], str]]] = {
    'backends': _backends,
    'refusals': _refusals,
    'gate': _gate,
    'builds': _builds,
    'precision': _precision,
    'machine': _machine,
    'speed': _speed,
}
"""What fills the space between `<!-- table: NAME -->` and `<!-- end -->`."""


def main() -> None:
    """Renew the page."""
    PAGE.write_text(filled(PAGE.read_text(encoding='utf-8')), encoding='utf-8')


if __name__ == '__main__':
    main()
