"""When parts that replicas hold are given back."""

from types import SimpleNamespace

import pytest

from reranker_core.pipeline import news
from reranker_core.pipeline.state import State


class Actor:
    """Tells a state, and counts how often parts are released."""

    def __init__(self, state):
        self.releases = 0
        self.state = SimpleNamespace(remote=lambda: state)
        self.release = SimpleNamespace(remote=self._release)

    def _release(self):
        self.releases += 1


@pytest.mark.parametrize(
    ("left", "holding", "silence", "released"),
    [
        (2, 1, 0.0, True),
        (3, 1, 5.0, False),  # others may score the third
        (3, 1, 25.0, True),  # committed, but its receipt has not come out of Ray Data
        (300, 0, 25.0, False),
        (1, 0, 0.0, False),
    ],
)
def test_held_parts_are_given_back_when_no_others_are_left(
    monkeypatch, left, holding, silence, released
):
    monkeypatch.setattr(news.ray, "get", lambda value, timeout: value)
    actor = Actor(State(holding=holding, silence=silence))
    nothing = SimpleNamespace(replicas=lambda *_: None, state=lambda *_: "", tell=lambda **_: None)
    parts = {str(number) for number in range(left)}
    news.News(actor, nothing, 1, parts, nothing, nothing).tell(every=0)
    assert bool(actor.releases) is released
