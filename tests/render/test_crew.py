from __future__ import annotations

import os
import time

import pytest

from obd.errors import Cancelled, ObdError
from obd.render import backend, crew
from obd.render.crew import Crew, Job, Order, first_picture, play, shoot_part
from obd.render.trajectory import record
from obd.render.video import Panel


@pytest.fixture
def workers(no_gl, monkeypatch):
    monkeypatch.setattr(backend, "_found", {})
    with Crew(2) as opened:
        yield opened


# Jobs of the tests: workers import this module, so they are found there too.


def die(tell):
    os._exit(3)


def wait_long(tell):
    time.sleep(60)


def tell_for_ever(tell):
    while True:
        tell(os.getpid())
        time.sleep(0.01)


def own_process(tell):
    tell(os.getpid())


def divide(number, tell):
    return 1 / number


def tell_twice(number, tell):
    tell(f"{number} a")
    tell(f"{number} b")
    return number


def test_plays_and_films_like_this_process(workers, tmp_path, linear_policy):
    policy = linear_policy(11, 3)
    (episode,) = workers.run([Job(play, ("Hopper-v5", policy, 3))])
    expected = record("Hopper-v5", policy, 3)
    assert (episode.qpos == expected.qpos).all() and episode.terminated == expected.terminated
    order = Order("tiled", (Panel("p", "#ff0000", episode),), 0.4)
    news = []
    jobs = [Job(shoot_part, (order, tmp_path / f"{n}.mp4", 5 * n, 5 * n + 5)) for n in range(2)]
    drawn_by = workers.run(jobs, lambda number, said: news.append((number, said[0], said[1][:3])))
    assert drawn_by == [{"schematic"}, {"schematic"}]
    assert all(picture == b"\xff\xd8\xff" and 1 <= done <= 5 for _, done, picture in news) and news
    assert {path.name for path in tmp_path.iterdir()} == {"0.mp4", "1.mp4"}
    assert workers.run([Job(first_picture, (order,))])[0][:3] == b"\xff\xd8\xff"


def test_results_keep_the_order_and_news_say_whose_they_are(workers):
    news = []
    assert workers.run([Job(tell_twice, (n,)) for n in range(5)], lambda n, said: news.append((n, said))) == [*range(5)]
    assert sorted(news) == [(n, f"{n} {letter}") for n in range(5) for letter in "ab"]


def test_sentences_and_failures_come_through_and_the_crew_goes_on(workers):
    with pytest.raises(ObdError, match="NoSuchRobot"):
        workers.run([Job(play, ("NoSuchRobot-v0", None, 0))])
    with pytest.raises(ObdError, match="ZeroDivisionError"):
        workers.run([Job(divide, (0,))])
    with pytest.raises(ObdError, match="ended unexpectedly"):
        workers.run([Job(die, ())])
    assert workers.run([Job(divide, (4,))]) == [0.25]


def test_cancelling_ends_the_work_at_once(workers):
    workers.run([Job(divide, (1,))])
    began = time.monotonic()
    with pytest.raises(Cancelled):
        workers.run([Job(wait_long, ())] * 3, None, lambda: True)
    assert time.monotonic() - began < 30
    assert workers.run([Job(divide, (2,))]) == [0.5]


def test_workers_that_can_be_told_to_stop_are_kept(workers):
    """The next film must not wait until processes have started and OpenGL is open again."""
    seen = set()
    with pytest.raises(Cancelled):
        workers.run([Job(tell_for_ever, ())] * 2, lambda _, pid: seen.add(pid), lambda: len(seen) == 2)
    kept = set()
    workers.run([Job(own_process, ())] * 8, lambda _, pid: kept.add(pid))
    assert kept and kept <= seen
    assert workers.run([Job(divide, (n,)) for n in (1, 2, 4)]) == [1, 0.5, 0.25]  # each answer is the right one's


def test_an_opengl_that_fails_in_the_worker_is_replaced(monkeypatch):
    """The likely backend is taken on trust; if it does not draw, the others are asked one by one."""
    monkeypatch.setattr(backend, "_found", {})
    monkeypatch.setenv("OBD_RENDERER", "")
    monkeypatch.setattr(backend, "candidates", lambda request="": ("nowhere",))
    monkeypatch.setattr(backend, "works", lambda name: False)
    with Crew(1) as opened:
        assert not opened.warm
        assert opened.run([Job(divide, (1,))]) == [1.0]
        assert opened.warm
    assert backend.proven() and backend.likely_backend() is None


def test_a_race_order_makes_a_race(linear_policy, no_gl):
    episode = record("Hopper-v5", linear_policy(11, 3), 0, max_steps=3)
    assert isinstance(Order("race", (Panel("p", "#ff0000", episode),), 1.0).film(), crew.RaceFilm)
