"""The replicas of a run: where they are, how many may come, and how long others are waited for."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass


@dataclass(frozen=True)
class Origin:
    """Which replica, and where it is.

    Attributes:
        actor: the same before and after a restart.
        process: host and process id.
        node: host and id of the node.
        device: the GPU and its node; '' on a CPU.

    """

    actor: str
    process: str
    node: str
    device: str = ""

    @property
    def place(self) -> str:
        """The GPU if there is one, and the node."""
        return self.device or f"node {self.node}"

    def __str__(self) -> str:
        return f"{self.process} ({self.place})"


@dataclass(frozen=True)
class Fleet:
    """How many replicas a run may have, and how long it waits for them.

    Attributes:
        fitting: number of replicas that fit when the run starts; 0 if their nodes come later.
        most: number of replicas that may come.
        longest: seconds to wait for others if all failures may have one cause, such as one GPU.
        patience: seconds to wait for others if failures have several causes, or if some replicas
            can score.

    """

    fitting: int
    most: int
    longest: float = 0.0
    patience: float = 120.0

    def wait_for_others(self, failed: Collection[Origin]) -> float:
        """Seconds to wait for others after the last one of these replicas failed, if no replica can
        score; 0 if no others can come.
        """
        if len(failed) >= self.most:
            return 0.0
        nodes, places = {each.node for each in failed}, {each.place for each in failed}
        all_here = 0 < self.fitting <= len(failed) and len(places) > 1
        several = len(nodes) > 1 or all_here
        return self.patience if several else max(self.patience, self.longest)
