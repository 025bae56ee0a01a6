from __future__ import annotations

from obd.bench import scaling


def test_quick_rows_hold_times_rates_and_memory() -> None:
    said: list[str] = []
    rows = scaling.run(quick=True, say=said.append, should_stop=lambda: False)["rows"]
    assert [(row["what"], row["value"]) for row in rows] == [("size", 4), ("size", 16), ("transitions", 1_000)]
    assert all(row["seconds"] > 0 for row in rows) and all(row["gflop_per_second"] > 0 for row in rows[:2])
    assert rows[-1]["data_megabytes"] == 0.092 and rows[-1]["extra_megabytes"] >= 0
    assert len(said) == 3


def test_the_default_problem_is_among_the_variants() -> None:
    found = {what: [shape for name, _, shape in scaling.variants() if name == what] for what in ("depth", "width")}
    assert scaling.base() in found["depth"] and scaling.base() in found["width"]


def test_made_up_data_has_the_asked_size() -> None:
    dataset = scaling.made_up(2_500)
    assert len(dataset) == 2_500 and dataset.episode_lengths.tolist() == [1000, 1000, 500]
