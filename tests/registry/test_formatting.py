import pytest

from registry.formatting import first_of, format_count, format_size, percent


@pytest.mark.parametrize(
    ("number", "words"),
    [(None, ""), (0, "0"), (999, "999"), (1000, "1.00 k"), (999_499, "999 k"), (999_500, "1.00 M")]
    + [(22_713_216, "22.7 M"), (99_950_000, "100 M"), (110_106_428, "110 M"), (1_557_611_200, "1.56 B")],
)
def test_numbers_have_three_digits(number: int | None, words: str) -> None:
    assert format_count(number) == words


@pytest.mark.parametrize(
    ("size", "words"),
    [(None, ""), (0, "0 bytes"), (612, "612 bytes"), (9_999, "9,999 bytes"), (231_508, "232 kB")]
    + [(90_868_376, "90.9 MB"), (999_500_000, "1.00 GB"), (6_230_444_800, "6.23 GB")],
)
def test_sizes_have_three_digits(size: int | None, words: str) -> None:
    assert format_size(size) == words


def test_shares_are_percentages_and_no_share_looks_like_none() -> None:
    assert [percent(share) for share in (0.0, 0.0004, 0.216, 1.0)] == ["0.0 %", "< 0.1 %", "21.6 %", "100.0 %"]


def test_the_first_of_many_names_are_shown_and_the_others_counted() -> None:
    assert first_of([], 2) == ""
    assert first_of(("a", "b"), 2) == "a, b"
    assert first_of(iter("abcdefghi"), 2) == "a, b and 7 more"
