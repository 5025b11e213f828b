"""The same file on several servers: each is asked once before one of them is waited for."""

from collections.abc import Callable, Iterable
from typing import TypeVar

from attrs import define, field

from registry.download.policy import Policy
from registry.download.retries import is_transient
from registry.errors import FetchError
from registry.files.urls import origin

T = TypeVar("T")


@define
class Mirrors:
    """The servers of one model, of which those that were in trouble are asked last."""

    policy: Policy
    _troubled: set[object] = field(factory=set, init=False)

    def first(self, urls: Iterable[str], fetch: Callable[[str, bool], T], failures: list[FetchError]) -> T | None:
        """The result for the first URL that has one; servers in trouble are waited for when no other has.

        Args:
            urls: The URLs, the preferred first.
            fetch: Called with a URL, and whether a server in trouble is waited for.
            failures: Gets what went wrong: the last error of each URL, when there is no result.

        Returns:
            What ``fetch`` returns; None where it raised FetchError for every URL.
        """
        left = sorted(urls, key=lambda url: origin(url) in self._troubled)
        problems: dict[str, FetchError] = {}
        for patient in (False, True) if len(left) > 1 and not self.policy.is_offline else (True,):
            for url in left:
                try:
                    return fetch(url, patient)
                except FetchError as problem:
                    problems[url] = problem
                    if is_transient(problem):
                        self._troubled.add(origin(url))
            left = [url for url in left if is_transient(problems[url])]
        failures.extend(problems.values())
        return None
