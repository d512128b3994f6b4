import math

import numpy as np
import pytest

from clrl.evaluation.human_scores import (
    HumanTable,
    normalised,
    normalised_matrix,
    references,
)


@pytest.mark.parametrize("table", ["nature", "57"])
def test_random_play_is_zero_and_human_play_is_one_in_every_game(
    table: HumanTable,
) -> None:
    for game, reference in references(table).items():
        assert normalised(game, reference.random, table) == 0
        assert normalised(game, reference.human, table) == 1


def test_all_57_games_are_in_both_tables() -> None:
    assert len(references("nature")) == len(references("57")) == 57


def test_the_tables_differ_where_the_sources_do() -> None:
    assert references("nature")["enduro"].human == 309.6
    assert references("57")["enduro"].human == 860.5


def test_the_57_game_table_stands_in_for_games_that_nature_has_not() -> None:
    assert references("nature")["defender"].human == 18688.9


def test_a_game_in_no_table_is_nan() -> None:
    assert math.isnan(normalised("adventure", 1.0))


def test_the_matrix_agrees_with_its_cells() -> None:
    games = ("pong", "adventure", "breakout")
    scores = np.array([[-21.0, 0.0, 1.0], [14.0, 1.0, 400.0]])
    matrix = normalised_matrix(games, scores, "nature")
    for (stage, column), value in np.ndenumerate(matrix):
        expected = normalised(games[column], float(scores[stage, column]))
        np.testing.assert_equal(value, expected)
