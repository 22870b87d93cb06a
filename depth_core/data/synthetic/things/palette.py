# SPDX-License-Identifier: Apache-2.0
"""Materials drawn at random within what streets and rooms are made of."""

from __future__ import annotations

from random import Random

from depth_core.data.synthetic.scene import Colour, Material


def vary(source: Random, colour: Colour, brightness: float = 0.25, tint: float = 0.08) -> Colour:
    """Return a colour near `colour`, within a relative brightness and tint."""
    gain = 1.0 + source.uniform(-brightness, brightness)
    red, green, blue = (
        min(max(value * gain * (1.0 + source.uniform(-tint, tint)), 0.004), 0.95)
        for value in colour
    )
    return red, green, blue


def mix(first: Colour, second: Colour, share: float) -> Colour:
    """Return the colour that is `share` of the way from the first to the second."""
    red, green, blue = (a + share * (b - a) for a, b in zip(first, second, strict=True))
    return red, green, blue


def any_colour(source: Random, low: float = 0.02, high: float = 0.7) -> Colour:
    """Return a colour of any hue: mostly muted, sometimes vivid."""
    base = source.uniform(low, high)
    spread = source.choice((0.08, 0.15, 0.3, 0.8))
    red, green, blue = (
        min(max(base * (1.0 + source.uniform(-spread, spread)), 0.01), 0.95) for _ in range(3)
    )
    return red, green, blue


def plain(source: Random, colour: Colour, *, gloss: float = 0.0, noise: float = 0.06) -> Material:
    """Paint, plaster, metal: one colour with stains."""
    grain = source.choice((0.006, 0.012, 0.03))
    return Material(colour=vary(source, colour), noise=noise, grain_m=(grain, grain), gloss=gloss)


def bricks(source: Random) -> Material:
    """Courses of brick, half of them of a painted or grey kind."""
    red = vary(source, (0.30, 0.12, 0.08), 0.4)
    face = source.choice((red, red, vary(source, (0.45, 0.38, 0.28)), any_colour(source)))
    size = source.choice((1.0, 1.0, 2.0))
    return Material(
        colour=vary(source, (0.38, 0.36, 0.33), 0.3),
        cell=face,
        cell_m=(0.25 * size, 0.08 * size),
        joint=(0.07, 0.16),
        stagger=0.5,
        variation=source.uniform(0.1, 0.45),
        tint=0.03,
        noise=0.12,
    )


def facade(source: Random) -> Material:
    """A wall with rows of windows."""
    wall = source.choice(
        ((0.55, 0.50, 0.42), (0.60, 0.58, 0.55), (0.36, 0.20, 0.15), (0.30, 0.30, 0.31))
    )
    width, height = source.uniform(1.6, 4.0), source.uniform(2.6, 3.6)
    return Material(
        colour=vary(source, wall, 0.4, 0.15),
        cell=vary(source, source.choice(((0.05, 0.06, 0.08), (0.12, 0.15, 0.19))), 0.5),
        cell_m=(width, height),
        joint=(source.uniform(0.25, 0.7), source.uniform(0.35, 0.65)),
        variation=0.7,
        tint=0.03,
        noise=source.uniform(0.05, 0.18),
        grain_m=(0.05, source.choice((0.05, 0.12))),
        gloss=0.15,
    )


def house_wall(source: Random) -> Material:
    """Whatever the outside of a house is made of."""
    pick = source.random()
    if pick < 0.62:
        return facade(source)
    if pick < 0.8:
        return bricks(source)
    return plain(source, any_colour(source, 0.2, 0.6), noise=0.15)


def roof(source: Random) -> Material:
    """Clay tiles, slate or gravel."""
    return Material(
        colour=vary(source, (0.06, 0.05, 0.05)),
        cell=vary(source, source.choice(((0.28, 0.12, 0.08), (0.12, 0.12, 0.13))), 0.4),
        cell_m=(0.3, 0.35),
        joint=(0.12, 0.2),
        stagger=0.5,
        variation=0.3,
    )


