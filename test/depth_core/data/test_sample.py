# SPDX-License-Identifier: Apache-2.0
"""Samples as batches: what is stacked, filled up and parted."""

from __future__ import annotations

from dataclasses import replace

import torch

from depth_core.data.sample import Sample, collate


def sample(number: float) -> Sample:
    plane = torch.full((2, 4), number)
    return Sample(
        image=plane.expand(3, -1, -1),
        depth_m=plane,
        valid=torch.ones(2, 4, dtype=torch.bool),
        intrinsics=torch.eye(3),
        key=f'number/{number:g}',
        speed_mps=torch.tensor(number),
        neighbour_images=torch.full((2, 3, 2, 4), number),
    )


def test_a_field_that_one_sample_lacks_is_none() -> None:
    batch = collate([sample(1.0), replace(sample(2.0), speed_mps=None)])
    assert batch.speed_mps is None
    assert batch.domain is None
    assert batch.key == ('number/1', 'number/2')


def test_a_clean_copy_is_the_image_itself_where_colours_were_not_changed() -> None:
    """Half of the samples are jittered, say; a batch needs the clean copy of all."""
    jittered = replace(
        sample(1.0),
        clean_image=torch.zeros(3, 2, 4),
        clean_neighbour_images=torch.zeros(2, 3, 2, 4),
    )
    batch = collate([jittered, sample(2.0)])
    assert batch.clean_image is not None
    assert batch.clean_image[:, 0, 0, 0].tolist() == [0.0, 2.0]
    assert batch.clean_neighbour_images is not None
    assert batch.clean_neighbour_images[:, 1, 0, 0, 0].tolist() == [0.0, 2.0]
    assert collate([sample(1.0), sample(2.0)]).clean_image is None


def test_the_order_of_frames_is_that_of_offsets_or_else_of_times() -> None:
    def earlier(**fields: torch.Tensor) -> list[bool] | None:
        found = replace(sample(1.0), **fields).neighbours_earlier()  # type: ignore[arg-type]
        return None if found is None else found.tolist()

    unknown = torch.full((2,), torch.nan)
    assert earlier() is None
    assert earlier(neighbour_dt_s=torch.tensor([0.2, -0.1])) == [False, True]
    assert earlier(neighbour_dt_s=torch.tensor([0.2, torch.nan])) is None
    assert earlier(neighbour_dt_s=unknown, neighbour_offsets=torch.tensor([-3, 1])) == [
        True,
        False,
    ]


def test_a_batch_is_parted_and_nothing_is_lost() -> None:
    batch = collate([sample(float(number)) for number in range(6)])
    parts = batch.split(3)
    assert [part.key for part in parts] == [
        ('number/0', 'number/1'), ('number/2', 'number/3'), ('number/4', 'number/5')
    ]  # fmt: skip
    speeds = [part.speed_mps for part in parts if part.speed_mps is not None]
    assert torch.cat(speeds).tolist() == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
    assert parts[0].domain is None
    assert batch.split(1) == (batch,)
