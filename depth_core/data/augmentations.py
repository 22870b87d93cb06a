# SPDX-License-Identifier: Apache-2.0
"""The augmentations training takes by name: the published ones, and our own.

`build_augmentation` puts the transforms of a name together, with CutFlip at its place among them
when asked for. Some cut a window out of the sample; `loading_size` then gives the larger size at
which samples must be opened, so that the network sees what was asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from depth_core.data.augmentation_list import Listed, build_list
from depth_core.data.transforms import (
    CameraFaults,
    CanonicalFocal,
    CenterCrop,
    ChannelPermutation,
    ColourJitter,
    Compose,
    CutFlip,
    GammaBrightnessColour,
    HorizontalFlip,
    HueJitter,
    MaskBorder,
    RandomCrop,
    RandomRotation,
    RandomZoom,
    Transform,
)
from depth_core.errors import ConfigError, unknown_name

_LARGEST_ZOOM: Final = 2.0


@dataclass(frozen=True, kw_only=True)
class Steps:
    """The transforms of one augmentation, in two parts: CutFlip stands between them."""

    first: tuple[Transform, ...] = ()
    """Turns and crops."""
    last: tuple[Transform, ...] = ()
    """Mirroring and colours."""
    sequences: bool = False
    """True when it is made for samples with neighbouring frames, which CutFlip cannot serve."""


def none(height: int, width: int) -> Steps:
    """Change nothing."""
    del height, width
    return Steps()


def densedepth(height: int, width: int) -> Steps:
    """Permute colours (0.5 * 5/7), mirror (0.5): the released training code of DenseDepth."""
    del height, width
    return Steps(last=(ChannelPermutation(probability=0.5), HorizontalFlip()))


def mirror(height: int, width: int) -> Steps:
    """Mirror (0.5): for depth maps, which have no colours."""
    del height, width
    return Steps(last=(HorizontalFlip(),))


def jitter(height: int, width: int) -> Steps:
    """Change brightness, contrast, gamma and saturation by up to 20 %, mirror (0.5): our own."""
    del height, width
    return Steps(last=(ColourJitter(), HorizontalFlip()))


def strong_jitter(height: int, width: int) -> Steps:
    """The same by up to 40 to 80 %, for other cameras than those trained on: our own."""
    del height, width
    colours = ColourJitter(brightness=0.4, contrast=0.6, gamma=0.8, saturation=0.6)
    return Steps(last=(colours, HorizontalFlip()))


def zoom_jitter(height: int, width: int) -> Steps:
    """Show a window of 1 to 1/2 of the image, then `jitter`: many focal lengths from one camera.

    For canonical depth alone (`canonical_focal_px`): a window has the depth of its image and a
    longer focal length, which nothing in the picture tells.
    """
    zoom = RandomZoom(height=height, width=width, largest=_LARGEST_ZOOM)
    return Steps(first=(zoom,), last=jitter(height, width).last)


def faults(height: int, width: int) -> Steps:
    """Mirror (0.5); what cameras do wrong (exposure, glare, blur, noise, JPEG …): our own."""
    del height, width
    return Steps(last=(HorizontalFlip(), CameraFaults()))


def zoom_faults(height: int, width: int) -> Steps:
    """The windows of `zoom_jitter`, then `faults` at the size the network sees: our own."""
    return Steps(first=zoom_jitter(height, width).first, last=faults(height, width).last)


def zoedepth_nyu(height: int, width: int) -> Steps:
    """ZoeDepth on NYU (isl-org/ZoeDepth, data_mono).

    Turn by up to 1 degree, mirror (0.5), with probability 0.5 gamma 0.9 to 1.1, brightness 0.75
    to 1.25 and each channel 0.9 to 1.1. Its loader keeps depth in the border of NYU.
    """
    del height, width
    return _bts(degrees=1.0, brightness=0.25)


def zoedepth_kitti(height: int, width: int) -> Steps:
    """ZoeDepth on KITTI: as on NYU, but brightness 0.9 to 1.1.

    The window of 352 x 1216 it trains on is an option of the data set (`crop: kb`), so that
    depth is projected at the size of the sample.
    """
    del height, width
    return _bts(degrees=1.0, brightness=0.1)


def urcdc_nyu(height: int, width: int) -> Steps:
    """URCDC-Depth on NYU (ShuweiShao/URCDC-Depth, dataloader).

    Forget depth in the border, turn by up to 2.5 degrees, [CutFlip], mirror (0.5), with
    probability 0.5 gamma 0.9 to 1.1, brightness 0.75 to 1.25, each channel 0.9 to 1.1. Its random
    crop is as large as the image and so changes nothing. CutFlip is published at 0.5.
    """
    del height, width
    steps = _bts(degrees=2.5, brightness=0.25)
    return Steps(first=(MaskBorder(), *steps.first), last=steps.last)


def urcdc_kitti(height: int, width: int) -> Steps:
    """URCDC-Depth on KITTI.

    Turn by up to 1 degree, cut a random window of 1120 of 1216 columns, [CutFlip], mirror (0.5),
    with probability 0.5 gamma, brightness and each channel 0.9 to 1.1. Published for windows of
    352 x 1216 (`crop: kb` of the data set), cut to 352 x 1120, with CutFlip at 0.5.
    """
    steps = _bts(degrees=1.0, brightness=0.1)
    return Steps(first=(*steps.first, RandomCrop(height=height, width=width)), last=steps.last)


def cliffnet(height: int, width: int) -> Steps:
    """CLIFFNet on NYU (scott89/CLIFFNet, branch nyu_cliff_v5.5.1).

    Brightness, contrast and saturation 0.6 to 1.4 in a drawn order, the middle 456 x 608 of
    480 x 640, mirror (0.5). The authors cut at 480 x 640 and then resize to 228 x 304; here the
    sample is opened at 240 x 320 and 228 x 304 are cut: the same window and the same mean of 2 x 2
    pixels. Depth is picked, not averaged as theirs, since a mean over an edge belongs to nothing.
    """
    colours = HueJitter(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.0)
    return Steps(first=(colours, CenterCrop(height=height, width=width)), last=(HorizontalFlip(),))


def packnet(height: int, width: int) -> Steps:
    """packnet-sfm: jitter every sample (0.2, 0.2, 0.2, hue 0.05), clean copies for the losses.

    One draw for all frames of a sample. Its mirroring is no augmentation of the data: the
    depth network alone sees the mirror image and its answer is mirrored back, which belongs to
    the training step. Images come area-averaged from the data set, not by Lanczos.
    """
    del height, width
    colours = HueJitter(keep_clean=True)
    return Steps(last=(colours,), sequences=True)


def monodepth2(height: int, width: int) -> Steps:
    """monodepth2: mirror whole samples (0.5), jitter half of them (0.2, 0.2, 0.2, hue 0.1).

    Camera and poses are mirrored exactly, not under the assumption of a central camera. Losses
    are computed on clean copies.
    """
    del height, width
    colours = HueJitter(hue=0.1, probability=0.5, keep_clean=True)
    return Steps(last=(HorizontalFlip(), colours), sequences=True)


AUGMENTATIONS: Final[Mapping[str, Callable[[int, int], Steps]]] = {
    'none': none,
    'densedepth': densedepth,
    'mirror': mirror,
    'jitter': jitter,
    'strong_jitter': strong_jitter,
    'zoom_jitter': zoom_jitter,
    'faults': faults,
    'zoom_faults': zoom_faults,
    'zoedepth_nyu': zoedepth_nyu,
    'zoedepth_kitti': zoedepth_kitti,
    'urcdc_nyu': urcdc_nyu,
    'urcdc_kitti': urcdc_kitti,
    'cliffnet': cliffnet,
    'packnet': packnet,
    'monodepth2': monodepth2,
}
"""The steps of each augmentation for a network that sees (height, width)."""

ZOOMING: Final = frozenset({'zoom_jitter', 'zoom_faults'})
"""Those that change the focal length and not the depth."""

_ENLARGED: Final[Mapping[str, tuple[float, float]]] = {
    'urcdc_kitti': (1.0, 1216 / 1120),
    'cliffnet': (480 / 456, 640 / 608),
    'zoom_jitter': (1.5, 1.5),
    'zoom_faults': (1.5, 1.5),
}
"""How much taller and wider a sample is opened for those that cut a window out of it."""


def build_augmentation(
    name: str | Listed,
    *,
    height: int,
    width: int,
    cutflip_probability: float = 0.0,
    canonical_focal_px: float | None = None,
) -> Compose:
    """Return the transforms called `name`, or those of a list.

    Args:
        name: A key of `AUGMENTATIONS`, or a list (see `depth_core.data.augmentation_list`).
        height: Rows the network sees, pixels.
        width: Columns the network sees, pixels.
        cutflip_probability: Of cutting a picture at a row and changing places of the parts,
            after turns and crops, before mirroring and colours (URCDC-Depth: 0.5).
        canonical_focal_px: Focal length that depth is brought to after turns and crops, pixels;
            None leaves it in metres.

    Raises:
        ConfigError: The name is unknown, the probability is none, CutFlip is asked of an
            augmentation for sequences, the focal length is not positive, or the augmentation
            changes it and none is given; or a list has a mistake.
    """
    if not isinstance(name, str):
        if cutflip_probability != 0.0:
            message = (
                f'cutflip_probability is {cutflip_probability} beside a list of transforms; put '
                f'{{name: cutflip, probability: {cutflip_probability}}} into the list.'
            )
            raise ConfigError(message)
        return build_list(name, height=height, width=width, canonical_focal_px=canonical_focal_px)[
            0
        ]
    steps = _steps(name)(height, width)
    first = steps.first
    if canonical_focal_px is None and name in ZOOMING:
        message = (
            f'augmentation {name!r} changes the focal length of images, and canonical_focal_px is '
            'not given: metres could not be told from the picture; give it (in training '
            'data.canonical_focal_px), or another augmentation.'
        )
        raise ConfigError(message)
    if canonical_focal_px is not None:
        first = (*first, CanonicalFocal(focal_px=canonical_focal_px))
    if cutflip_probability == 0.0:
        return Compose((*first, *steps.last))
    if steps.sequences:
        message = (
            f'augmentation {name!r} is made for sequences and cutflip_probability is '
            f'{cutflip_probability}: no one camera sees a picture cut by CutFlip, so that no '
            'frame can be warped into another; set cutflip_probability to 0.'
        )
        raise ConfigError(message)
    return Compose((*first, CutFlip(probability=cutflip_probability), *steps.last))


def loading_size(name: str | Listed, *, height: int, width: int) -> tuple[int, int]:
    """(height, width) at which samples are opened for a network that sees `height` x `width`.

    Raises:
        ConfigError: The name is unknown, or a list has a mistake.
    """
    if not isinstance(name, str):
        return build_list(name, height=height, width=width)[1]
    _steps(name)
    taller, wider = _ENLARGED.get(name, (1.0, 1.0))
    return round(height * taller), round(width * wider)


def _steps(name: str) -> Callable[[int, int], Steps]:
    if name not in AUGMENTATIONS:
        raise ConfigError(unknown_name('augmentation', name, AUGMENTATIONS))
    return AUGMENTATIONS[name]


def _bts(*, degrees: float, brightness: float) -> Steps:
    """The scheme of BTS, which ZoeDepth and URCDC-Depth took over."""
    return Steps(
        first=(RandomRotation(degrees=degrees),),
        last=(HorizontalFlip(), GammaBrightnessColour(brightness=brightness)),
    )
