# SPDX-License-Identifier: Apache-2.0
"""Samples of every kind of scene there is, through cameras of any height, tilt and field of view.

`SyntheticDataset` films rooms as people photograph them and streets as cars see them; its numbers
stay comparable from version to version. This one adds what those lack: desks and shelves at arm's
length, jams, trams, bicycles, jointed people, fences, squares, parks, glass and mirrors.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Final

from depth_core.contracts import Intrinsics
from depth_core.data.sample import Sample
from depth_core.data.synthetic.cameras import check_view
from depth_core.data.synthetic.dataset import FRAME_S, SCENE_CLASSES, Take, take_sample
from depth_core.data.synthetic.places.city import CITY_KINDS, make_city
from depth_core.data.synthetic.places.near_room import NEAR_KINDS, make_near_room
from depth_core.data.synthetic.places.place import PLACE_KINDS, make_place
from depth_core.data.synthetic.places.room import ROOM_KINDS, make_room
from depth_core.data.synthetic.places.street import make_street
from depth_core.data.synthetic.rendering.sensor import draw_sensor
from depth_core.data.synthetic.scene import Scene
from depth_core.data.synthetic.things.pictures import photographs
from depth_core.errors import ConfigError, unknown_name

VARIED_CLASSES: Final = (*SCENE_CLASSES, *NEAR_KINDS, *CITY_KINDS, *PLACE_KINDS)
"""Names of the scene classes; `Sample.scene_class` is an index into them, and those it shares with
`SyntheticDataset` have the same one."""

_INDOOR: Final = (*ROOM_KINDS, *(3 * tuple(NEAR_KINDS)))
_OUTDOOR: Final = (*(3 * tuple(CITY_KINDS)), *(2 * tuple(PLACE_KINDS)), 'street_country')
VARIED_SETS: Final = {
    'varied': (),
    'near': tuple(NEAR_KINDS),
    'indoor': _INDOOR,
    'outdoor': _OUTDOOR,
    **{name: (name,) for name in VARIED_CLASSES},
}
"""What `scenes` may name, and what each draws from; `varied` draws half its samples indoors."""

_CLOSEST_M: Final = 0.12
_TRIES: Final = 4


class VariedDataset:
    """Rendered scenes of many kinds with exact depth; a sample is a pure function of its index.

    The semantic labels are Cityscapes train ids, then 19 floor, 20 walls and what is flat on
    them, 21 furniture, 22 small things. Pixels of glass and mirrors are not valid.

    Args:
        seed: Of all scenes; other seeds give other scenes.
        length: How many samples there are.
        height: Rows of the images, pixels.
        width: Columns of the images, pixels.
        start: Index of the first sample within the scenes of the seed.
        scenes: A key of `VARIED_SETS`.
        hfov_deg: Smallest and largest horizontal field of view of the cameras, degrees.
        textures: Folder of photographs that print, screens and carpets show beside drawn
            pictures.
        device: Where to render; the samples stay there.

    Raises:
        ConfigError: A name or a size is not known or not possible.
        DataError: The folder of photographs holds none.
    """

    def __init__(
        self,
        *,
        seed: int,
        length: int,
        height: int,
        width: int,
        start: int = 0,
        scenes: str = 'varied',
        hfov_deg: Sequence[float] = (45.0, 110.0),
        textures: Path | str | None = None,
        device: str = 'cpu',
    ) -> None:
        if scenes not in VARIED_SETS:
            raise ConfigError(unknown_name('scene', scenes, VARIED_SETS))
        if height < 1 or width < 1 or length < 1 or start < 0:
            message = (
                f'{length} varied samples of {height}x{width} from {start} on are not possible; '
                'give a length and sides of at least 1, and a start of at least 0.'
            )
            raise ConfigError(message)
        low, high = (float(end) for end in hfov_deg)
        check_view((low, high))
        if textures is not None:
            photographs(Path(textures))
        self.seed = seed
        self.length = length
        self.height = height
        self.width = width
        self.start = start
        self.scenes = scenes
        self.hfov_deg = (low, high)
        self.textures = None if textures is None else str(textures)
        self.device = device

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Sample:
        """The sample at `index`; negative indices count from the end."""
        place = operator.index(index)
        if not -self.length <= place < self.length:
            message = f'index {place} is outside a dataset of {self.length} samples.'
            raise IndexError(message)
        number = self.start + place % self.length
        for attempt in range(_TRIES):
            identity = f'varied/{self.seed}/{number}/{attempt}'
            sample = take_sample(
                self._take(identity),
                key=f'varied/{self.seed}/{number}',
                time_s=0.0,
                frame_s=FRAME_S,
                step=0,
                neighbours=(),
                device=self.device,
            )
            # A camera within a thing, or before nothing but sky, is drawn anew.
            blocked = float((sample.depth_m < _CLOSEST_M).float().mean())
            if blocked < 0.02 and float(sample.valid.float().mean()) > 0.25:
                break
        return sample

    def _take(self, identity: str) -> Take:
        # Seeding by a string goes through SHA-512: equal on every machine and in every process.
        source = Random(identity)  # noqa: S311 - scenes are drawn, no secrets
        chosen = VARIED_SETS[self.scenes] or (_INDOOR if source.random() < 0.5 else _OUTDOOR)
        name = source.choice(chosen)
        scene = _make(name, source)
        scene.pictures = self.textures
        outdoors = name not in ROOM_KINDS and name not in NEAR_KINDS
        sensor = draw_sensor(source, exposure=0.1 if outdoors else 0.14)
        return Take(
            scene=scene,
            scene_class=VARIED_CLASSES.index(name),
            intrinsics=self._camera(source),
            sensor=sensor,
            noise_seed=source.getrandbits(48),
        )

    def _camera(self, source: Random) -> Intrinsics:
        """Square pixels, and a principal point that is not quite in the middle."""
        angle = math.radians(source.uniform(*self.hfov_deg))
        focal = 0.5 * self.width / math.tan(0.5 * angle)
        return Intrinsics(
            fx_px=focal,
            fy_px=focal,
            cx_px=0.5 * (self.width - 1) + source.gauss(0.0, 0.01) * self.width,
            cy_px=0.5 * (self.height - 1) + source.gauss(0.0, 0.02) * self.height,
            height=self.height,
            width=self.width,
        )


def _make(name: str, source: Random) -> Scene:
    for kinds, maker in (
        (NEAR_KINDS, make_near_room),
        (CITY_KINDS, make_city),
        (PLACE_KINDS, make_place),
        (ROOM_KINDS, make_room),
    ):
        if name in kinds:
            return maker(name, source)
    return make_street(name, source)
