"""What a network does wrong, and what must then happen: group N of the list of faults."""

from registry.files.cache import Cache
from registry.files.fetch import Fetching, fetch

BODY = bytes(range(256)) * 4096


def test_n09_a_body_cut_short_is_resumed(server, reply, cache: Cache) -> None:
    url = server.add("/model.bin", reply(BODY, cut=300_000), reply(BODY))
    assert fetch(url, Fetching()).read_bytes() == BODY
    assert server.headers("/model.bin")[1]["Range"] == "bytes=300000-"
    assert server.sent["/model.bin"] == len(BODY)
