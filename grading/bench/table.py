"""The numbers of bench.json as tables in Markdown, for a reader."""

BELOW = "not measured"


def table(numbers: dict) -> str:
    """All of it: ratios, then views, losses, steps and cores."""
    parts = [
        "# The course's code against other people's",
        "Written by `make bench`. Times are processor time on one core, the median of the rounds, lowest to highest "
        "round in brackets; peers: " + ", ".join(f"{name} {what}" for name, what in numbers["peers"].items()) + ".",
        ratios(numbers),
        "## Two views of an image, microseconds",
        grid(numbers["views_seconds_an_image"], "side in pixels", 1e6),
        "## NT-Xent, forward and backward, milliseconds",
        grid(numbers["loss_seconds"], "N", 1e3),
    ]
    if numbers["loss_mib"]:
        parts += ["## NT-Xent, memory at its peak, MiB", grid(numbers["loss_mib"], "N", 1)]
    parts += [
        "## A training step, milliseconds an image",
        grid({"128": numbers["step_seconds_an_image"]}, "N", 1e3),
        "## One core and two, milliseconds by the clock",
        grid(numbers["seconds_by_cores"], "threads", 1e3),
    ]
    return "\n\n".join(parts) + "\n"


def ratios(numbers: dict) -> str:
    """One line a ratio, and a line for what was left out."""
    lines = ["| ours over theirs | times | lowest to highest round |", "|---|---:|---|"]
    for name, value in numbers.items():
        if f"{name}/spread" in numbers:
            low, high = numbers[f"{name}/spread"]
            lines.append(f"| {name} | {value:.3g} | {low:.3g} to {high:.3g} |")
    lines += [f"| {name} | {BELOW} | {why} |" for name, why in numbers.get("left_out", {}).items()]
    return "\n".join(lines)


def grid(cells: dict[str, dict], over: str, scale: float) -> str:
    """A row for each way, a column for each size. cells: {size: {way: {"median": seconds, "spread": [low, high]}}}"""
    ways = dict.fromkeys(way for column in cells.values() for way in column)
    lines = [f"| {over} | " + " | ".join(cells) + " |", "|---|" + "---:|" * len(cells)]
    for way in ways:
        lines.append(f"| {way} | " + " | ".join(cell(column.get(way), scale) for column in cells.values()) + " |")
    return "\n".join(lines)


def cell(found: dict | None, scale: float) -> str:
    if found is None:
        return "–"
    low, high = (f"{short(scale * end)}" for end in found["spread"])
    return short(scale * found["median"]) + ("" if low == high else f" ({low}–{high})")


def short(number: float) -> str:
    """Three digits that count, without an exponent."""
    return f"{number:.0f}" if number >= 100 else f"{number:.3g}"
