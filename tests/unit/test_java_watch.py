"""Java is asked whether it lives, and killed when it does not say."""

from __future__ import annotations

import threading

from minispark.driver.java import JavaWatch

QUICK_S = 0.01


def test_a_java_that_does_not_answer_is_killed_once_and_asked_again() -> None:
    asked, killed, hangs = threading.Event(), threading.Event(), threading.Event()
    kills: list[int] = []

    def pulse() -> None:
        asked.set()
        if not killed.is_set():
            hangs.wait(10)  # until its Java is gone

    def kill() -> None:
        kills.append(1)
        asked.clear()
        killed.set()
        hangs.set()

    JavaWatch(pulse, kill, QUICK_S, 10 * QUICK_S).start()
    assert killed.wait(10)
    assert asked.wait(10)
    assert kills == [1]


def test_one_that_answers_is_left_alone() -> None:
    answers = threading.Semaphore(0)
    kills: list[int] = []
    JavaWatch(answers.release, lambda: kills.append(1), QUICK_S, 100.0).start()
    for _ in range(20):
        assert answers.acquire(timeout=10)
    assert kills == []
