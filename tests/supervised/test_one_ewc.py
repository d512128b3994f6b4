"""One EWC, unchanged, on a game and on MNIST: both domains meet in the learner."""

from pathlib import Path

import pytest
import torch
from stable_baselines3.common.logger import configure

from clrl.continual.methods import EWC
from clrl.metrics import Consolidated
from clrl.recognition.recognisers import OracleRecogniser
from clrl.rl.atari import PROTOCOLS, AtariGame
from clrl.rl.dqn import ContinualDQN
from clrl.rl.game_sequence import GameSequence, fixed_visits
from clrl.rl.policy import ContinualDQNPolicy
from clrl.supervised.data import DATASETS
from clrl.supervised.streams import Permutations

from ..fakes import parameters_of
from .original_files import MNIST_DIR, needs_mnist
from .small import stream
from .test_train import Diary, trainer_of

METHOD = EWC(strength=2.0, importance_batches=3)


@pytest.mark.parametrize(
    "dataset", ["digits", pytest.param("mnist", marks=needs_mnist)]
)
def test_the_same_ewc_trains_an_atari_agent_and_a_classifier(
    dataset: str, tmp_path: Path
) -> None:
    protocol = PROTOCOLS["nature"]
    sequence = GameSequence(
        fixed_visits(("pong", "breakout"), 1, 120),
        lambda game, num_envs: AtariGame(game, num_envs, protocol, frame_size=42),
        num_envs=2,
        seed=0,
        clip_rewards=True,
    )
    agent = ContinualDQN(
        ContinualDQNPolicy,
        sequence,
        buffer_size=200,
        learning_starts=32,
        batch_size=8,
        train_freq=8,
        policy_kwargs={"network": "small"},
        seed=0,
        device="cpu",
        method=METHOD,
        recogniser=OracleRecogniser(),
        n_stack=4,
        replay_gib=0.1,
    )
    agent.set_logger(configure(str(tmp_path), []))
    before = parameters_of(agent.q_net)
    agent.learn(sequence.total_steps, log_interval=None)  # type: ignore[arg-type]
    sequence.close()
    images = DATASETS[dataset].load(MNIST_DIR)
    made = stream(Permutations(tasks=2), images, examples_per_task=60)
    trainer, diary = trainer_of(made, METHOD), Consolidations()
    images_before = parameters_of(trainer.network)
    trainer.learn(diary)

    for network, start, left in (
        (agent.q_net, before, agent.consolidations[:1]),
        (trainer.network, images_before, diary.left_tasks[:1]),
    ):
        assert any(
            not torch.equal(a, b)
            for a, b in zip(start, parameters_of(network), strict=True)
        )
        assert [consolidated.task for consolidated in left] == [0]
        assert left[0].metrics["importance_trace"] > 0
    for method in (agent.learner.method, trainer.learner.method):
        state = method.state_dict()
        names = {name.split(".")[2] for name in state if ".0." in name}
        assert names == {"parameters", "importance"}


class Consolidations(Diary):
    """Keeps what was consolidated."""

    def __init__(self) -> None:
        super().__init__()
        self.left_tasks: list[Consolidated] = []

    def left(self, trainer: object, consolidated: Consolidated) -> None:
        self.left_tasks.append(consolidated)
