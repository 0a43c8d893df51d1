"""Where the names of lines stand in a plot: pure numbers, so that it can be tested without one."""


def spread(heights: dict[str, float], gap: float) -> dict[str, float]:
    """Move heights apart until any two differ by the gap, and none further than that needs."""
    names = sorted(heights, key=lambda name: heights[name])
    placed: list[list[float]] = []
    for name in names:
        placed.append([heights[name]])
        # Groups that meet become one, around the middle of what they were meant to be.
        while len(placed) > 1 and _top(placed[-2], gap) + gap > _bottom(placed[-1], gap):
            placed[-2:] = [placed[-2] + placed[-1]]
    shifted = [
        _bottom(group, gap) + number * gap for group in placed for number in range(len(group))
    ]
    return dict(zip(names, shifted, strict=True))


def _bottom(group: list[float], gap: float) -> float:
    return sum(group) / len(group) - gap * (len(group) - 1) / 2


def _top(group: list[float], gap: float) -> float:
    return _bottom(group, gap) + gap * (len(group) - 1)
