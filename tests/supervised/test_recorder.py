from clrl.supervised.recorder import stage_in_words


def test_a_visit_is_summed_up_over_the_tasks_that_were_met() -> None:
    scores = {"a": 0.5, "b": 0.9, "c": 0.1}
    assert stage_in_words({"score": scores}, []) == (
        "untrained: accuracy 0.500 over 3 tasks"
    )
    assert stage_in_words({"score": scores}, ["b"]) == (
        "after visit 1, b: accuracy 0.900 on it"
    )
    visited = ["a", "b", "a"]
    again = {"a": 0.8, "b": 0.9}  # c has not been met and has no label
    assert stage_in_words({"score": scores, "score_true_label": again}, visited) == (
        "after visit 3, a: accuracy 0.500 on it, 0.700, 0.850 under true label over "
        "the 2 tasks met"
    )
