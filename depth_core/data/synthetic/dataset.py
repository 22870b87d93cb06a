# SPDX-License-Identifier: Apache-2.0
"""Synthetic samples by index, and synthetic drives by frame number."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

import numpy as np
import torch
from torch import Tensor

from depth_core.contracts import Intrinsics
from depth_core.data.sample import Sample
from depth_core.data.synthetic.cameras import (
    CAMERAS,
    MIXED,
    check_view,
    draw_camera,
)
from depth_core.data.synthetic.motion import Pace, camera_speed, primitive_paces
from depth_core.data.synthetic.places.layout import STREET_LENGTH_M
from depth_core.data.synthetic.places.leader import add_leader
from depth_core.data.synthetic.places.room import ROOM_KINDS, make_room
from depth_core.data.synthetic.places.street import make_street
from depth_core.data.synthetic.places.street_kinds import STREET_KINDS
from depth_core.data.synthetic.rendering.sensor import Sensor, draw_sensor
from depth_core.data.synthetic.rendering.shading import Render, render, render_averaged
from depth_core.data.synthetic.scene import Scene
from depth_core.errors import ConfigError, unknown_name
from depth_core.geometry import intrinsics_from_hfov, resize_intrinsics

SCENE_CLASSES = (*ROOM_KINDS, *STREET_KINDS)
"""Names of the scene classes; `Sample.scene_class` is an index into them."""

SCENE_SETS = {
    MIXED: SCENE_CLASSES,
    'indoor': tuple(ROOM_KINDS),
    'outdoor': tuple(STREET_KINDS),
    **{name: (name,) for name in SCENE_CLASSES},
}
"""What `scenes` may name, and the scene classes each draws from with equal probability."""

FRAME_S = 0.1
"""Time between a frame and its neighbour at offset 1: the 10 Hz of the common drives."""


@dataclass(frozen=True, kw_only=True)
class Take:
    """Everything that was drawn for one scene."""

    scene: Scene
    scene_class: int
    intrinsics: Intrinsics
    sensor: Sensor
    noise_seed: int


def _draw(
    identity: str,
    *,
    scenes: str,
    camera: str,
    height: int,
    width: int,
    leaders: float = 0.0,
    wrap: bool = False,
    hfov_deg: tuple[float, float] | None = None,
) -> Take:
    # Seeding by a string goes through SHA-512: equal on every machine and in every process.
    source = Random(identity)  # noqa: S311 - scenes are drawn, no secrets
    name = source.choice(SCENE_SETS[scenes])
    intrinsics = resize_intrinsics(draw_camera(camera, source), height=height, width=width)
    if hfov_deg is not None:
        # Drawn apart, so that the scenes are the same through any camera.
        angle_deg = Random(f'{identity}/view').uniform(*hfov_deg)  # noqa: S311 - as above
        intrinsics = intrinsics_from_hfov(angle_deg, height=height, width=width)
    scene = make_street(name, source) if name in STREET_KINDS else make_room(name, source)
    if wrap and name in STREET_KINDS:
        scene.wrap_m = STREET_LENGTH_M + 30.0
    # Drawn apart, so that scenes without a leader are the same for any share of them.
    own = Random(f'{identity}/leader')  # noqa: S311 - as above
    if name in STREET_KINDS and own.random() < leaders:
        add_leader(scene, own)
    # Cameras on cars keep the sky in mind: real drives are darker than rooms.
    sensor = draw_sensor(source, exposure=0.075 if name in STREET_KINDS else 0.12)
    return Take(
        scene=scene,
        scene_class=SCENE_CLASSES.index(name),
        intrinsics=intrinsics,
        sensor=sensor,
        noise_seed=source.getrandbits(48),
    )


def _check(scenes: str, camera: str, height: int, width: int, leaders: float) -> None:
    if scenes not in SCENE_SETS:
        raise ConfigError(unknown_name('scene', scenes, SCENE_SETS))
    if camera != MIXED and camera not in CAMERAS:
        raise ConfigError(unknown_name('camera', camera, (*CAMERAS, MIXED)))
    if height < 1 or width < 1:
        message = f'image size {height}x{width} is not positive; give pixels, at least 1.'
        raise ConfigError(message)
    if not 0.0 <= leaders <= 1.0:
        message = f'leaders={leaders} is no share; give 0 (none) to 1 (in every street).'
        raise ConfigError(message)


def _view(hfov_deg: float | Sequence[float] | None) -> tuple[float, float] | None:
    """The smallest and the largest field of view that were asked for.

    Raises:
        ConfigError: It is neither one angle nor two in order, or they are no field of view.
    """
    if hfov_deg is None:
        return None
    ends = (hfov_deg, hfov_deg) if isinstance(hfov_deg, (int, float)) else tuple(hfov_deg)
    if len(ends) != 2 or not all(isinstance(end, (int, float)) for end in ends):
        message = f'hfov_deg={hfov_deg} is neither one angle nor two; give degrees, as [60, 80].'
        raise ConfigError(message)
    view = float(ends[0]), float(ends[1])
    check_view(view)
    return view


def take_sample(
    take: Take,
    *,
    key: str,
    time_s: float,
    frame_s: float,
    step: int,
    neighbours: Sequence[int],
    device: str,
    supersampling: int = 1,
) -> Sample:
    """Render a scene at one moment, with neighbours, as a sample.

    Args:
        take: The scene, its camera and sensor.
        key: Of the sample.
        time_s: The moment.
        frame_s: Time from frame to frame.
        step: Number of the frame, which with the take gives its noise.
        neighbours: Offsets of further frames.
        device: Where to render.
        supersampling: Rays along each side of a pixel, odd.
    """
    target = torch.device(device)

    def shoot(moment_s: float) -> Render:
        return render_averaged(take.scene, take.intrinsics, moment_s, target, supersampling)

    frame = shoot(time_s)
    gain = take.sensor.meter(frame.radiance, frame.depth_m)

    def expose(item: Render, at: int) -> Tensor:
        return take.sensor.expose(
            item.radiance, gain, take.noise_seed + at, pixels_across=supersampling
        )

    others = [(shoot(time_s + offset * frame_s), step + offset) for offset in neighbours]
    speeds = [camera_speed(take.scene, time_s, time_s + offset * frame_s) for offset in neighbours]
    return Sample(
        image=expose(frame, step),
        depth_m=frame.depth_m,
        valid=_valid(frame),
        intrinsics=torch.from_numpy(take.intrinsics.matrix.astype(np.float32)).to(target),
        key=key,
        pose=_pose(frame, target),
        semantic=frame.label,
        scene_class=torch.tensor(take.scene_class, device=target),
        neighbour_images=torch.stack([expose(item, at) for item, at in others])
        if others
        else None,
        neighbour_poses=torch.stack([_pose(item, target) for item, _ in others])
        if others
        else None,
        neighbour_dt_s=torch.tensor(neighbours, device=target) * frame_s if others else None,
        speed_mps=torch.tensor(speeds, device=target) if others else None,
    )


def _valid(frame: Render) -> Tensor:
    finite = torch.isfinite(frame.depth_m)
    return finite if frame.behind_glass is None else finite & ~frame.behind_glass


def _pose(frame: Render, device: torch.device) -> Tensor:
    return torch.from_numpy(frame.pose.astype(np.float32)).to(device)


class SyntheticDataset:
    """Ray-cast rooms and streets with exact depth; a sample is a pure function of its index.

    Args:
        seed: Of all scenes; other seeds give other scenes.
        length: How many samples there are.
        height: Rows of the images, pixels.
        width: Columns of the images, pixels.
        scenes: A key of `SCENE_SETS`: `'mixed'`, `'indoor'`, `'outdoor'` or a scene class.
        camera: A key of `CAMERAS`, whose intrinsics are scaled to `height` x `width`, or
            `'mixed'` to draw one of them for every sample.
        hfov_deg: Horizontal field of view of a camera with square pixels in place of `camera`,
            degrees; two numbers draw one between them for every sample. The scenes stay those of
            the same seed and `camera`.
        neighbours: Offsets, in frames of 0.1 s, of the neighbouring frames to render too, with
            the time to them and the mean speed of the camera on the way.
        leaders: Share of the streets in which a car drives 9 to 18 m ahead as fast as the
            camera, so that it looks infinitely far to what learns from motion. Cars of ordinary
            traffic in the own lane often do so too, farther away.
        supersampling: Rays along each side of a pixel, odd, whose light and noise are averaged:
            the image is that of a sensor so many times finer, made small. With 1 a texture finer
            than the pixels flickers from frame to frame, which photometric losses cannot tell
            from a wrong depth.
        device: Where to render; the samples stay there.

    Raises:
        ConfigError: A name or a size is not known or not possible.
    """

    def __init__(
        self,
        *,
        seed: int,
        length: int,
        height: int,
        width: int,
        scenes: str = MIXED,
        camera: str = MIXED,
        hfov_deg: float | Sequence[float] | None = None,
        neighbours: Sequence[int] = (),
        leaders: float = 0.0,
        supersampling: int = 1,
        device: str = 'cpu',
    ) -> None:
        _check(scenes, camera, height, width, leaders)
        view = _view(hfov_deg)
        if length < 1:
            message = f'a synthetic dataset of length {length} has no sample; give at least 1.'
            raise ConfigError(message)
        if supersampling < 1 or supersampling % 2 == 0:
            message = (
                f'supersampling={supersampling} has no ray in the middle of a pixel; give an odd '
                'number of rays along its side, 1 or 3.'
            )
            raise ConfigError(message)
        self.seed = seed
        self.length = length
        self.height = height
        self.width = width
        self.scenes = scenes
        self.camera = camera
        if view is not None:  # absent otherwise: caches from before it are still good
            self.hfov_deg = view
        self.neighbours = tuple(neighbours)
        self.leaders = leaders
        self.supersampling = supersampling
        self.device = device

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Sample:
        """The sample at `index`; negative indices count from the end."""
        place = self._place(index)
        return take_sample(
            self._take(place),
            key=f'synthetic/{self.seed}/{place}',
            time_s=0.0,
            frame_s=FRAME_S,
            step=0,
            neighbours=self.neighbours,
            device=self.device,
            supersampling=self.supersampling,
        )

    def pace(self, index: int) -> Tensor:
        """[H, W] int64: how what sample `index` shows moves, a `Pace`; the sky stands.

        What moves with the camera looks infinitely far to a network that learns depth from motion.
        """
        take = self._take(self._place(index))
        seen = render(take.scene, take.intrinsics, 0.0, torch.device(self.device)).primitive
        # The sky has index -1, the last entry.
        table = torch.tensor([*primitive_paces(take.scene), Pace.STANDING], device=seen.device)
        return table[seen.long()]

    def _place(self, index: int) -> int:
        place = operator.index(index)
        if not -self.length <= place < self.length:
            message = f'index {place} is outside a dataset of {self.length} samples.'
            raise IndexError(message)
        return place % self.length

    def _take(self, place: int) -> Take:
        return _draw(
            f'{self.seed}/{place}',
            scenes=self.scenes,
            camera=self.camera,
            height=self.height,
            width=self.width,
            leaders=self.leaders,
            hfov_deg=getattr(self, 'hfov_deg', None),
        )


class SyntheticSequence:
    """One moving scene filmed at a steady rate: a drive along a street, a walk in a room.

    Streets repeat after about 200 m, out of sight behind the camera, and rooms are walked in a
    circle, so the film has no end. Frame `i` is a pure function of (settings, i).

    Args:
        seed: Of the scene.
        scene: A key of `SCENE_SETS`; one scene class is drawn from it.
        camera: A key of `CAMERAS`, or `'mixed'` to draw one.
        height: Rows of the images, pixels.
        width: Columns of the images, pixels.
        rate_hz: Frames per second of scene time.
        neighbours: Offsets, in frames, of the neighbouring frames to render with each, with the
            time to them and the mean speed of the camera on the way.
        leaders: Probability that a car drives ahead as fast as the camera, on a street.
        device: Where to render.

    Raises:
        ConfigError: A name, a size or the rate is not known or not possible.
    """

    def __init__(
        self,
        *,
        seed: int,
        scene: str = MIXED,
        camera: str = 'vga',
        height: int = 480,
        width: int = 640,
        rate_hz: float = 10.0,
        neighbours: Sequence[int] = (),
        leaders: float = 0.0,
        device: str = 'cpu',
    ) -> None:
        _check(scene, camera, height, width, leaders)
        if not rate_hz > 0.0:
            message = f'a frame rate of {rate_hz} Hz is not positive; give frames per second.'
            raise ConfigError(message)
        self.seed = seed
        self.rate_hz = rate_hz
        self.neighbours = tuple(neighbours)
        self.device = device
        self._take = _draw(
            f'sequence/{seed}',
            scenes=scene,
            camera=camera,
            height=height,
            width=width,
            leaders=leaders,
            wrap=True,
        )

    @property
    def intrinsics(self) -> Intrinsics:
        """The camera, the same for all frames."""
        return self._take.intrinsics

    @property
    def scene_class(self) -> str:
        """Name of the scene class that was drawn."""
        return SCENE_CLASSES[self._take.scene_class]

    @property
    def speed_mps(self) -> float:
        """Speed of the camera at the beginning, metres a second; it hardly changes."""
        return camera_speed(self._take.scene, 0.0, 0.0)

    def frame(self, index: int) -> Sample:
        """The sample of frame `index`, at `index / rate_hz` seconds of the scene."""
        return take_sample(
            self._take,
            key=f'synthetic/sequence/{self.seed}/{index}',
            time_s=index / self.rate_hz,
            frame_s=1.0 / self.rate_hz,
            step=index,
            neighbours=self.neighbours,
            device=self.device,
        )
