# SPDX-License-Identifier: Apache-2.0
"""The semantic network is trained on labels, alone, and its score is the mean of the classes."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric

from depth_core.data.sample import Sample
from depth_core.errors import ConfigError, DataError, ModelError
from depth_core.models import NETWORKS, create_model
from depth_core.train.__main__ import read_settings
from depth_core.train.command_line import parse
from depth_core.train.recipes.semantic import (
    SemanticRecipe,
    SemanticScorer,
    cross_entropy,
    semantic_network,
)
from depth_core.train.semantic import main
from depth_core.train.validate import validate
from depth_core.weights.checkpoint import read_checkpoint

FOLDER = Path(__file__).resolve().parents[3] / 'config/train'
TINY_SEMANTICS = NETWORKS['semantic_resnet18'].tiny


def _batch(**fields: Any) -> Sample:
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 19, (2, 64, 64), generator=generator)
    return Sample(**{
        'image': torch.rand(2, 3, 64, 64, generator=generator),
        'depth_m': torch.ones(2, 64, 64),
        'valid': torch.ones(2, 64, 64, dtype=torch.bool),
        'intrinsics': torch.eye(3).repeat(2, 1, 1),
        'key': ('a', 'b'),
        'semantic': labels,
        **fields,
    })  # fmt: skip


# The loss


def test_cross_entropy_by_hand() -> None:
    """Two pixels of class 0 and one of class 1, with logits (1, 0), and one without label."""
    logits = torch.tensor([1.0, 0.0]).reshape(1, 2, 1, 1).expand(1, 2, 1, 4)
    labels = torch.tensor([[[0, 0, 1, 255]]])
    right, wrong = math.log(1.0 + math.exp(-1.0)), math.log(1.0 + math.exp(1.0))
    found = cross_entropy(logits, labels)
    torch.testing.assert_close(found, torch.tensor((2.0 * right + wrong) / 3.0))
    # With full balance each class counts alike.
    found = cross_entropy(logits, labels, balance=1.0)
    torch.testing.assert_close(found, torch.tensor((right + wrong) / 2.0))
    # A half: weights 1 / sqrt(2) and 1.
    found = cross_entropy(logits, labels, balance=0.5)
    weight = 1.0 / math.sqrt(2.0)
    expected = (2.0 * weight * right + wrong) / (2.0 * weight + 1.0)
    torch.testing.assert_close(found, torch.tensor(expected))


def test_smoothing_and_balance_together_are_one_mean() -> None:
    """Equal logits cost ln C, whichever classes the batch holds and however often."""
    logits = torch.zeros(1, 5, 1, 4)
    for labels in ([0, 0, 0, 1], [0, 1, 2, 3], [4, 4, 4, 255]):
        found = cross_entropy(
            logits, torch.tensor([[labels]]), balance=1.0, label_smoothing=0.5
        )  # fmt: skip
        torch.testing.assert_close(found, torch.tensor(math.log(5.0)))
    # By hand: each class counts alike, and a fifth of each pixel's certainty goes to both classes.
    logits = torch.tensor([1.0, 0.0]).reshape(1, 2, 1, 1).expand(1, 2, 1, 3)
    right, wrong = math.log(1.0 + math.exp(-1.0)), math.log(1.0 + math.exp(1.0))
    found = cross_entropy(
        logits, torch.tensor([[[0, 0, 1]]]), balance=1.0, label_smoothing=0.2
    )  # fmt: skip
    of_first, of_second = 0.9 * right + 0.1 * wrong, 0.1 * right + 0.9 * wrong
    torch.testing.assert_close(found, torch.tensor(0.5 * (of_first + of_second)))


@pytest.mark.parametrize('balance', [0.0, 0.5])
def test_cross_entropy_of_nothing_labelled_is_zero(balance: float) -> None:
    logits = torch.rand(1, 3, 2, 2, requires_grad=True)
    loss = cross_entropy(logits, torch.full((1, 2, 2), 255), balance=balance)
    loss.backward()
    assert loss.item() == 0.0
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()
    # Classes the network does not know are no labels either.
    assert cross_entropy(logits, torch.full((1, 2, 2), 18), balance=balance).item() == 0.0


def test_only_the_semantic_network_learns() -> None:
    torch.manual_seed(0)
    model = create_model('semantic_resnet18', **TINY_SEMANTICS)
    training_step = SemanticRecipe().open(model).train()
    network = semantic_network(model)
    assert network.training
    assert not model.get_submodule('encoder').training
    terms = training_step.losses(_batch(), 0)
    assert list(terms) == ['cross_entropy']
    terms['cross_entropy'].backward()
    for key, weight in model.named_parameters():
        learns = key.startswith('semantics.network.')
        assert (weight.grad is not None) == weight.requires_grad == learns, key
    assert not training_step.eval().training
    assert not network.training


# The score


def test_the_score_by_hand() -> None:
    """Class 0: 3 of 4 right; class 1: 1 of 2; class 2 does not occur but is predicted twice."""
    scorer = SemanticScorer(np.array([[3, 0, 1], [0, 0, 0], [0, 0, 0]]), images=2)
    scorer.merge(SemanticScorer(np.array([[0, 0, 0], [0, 1, 1], [0, 0, 0]]), images=3))
    score = scorer.result()
    assert score.numbers == {
        'images': 5,
        'miou': pytest.approx(0.625),
        'pixel_accuracy': pytest.approx(4.0 / 6.0),
        'iou/road': 0.75,
        'iou/sidewalk': 0.5,
    }
    assert score.costs == {'miou': pytest.approx(-0.625)}
    assert score.summary == 'mIoU 0.625 over 2 classes, pixel accuracy 0.667'


def test_nothing_labelled_is_no_score() -> None:
    score = SemanticScorer(np.zeros((3, 3), dtype=np.int64), images=5).result()
    assert not score.costs
    assert 'no held-out image has semantic labels' in score.summary


class _Samples(list[Sample]):
    """A data set of samples at hand."""


def test_a_network_that_always_says_road() -> None:
    """Beside an image without labels, which counts for nothing."""
    torch.manual_seed(0)
    model = create_model('semantic_resnet18', **TINY_SEMANTICS)
    network = semantic_network(model)
    for weight in network.network.segmentation_head.parameters():
        torch.nn.init.zeros_(weight)
    network.network.segmentation_head[0].bias.data[0] = 1.0
    labels = torch.full((64, 64), 255)
    labels[:32] = 0
    labels[32:48] = 8
    batch = _batch()
    samples = _Samples(
        Sample(
            image=batch.image[0],
            depth_m=batch.depth_m[0],
            valid=batch.valid[0],
            intrinsics=batch.intrinsics[0],
            key=key,
            semantic=own,
        )
        for key, own in (('a', labels), ('b', None))
    )
    fabric = Fabric(accelerator='cpu', devices=1)
    score = validate(SemanticRecipe(), model, samples, fabric, batch_size=2)
    assert score.numbers['images'] == 2
    assert score.numbers['iou/road'] == pytest.approx(2.0 / 3.0)
    assert score.numbers['iou/vegetation'] == 0.0
    assert score.numbers['pixel_accuracy'] == pytest.approx(2.0 / 3.0)


# The command


def test_the_command_trains_scores_and_leaves_weights_to_guide_with(tmp_path: Path) -> None:
    options = {key: value for key, value in TINY_SEMANTICS.items() if key != 'guided_strides'}
    given = [f'--model.options.{key}={value}' for key, value in options.items()]
    main([
        '--config', str(FOLDER / 'semantic_synthetic.yaml'), *given,
        '--data.height', '64', '--data.width', '64', '--data.workers', '0', '--data.cache', 'null',
        '--data.train.options.length', '4', '--data.validation.options.length', '2',
        '--trainer.max_steps', '2', '--trainer.batch_size', '2', '--schedule.warmup_steps', '1',
        '--trainer.run_dir', str(tmp_path / 'run'),
    ])  # fmt: skip
    (record,) = json.loads((tmp_path / 'run' / 'metrics.json').read_text())
    assert record['images'] == 2
    assert 0.0 <= record['miou'] <= record['pixel_accuracy'] <= 1.0
    assert (tmp_path / 'run/checkpoints/best.ckpt').is_file()
    last = tmp_path / 'run' / 'checkpoints' / 'last.ckpt'
    trained = read_checkpoint(last).state
    model = create_model('semantic_packnet', channels=(16,) * 5, blocks=(1,) * 4, features_3d=2,
                         semantic_weights=str(last), **TINY_SEMANTICS)  # fmt: skip
    for key, value in model.get_submodule('semantics').state_dict().items():
        assert torch.equal(value, trained[f'semantics.{key}']), key


def test_without_a_file_it_trains_on_synthetic_streets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # from wherever the command is called
    settings = read_settings('semantic', ['--trainer.max_steps', '7'], **main.keywords)
    shipped = parse(['--config', str(FOLDER / 'semantic_synthetic.yaml')])
    assert settings == replace(shipped, trainer=replace(shipped.trainer, max_steps=7))
    given = [f'--config={FOLDER / "semantic_paper.yaml"}']
    other = read_settings('semantic', given, **main.keywords)
    assert other == parse(['--config', str(FOLDER / 'semantic_paper.yaml')])


def test_help_is_that_of_this_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(['--help'])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert shown.startswith('usage: python -m depth_core.train.semantic ')
    assert 'depth_core.train --config' not in shown
    assert '--recipe.balance' in shown, 'the settings of the recipe it is for'
    with pytest.raises(ConfigError, match=r'See python -m depth_core.train.semantic --help'):
        main(['--trainer.max_steps', 'few'])


def test_what_cannot_be_trained_is_refused() -> None:
    with pytest.raises(ConfigError, match='semantic takes the recipe semantic'):
        main(['--config', str(FOLDER / 'densedepth_synthetic.yaml')])
    plain = create_model('selfsup_resnet18')
    assert (
        'selfsup_resnet18 has none; take semantic_packnet' in SemanticRecipe().problems(plain)[0]
    )
    with pytest.raises(ModelError, match='selfsup_resnet18 has no semantic network'):
        semantic_network(plain)
    problems = SemanticRecipe(balance=2.0).problems(
        create_model('semantic_resnet18', **TINY_SEMANTICS)
    )
    assert problems == ['recipe.balance is 2.0; give a share in [0, 1].']
    training_step = SemanticRecipe().open(create_model('semantic_resnet18', **TINY_SEMANTICS))
    with pytest.raises(DataError, match='sample a has no semantic labels'):
        training_step.losses(_batch(semantic=None), 0)