def leaves(source: Random) -> Material:
    """Foliage: green, sometimes yellowing or dark."""
    colour = source.choice(
        ((0.07, 0.13, 0.03), (0.10, 0.16, 0.035), (0.05, 0.09, 0.03), (0.20, 0.19, 0.04))
    )
    return Material(
        colour=vary(source, colour, 0.4, 0.15),
        cell=vary(source, mix(colour, (0.25, 0.25, 0.08), 0.2), 0.4, 0.2),
        cell_m=(0.13, 0.11),
        joint=(0.6, 0.65),
        stagger=0.37,
        variation=0.8,
        tint=0.02,
        noise=source.uniform(0.4, 0.8),
        grain_m=(0.06, 0.06),
    )


def grass(source: Random) -> Material:
    """A lawn, from lush to dry, with fallen leaves."""
    colour = source.choice(((0.10, 0.15, 0.04), (0.17, 0.18, 0.06), (0.26, 0.23, 0.12)))
    return Material(
        colour=vary(source, colour, 0.35, 0.15),
        cell=vary(source, mix(colour, (0.3, 0.2, 0.08), 0.4), 0.3),
        cell_m=(0.3, 0.4),
        joint=(0.7, 0.75),
        stagger=0.41,
        variation=0.4,
        noise=source.uniform(0.2, 0.5),
        grain_m=(0.03, 0.03),
    )


def asphalt(source: Random) -> Material:
    """A road surface, with the seams of repairs."""
    grey = source.uniform(0.06, 0.22)
    colour = vary(source, (grey, grey, grey * 1.03), 0.1, 0.05)
    return Material(
        colour=mix(colour, (0.03, 0.03, 0.03), 0.5),
        cell=colour,
        cell_m=(source.uniform(2.5, 8.0), source.uniform(4.0, 30.0)),
        joint=(0.01, 0.004),
        stagger=source.random(),
        variation=source.choice((0.0, 0.04, 0.12)),
        noise=source.uniform(0.08, 0.25),
        grain_m=(0.02, source.choice((0.02, 0.08))),
        gloss=source.choice((0.0, 0.1, 0.25)),
    )


def paving(source: Random) -> Material:
    """Slabs or cobbles."""
    size = source.choice((0.12, 0.3, 0.5, 1.0))
    grey = source.uniform(0.15, 0.42)
    return Material(
        colour=(grey * 0.55, grey * 0.53, grey * 0.5),
        cell=vary(source, (grey, grey * 0.97, grey * 0.92)),
        cell_m=(size, size * source.uniform(0.6, 1.6)),
        joint=(0.09, 0.09),
        stagger=source.choice((0.0, 0.5)),
        variation=source.uniform(0.05, 0.3),
        noise=0.12,
    )


def bark(source: Random) -> Material:
    """The trunk of a tree; plane trees are pale."""
    colour = source.choice(((0.10, 0.08, 0.06), (0.22, 0.19, 0.15), (0.32, 0.30, 0.24)))
    return Material(colour=vary(source, colour), noise=0.35, grain_m=(0.02, 0.09))


def car_paint(source: Random) -> Material:
    """What cars are painted with: mostly greys, black and white, then blue and red."""
    colour = source.choice(
        (
            (0.02, 0.02, 0.02),
            (0.12, 0.12, 0.13),
            (0.35, 0.36, 0.37),
            (0.75, 0.75, 0.74),
            (0.03, 0.05, 0.16),
            (0.30, 0.03, 0.03),
            any_colour(source),
        )
    )
    return plain(source, colour, gloss=0.5, noise=0.04)


