"""Variables of the environment: stripped, checked, and named when they are wrong."""

import pytest

from registry.errors import ConfigError
from registry.files.environment import flag, variable


def test_white_space_is_no_part_of_a_value_and_blank_is_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIRST", " \n")
    monkeypatch.setenv("SECOND", " value\n")
    assert variable("FIRST", "SECOND") == "value"
    assert variable("FIRST", "NOT_SET") is None


@pytest.mark.parametrize(
    ("word", "said"),
    [("1", True), ("true", True), ("True", True), ("YES", True), ("on\n", True)]
    + [("0", False), ("false", False), ("No", False), ("OFF", False), ("", False), (" ", False)],
)
def test_a_flag_is_yes_or_no_in_any_case(monkeypatch: pytest.MonkeyPatch, word: str, said: bool) -> None:
    monkeypatch.setenv("REGISTRY_OFFLINE", word)
    assert flag("REGISTRY_OFFLINE") is said


def test_another_word_is_refused_with_the_name_of_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGISTRY_OFFLINE", "ture")
    with pytest.raises(ConfigError, match=r"REGISTRY_OFFLINE is 'ture'.*Did you mean 'true'"):
        flag("REGISTRY_OFFLINE")
