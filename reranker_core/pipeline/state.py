"""What the coordinator tells about the workers of a run."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class SetAside:
    """A replica that scores no more, and keeps its GPU from others.

    Attributes:
        replica: host and process id.
        node: host and id of the node.
        device: the GPU; '' on a CPU.
        reason: why it cannot score.

    """

    replica: str
    node: str
    device: str
    reason: str

    def __str__(self) -> str:
        place = self.device or f"node {self.node}"
        return f"replica {self.replica} on {place} is set aside: {self.reason}"


@dataclass(frozen=True)
class State:
    """Of a run's workers.

    Attributes:
        loading: number of replicas that are loading and checking the model.
        ready: number of replicas that are ready.
        holding: number of replicas that are set aside and hold parts which others must score.
        suspected: number of devices that are set aside or may be faulty.
        silence: seconds since a worker last began or computed something.
        troubles: messages about processes that have ended.
        replaced: replicas that were started again in a new process, and why.
        set_aside: replicas that are set aside.

    """

    loading: int = 0
    ready: int = 0
    holding: int = 0
    suspected: int = 0
    silence: float = 0.0
    troubles: list[str] = field(default_factory=list)
    replaced: list[dict[str, str]] = field(default_factory=list)
    set_aside: list[SetAside] = field(default_factory=list)
