from pathlib import Path

import pytest

from models.engine.loading import find
from worker.management import Totals
from worker.served_model import ServedModel


@pytest.fixture
def model(checkpoint_dir: Path) -> ServedModel:
    return ServedModel(find("tiny", checkpoint_dir), state="ready")


def means(model: ServedModel) -> tuple[float, float]:
    return model.status.wait_ms, model.status.run_ms


def test_the_means_are_those_of_the_calls_since_the_last_look(model: ServedModel) -> None:
    model.learn(Totals(calls=2, waited=0.2, took=1.0))
    assert means(model) == (100, 400)
    model.learn(Totals(calls=6, waited=0.4, took=1.4))
    assert means(model) == (50, 50)


def test_a_call_that_lasts_longer_than_a_look_is_known_once_it_is_answered(model: ServedModel) -> None:
    model.learn(Totals(calls=1, waited=0.1, took=0.2))
    for _ in range(3):
        model.learn(Totals(calls=2, waited=0.1, took=0.2))
        assert means(model) == (100, 100)
    model.learn(Totals(calls=2, waited=0.3, took=3.4))
    assert means(model) == (200, 3000)


def test_answers_to_calls_that_came_before_the_last_look_count_too(model: ServedModel) -> None:
    model.learn(Totals(calls=2, waited=0.0, took=1.0))
    model.learn(Totals(calls=2, waited=0.0, took=3.0))
    assert means(model) == (0, 2000)


def test_where_nothing_comes_nothing_waits(model: ServedModel) -> None:
    model.learn(Totals(calls=1, waited=0.5, took=0.6))
    model.learn(Totals(calls=1, waited=0.5, took=0.6))
    assert means(model) == (0, 100)
