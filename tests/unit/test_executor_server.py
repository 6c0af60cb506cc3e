"""When an executor server counts as stuck."""

from __future__ import annotations

from minispark.worker.executor_server import ANSWER_S_MAX, OpenQuestions


def test_a_server_that_leaves_a_question_open_is_stuck() -> None:
    questions = OpenQuestions()
    questions.ask("slot 0", now=10.0)
    assert questions.due == [10.0 + ANSWER_S_MAX]
    assert not questions.is_stuck(10.0 + ANSWER_S_MAX)
    assert not questions.is_stuck(10.5 + ANSWER_S_MAX)
    assert questions.is_stuck(10.0 + 2 * ANSWER_S_MAX)


def test_one_look_at_the_clock_after_a_long_stop_proves_nothing() -> None:
    questions = OpenQuestions()
    questions.ask("dead 7", now=10.0)
    assert not questions.is_stuck(1000.0)  # this worker was stopped, and its server with it
    questions.answered("dead 7")
    assert not questions.is_stuck(2000.0)
    assert questions.due == []


def test_asking_again_does_not_put_it_off() -> None:
    questions = OpenQuestions()
    questions.ask("dead 7", now=10.0)
    questions.ask("dead 7", now=10.9)
    assert questions.due == [10.0 + ANSWER_S_MAX]
