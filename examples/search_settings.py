# SPDX-License-Identifier: Apache-2.0
"""Which learning rate and weight decay train best? Optuna tries, each time a short run.

pip install 'optuna>=4,<6'
python examples/search_settings.py config/train/densedepth_synthetic.yaml runs/search 20 \
    --trainer.max_steps 200 --data.workers 1

The numbers are of trials; what stands behind them goes to every run, as on the command line of
depth_core.train. Each trial is a folder of runs/search with its checkpoint and curves
(tensorboard --logdir runs/search). The study is runs/search/study.db: the same command goes on
with it, and several processes may work at it at the same time.
"""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path

import optuna

from depth_core.errors import DepthError, run_command
from depth_core.train.command_line import parse
from depth_core.train.loop import train


def main() -> None:
    """Search, and print the best settings with the command that trains with them."""
    config, folder, trials, *given = sys.argv[1:]
    runs = Path(folder)
    runs.mkdir(parents=True, exist_ok=True)
    logging.basicConfig(level=logging.WARNING)

    def objective(trial: optuna.Trial) -> float:
        """Train once; the smallest AbsRel of its validations."""
        chosen = {
            'optimizer.lr': trial.suggest_float('optimizer.lr', 1e-5, 1e-2, log=True),
            'optimizer.weight_decay': trial.suggest_float('optimizer.weight_decay', 0.0, 0.1),
        }
        words = [word for name, value in chosen.items() for word in (f'--{name}', str(value))]
        run = runs / f'trial_{trial.number:03d}'
        try:
            train(parse(['--config', config, *given, *words, '--trainer.run_dir', str(run)]))
        except DepthError as error:
            if 'the loss is' not in str(error):
                raise
            raise optuna.TrialPruned(str(error)) from error  # it grew beyond all bounds
        validations = json.loads((run / 'metrics.json').read_text(encoding='utf-8'))
        return min(float(validation['abs_rel']) for validation in validations)

    study = optuna.create_study(
        study_name='depth',
        storage=f'sqlite:///{runs / "study.db"}',
        load_if_exists=True,
        sampler=optuna.samplers.TPESampler(seed=0),
    )
    study.optimize(objective, n_trials=int(trials))
    found = ' '.join(f'--{name} {value:.3g}' for name, value in study.best_params.items())
    print(f'AbsRel {study.best_value:.4f} after {len(study.trials)} trials')
    print(f'python -m depth_core.train --config {config} {found}')


if __name__ == '__main__':
    run_command(main)