def wood(source: Random) -> Material:
    """Boards with a grain."""
    colour = source.choice(((0.30, 0.17, 0.08), (0.14, 0.07, 0.04), (0.50, 0.36, 0.20)))
    colour = vary(source, colour, 0.3, 0.12)
    return Material(
        colour=mix(colour, (0.03, 0.02, 0.01), 0.6),
        cell=colour,
        cell_m=(source.uniform(0.6, 2.0), source.choice((0.09, 0.14, 0.4))),
        joint=(0.004, 0.04),
        stagger=0.37,
        variation=source.uniform(0.05, 0.3),
        noise=source.uniform(0.1, 0.25),
        grain_m=(0.08, 0.005),
        gloss=source.choice((0.0, 0.15, 0.3)),
    )


def tiles(source: Random) -> Material:
    """Floor or wall tiles; a checkerboard now and then."""
    size = source.choice((0.1, 0.2, 0.3, 0.45))
    colour = vary(source, (0.55, 0.53, 0.5), 0.5, 0.15)
    return Material(
        colour=mix(colour, (0.12, 0.12, 0.12), 0.7),
        cell=colour,
        cell_m=(size, size),
        joint=(0.04, 0.04),
        variation=source.choice((0.03, 0.15, 0.6)),
        noise=0.05,
        gloss=0.2,
    )


def cloth(source: Random) -> Material:
    """Carpet, upholstery, curtains: plain, woven or striped."""
    pick = source.random()
    first, second = any_colour(source, 0.05, 0.6), any_colour(source, 0.05, 0.6)
    grain = (0.006, 0.006)
    if pick < 0.45:
        return Material(colour=first, noise=source.uniform(0.08, 0.2), grain_m=grain)
    period = source.uniform(0.05, 0.4)
    return Material(
        colour=first,
        cell=second,
        cell_m=(period, source.choice((period, 40.0))),
        joint=(source.uniform(0.2, 0.6), source.choice((0.0, 0.4))),
        stagger=source.choice((0.0, 0.5)),
        tint=source.choice((0.0, 0.1)),
        noise=0.12,
        grain_m=grain,
    )


def picture(source: Random) -> Material:
    """A poster, a painting, a screen, the labels on a shop: patches of any colour."""
    size = source.uniform(0.04, 0.25)
    return Material(
        colour=any_colour(source, 0.1, 0.7),
        cell=any_colour(source, 0.1, 0.6),
        cell_m=(size, size * source.uniform(0.4, 2.0)),
        joint=(source.uniform(0.0, 0.4), source.uniform(0.0, 0.4)),
        stagger=source.random(),
        variation=0.5,
        tint=source.choice((0.04, 0.1, 0.3)),
        noise=source.choice((0.1, 0.4)),
        grain_m=(0.012, 0.012),
    )


def books(source: Random) -> Material:
    """A row of spines on every shelf."""
    return Material(
        colour=vary(source, (0.05, 0.04, 0.03)),
        cell=(0.3, 0.27, 0.24),
        cell_m=(source.uniform(0.025, 0.06), source.uniform(0.28, 0.4)),
        joint=(0.08, 0.2),
        variation=0.6,
        tint=0.22,
        noise=0.05,
    )


def vivid(source: Random) -> Colour:
    """Return a saturated colour, as on tarpaulins, doors and plastic."""
    hue = source.randrange(6)
    strong, weak = source.uniform(0.3, 0.7), source.uniform(0.01, 0.08)
    between = source.uniform(weak, strong)
    order = ((0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0))[hue]
    values = (strong, between, weak)
    return values[order[0]], values[order[1]], values[order[2]]


def poster(source: Random, width_m: float, height_m: float) -> Material:
    """Print: a picture of `width_m` by `height_m` that covers the face again and again."""
    return Material(
        colour=(1.0, 1.0, 1.0),
        cell=(1.0, 1.0, 1.0),
        cell_m=(width_m, height_m),
        joint=(0.0, 0.0),
        noise=0.04,
        gloss=source.choice((0.0, 0.2)),
        picture=source.getrandbits(24),
    )
