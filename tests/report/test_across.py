"""Several comparisons side by side."""

from smix.report.across import across_table
from tests.report.comparisons import compared


def test_the_note_is_of_the_runs_behind_the_table_and_a_method_that_lacks_runs_is_never_best():
    several = compared({"vanilla": [0.5, 0.6], "smix": [0.7, 0.8], "fmix": [0.9, None]})
    table = across_table([several, compared({"vanilla": [0.5]})], ["one", "other"])
    assert table.note.startswith(
        "Mean ± standard deviation over seeds; of one run its value (not enough runs). The highest"
    )
    assert [(row[0].text, row[1].text, row[1].best) for row in table.rows] == [
        ("vanilla", "55.00 ± 7.07", False),
        ("fmix", "90.00 (1 of 2)", False),
        ("smix", "75.00 ± 7.07", True),
    ]
    assert across_table([compared({"vanilla": [0.5]})], ["one"]).note.startswith("One run of each method")
