from clrl.history import history_of
from clrl.summary_recognition import RecognitionSummary, summarise_recognition

from .synthetic_run import GAMES, synthetic_run


def recognition(delay_steps: int) -> RecognitionSummary:
    history = history_of(synthetic_run(delay_steps=delay_steps))
    return summarise_recognition(history, GAMES)


def test_recognition_is_measured_on_the_runs_timelines() -> None:
    found = recognition(delay_steps=64)
    assert found.contexts == found.contexts_of_at_least_1_percent == 3
    assert found.delay_steps == 64
    assert 0.98 < found.ari < 1.0
    assert recognition(delay_steps=0).ari == 1
