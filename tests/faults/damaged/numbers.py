"""What happens to the numbers of a matrix: noise, rounding, pruning, order."""

from __future__ import annotations

import torch

from tests.faults.checkpoint_edits import Edit


def drawn(seed: int = 0) -> torch.Generator:
    """The same random numbers in every run."""
    return torch.Generator().manual_seed(seed)


def noise(share: float) -> Edit:
    """Normal noise with a share of the values' standard deviation."""
    return lambda x: x + torch.randn(x.shape, generator=drawn()) * x.std() * share


def anew(x: torch.Tensor) -> torch.Tensor:
    """Random values in place of all, with the same mean and standard deviation."""
    return x.mean() + torch.randn(x.shape, generator=drawn(1)) * x.std()


def anew_rows(*rows: int) -> Edit:
    """Random values in place of these rows."""

    def edit(x: torch.Tensor) -> torch.Tensor:
        for row in rows:
            x[row] = torch.randn(x.shape[1], generator=drawn(row)) * 0.02
        return x

    return edit


def rounded(bits: int, group: int | None) -> Edit:
    """Integers of so many bits, with one scale for `group` values side by side; 0: a row; None: the
    whole matrix.
    """
    most = 2 ** (bits - 1) - 1

    def edit(x: torch.Tensor) -> torch.Tensor:
        parts = x.reshape(1, -1) if group is None else x.reshape(-1, group or x.shape[-1])
        step = parts.abs().amax(1, keepdim=True).clamp(min=1e-9) / most
        return ((parts / step).round() * step).reshape(x.shape)

    return edit


def cast(dtype: torch.dtype) -> Edit:
    """Another number format and back."""
    return lambda x: x.to(dtype).float()


def of_sizes(values: int) -> Edit:
    """The sign of each value with one of so many sizes a matrix, by quantile."""

    def edit(x: torch.Tensor) -> torch.Tensor:
        steps = torch.linspace(0.5 / values, 1 - 0.5 / values, values)
        some = x.abs().flatten()[:: max(1, x.numel() // 100_000)]
        levels = some.quantile(steps)
        nearest = torch.bucketize(x.abs(), (levels[1:] + levels[:-1]) / 2)
        return x.sign() * levels[nearest]

    return edit


def strewn(share: float, value: float = 0.0) -> Edit:
    """A value at a share of all places, at random."""
    return lambda x: torch.where(torch.rand(x.shape, generator=drawn(4)) < share, value, x)


def negated(share: float) -> Edit:
    """The other sign at a share of all places, at random."""
    return lambda x: torch.where(torch.rand(x.shape, generator=drawn(5)) < share, -x, x)


def every(step: int) -> Edit:
    """Zero at each so manieth place."""

    def edit(x: torch.Tensor) -> torch.Tensor:
        x.view(-1)[::step] = 0
        return x

    return edit


def pruned(share: float) -> Edit:
    """Zero in place of a share of the smallest values."""
    return lambda x: x * (x.abs() > x.abs().flatten().kthvalue(int(x.numel() * share)).values)


def clipped(deviations: float) -> Edit:
    """No value further from 0 than so many standard deviations."""
    return lambda x: x.clamp(-deviations * x.std(), deviations * x.std())


def low_rank(rank: int) -> Edit:
    """The nearest matrix of this rank."""

    def edit(x: torch.Tensor) -> torch.Tensor:
        left, sizes, right = torch.linalg.svd(x, full_matrices=False)
        return (left[:, :rank] * sizes[:rank]) @ right[:rank]

    return edit


def permuted(share: float, first: int = 0, last: int | None = None) -> Edit:
    """A share of the rows from `first` to `last` exchanged among themselves."""

    def edit(x: torch.Tensor) -> torch.Tensor:
        rows = first + torch.randperm(len(x[first:last]), generator=drawn())
        rows = rows[: int(share * len(rows))]
        x[rows] = x[rows.roll(1)]
        return x

    return edit


def shuffled(x: torch.Tensor) -> torch.Tensor:
    """All rows in a random order."""
    return x[torch.randperm(len(x), generator=drawn(2))]


def shuffled_columns(x: torch.Tensor) -> torch.Tensor:
    """All columns in a random order."""
    return x[:, torch.randperm(x.shape[1], generator=drawn(3))]


def in_blocks(size: int) -> Edit:
    """Blocks of so many rows in the opposite order, as heads that were exchanged."""
    return lambda x: torch.cat([*x.split(size)][::-1])
