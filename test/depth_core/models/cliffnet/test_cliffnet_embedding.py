# SPDX-License-Identifier: Apache-2.0
"""The embedding networks: their numbers, what they see, and their files."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from depth_core.errors import CheckpointError, ConfigError, ModelError
from depth_core.models.cliffnet.embedding import (
    EmbeddingTrunk,
    ReconstructionEmbedding,
    SceneEmbedding,
    frozen,
    random_trunk,
    sobel_trunk,
)
from depth_core.weights.embedding_file import (
    EMBEDDING_KINDS,
    EmbeddingKind,
    convert_embedding,
    create_embedding,
    read_embedding,
    read_trunk,
    save_embedding,
)
from test.rounding import in_float64

pytestmark = pytest.mark.numeric

Reference = Callable[[str], dict[str, Tensor]]


@pytest.fixture
def official(reference: Reference) -> dict[str, Tensor]:
    arrays = reference('cliff_heg_and_loss')
    return {key[3:]: value for key, value in arrays.items() if key.startswith('sd.')}


@torch.no_grad()
def test_embeddings_of_the_authors_network(
    reference: Reference, official: dict[str, Tensor]
) -> None:
    arrays = in_float64(reference('cliff_heg_and_loss'))
    trunk = EmbeddingTrunk()
    trunk.load_state_dict(convert_embedding(official))
    frozen(trunk.double())
    for name in ('gt', 'pred'):
        for level, found in enumerate(trunk(arrays[name]), start=1):
            # The authors' float32 sums of up to 288 products; ours are of float64.
            torch.testing.assert_close(
                found, arrays[f'embed{level}_{name}'], rtol=0.0, atol=1e-5
            )  # fmt: skip


def test_size_of_the_trunk() -> None:
    assert sum(weight.numel() for weight in EmbeddingTrunk().parameters()) == 16_464


def test_reach_is_where_a_change_of_one_pixel_is_seen() -> None:
    """Reach is found by geometry; here a pixel is really changed and the difference looked at."""
    torch.manual_seed(0)
    trunk = frozen(EmbeddingTrunk())
    depth_m = torch.rand(1, 1, 24, 32)
    before = trunk(depth_m)
    for row, column in itertools.product((0, 7, 12, 23), (0, 15, 31)):
        marked = torch.zeros(1, 1, 24, 32, dtype=torch.bool)
        marked[..., row, column] = True
        changed = trunk(torch.where(marked, 50.0, depth_m))
        for reached, old, new in zip(trunk.reach(marked), before, changed, strict=True):
            assert torch.equal(reached[0, 0], (old != new).any(dim=1)[0])


def test_receptive_fields_are_5_and_11_pixels() -> None:
    marked = torch.zeros(1, 1, 40, 40, dtype=torch.bool)
    marked[..., 20, 20] = True
    first, second = EmbeddingTrunk().reach(marked)
    assert int(first.sum()) == 5 * 5
    assert int(second.sum()) == 5 * 5  # half resolution: centres 16, 18, 20, 22, 24 +- 5


def test_a_random_trunk_is_always_the_same_and_draws_nothing() -> None:
    torch.manual_seed(3)
    drawn = torch.rand(1)
    torch.manual_seed(3)
    first, second = random_trunk(), random_trunk()
    assert torch.rand(1) == drawn
    for key, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[key])


def test_frozen_is_out_of_training() -> None:
    trunk = frozen(random_trunk())
    assert not trunk.training
    assert not any(weight.requires_grad for weight in trunk.parameters())


def test_a_scene_classifier_reads_a_depth_map_of_any_size() -> None:
    network = SceneEmbedding(5).eval()
    assert network(torch.rand(2, 1, 30, 45)).shape == (2, 5)


def test_a_decoder_gives_back_the_size_it_got() -> None:
    network = ReconstructionEmbedding().eval()
    assert network(torch.rand(2, 1, 24, 32)).shape == (2, 1, 24, 32)
    with pytest.raises(ModelError, match='multiples of 4'):
        network(torch.rand(1, 1, 24, 30))


@pytest.mark.parametrize('kind', EMBEDDING_KINDS)
def test_every_weight_learns(kind: EmbeddingKind) -> None:
    network = create_embedding(kind, classes=3)
    answer = network(torch.rand(4, 1, 16, 16))
    answer.square().mean().backward()
    for key, weight in network.named_parameters():
        assert weight.grad is not None, key
        assert weight.grad.any(), key


@pytest.mark.parametrize('channels', [(), (16, 0)])
def test_a_trunk_without_channels_is_refused(channels: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match='positive'):
        EmbeddingTrunk(channels)


def test_a_file_brings_the_same_network_back(tmp_path: Path) -> None:
    path = tmp_path / 'heg.ckpt'
    network = SceneEmbedding(2).eval()
    save_embedding(path, 'heg_s', network, classes=('kitchen', 'street'))
    file = read_embedding(path)
    assert (file.kind, file.classes, file.training) == ('heg_s', ('kitchen', 'street'), None)
    depth_m = torch.rand(1, 1, 16, 16)
    assert torch.equal(file.network(depth_m), network(depth_m))
    for found, expected in zip(read_trunk(path)(depth_m), network.trunk(depth_m), strict=True):
        assert torch.equal(found, expected)


@pytest.mark.parametrize('wrapped', [False, True])
def test_the_authors_file_is_read_by_its_own_names(
    tmp_path: Path, official: dict[str, Tensor], *, wrapped: bool
) -> None:
    path = tmp_path / 'epoch-98.pth'
    content = {f'module.{key}': value for key, value in official.items()}
    content['module.classifier.weight'] = torch.zeros(13, 64)
    torch.save({'epoch': 98, 'model_state_dict': content} if wrapped else content, path)
    trunk = read_trunk(path)
    assert torch.equal(trunk.features[0].get_parameter('weight'), official['features.0.weight'])
    assert not trunk.training


def test_what_is_no_embedding_network_is_refused_by_name(
    tmp_path: Path, official: dict[str, Tensor]
) -> None:
    other = {key: value for key, value in official.items() if 'features.0' not in key}
    with pytest.raises(CheckpointError, match=r'1 missing: features\.0\.weight'):
        convert_embedding(other)
    with pytest.raises(CheckpointError, match=r'1 surplus: encoder\.conv1'):
        convert_embedding(official | {'encoder.conv1': torch.zeros(1)})
    shape = official | {'features.0.weight': torch.zeros(16, 3, 3, 3)}
    with pytest.raises(CheckpointError, match=r'1 of another shape: features\.0\.weight'):
        convert_embedding(shape)
    path = tmp_path / 'network.pth'
    torch.save({f'layer{index}.weight': torch.zeros(1) for index in range(14)}, path)
    with pytest.raises(CheckpointError, match=r'14 surplus: .*layer9\.weight, and 4 more'):
        read_trunk(path)


def test_extras_of_tools_do_no_harm_and_broken_values_are_refused(
    tmp_path: Path, official: dict[str, Tensor]
) -> None:
    path = tmp_path / 'epoch-98.pth'
    wrapped = {f'_orig_mod.module.{key}': value.half() for key, value in official.items()}
    extras = {'epoch': 98, 'total_ops': torch.zeros(1)}
    torch.save({'model_state_dict': wrapped | extras, 'optimizer': {'state': {}}}, path)
    weight = read_trunk(path).features[0].get_parameter('weight')
    torch.testing.assert_close(weight, official['features.0.weight'], rtol=1e-3, atol=1e-4)
    broken = official['features.0.weight'].clone()
    broken[0, 0, 0, 0] = float('nan')
    torch.save(official | {'features.0.weight': broken}, path)
    with pytest.raises(CheckpointError, match=r'1 of 24 .* infinite: features\.0\.weight'):
        read_trunk(path)
    network = ReconstructionEmbedding()
    network.get_parameter('trunk.features.0.weight').data.fill_(float('inf'))
    save_embedding(path, 'heg_r', network)
    with pytest.raises(CheckpointError, match=r'infinite: trunk\.features\.0\.weight'):
        read_embedding(path)


def test_the_other_kind_is_refused(tmp_path: Path) -> None:
    path = tmp_path / 'heg.ckpt'
    save_embedding(path, 'heg_r', ReconstructionEmbedding())
    with pytest.raises(CheckpointError, match=r'heg\.ckpt holds a heg_r, and a heg_s is expected'):
        read_trunk(path, kind='heg_s')
    assert read_trunk(path, kind='heg_r').channels == (16, 32)


def test_broken_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / 'heg.ckpt'
    with pytest.raises(CheckpointError, match='does not exist'):
        read_trunk(path)
    save_embedding(path, 'heg_r', ReconstructionEmbedding())
    content = path.read_bytes()
    for broken in (b'', content[:1000], content[:-1000]):
        path.write_bytes(broken)
        with pytest.raises(CheckpointError, match=rf'\({len(broken)} bytes\) is no complete file'):
            read_trunk(path)
    torch.save([1, 2], path)
    with pytest.raises(CheckpointError, match='holds no state dict'):
        read_trunk(path)


class _Calls:
    def __reduce__(self) -> tuple[Callable[..., object], tuple[Path]]:
        return Path.touch, (Path('called'),)


def test_a_file_that_would_call_something_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({'state_dict': _Calls()}, tmp_path / 'evil.pth')
    with pytest.raises(CheckpointError, match='it calls'):
        read_trunk(tmp_path / 'evil.pth')
    assert not (tmp_path / 'called').exists()


def test_the_sobel_trunk_is_the_ordinary_trunk_with_fixed_weights() -> None:
    trunk = sobel_trunk()
    assert type(trunk) is EmbeddingTrunk
    assert trunk.state_dict().keys() == EmbeddingTrunk((4,)).state_dict().keys()
    marked = torch.zeros(1, 1, 7, 7, dtype=torch.bool)
    marked[..., 3, 3] = True
    (reached,) = trunk.reach(marked)
    assert int(reached.sum()) == 8  # all around it: no Sobel gradient is made of its own pixel
