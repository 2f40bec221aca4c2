"""Request ids: what is drawn beforehand is used once."""

import os

from credit_sdk import new_request_id
from credit_sdk.identifiers import new_entry_id

TIME = len("req_") + 13


def test_request_ids_are_as_long_as_one_another_and_begin_with_the_time() -> None:
    ids = [new_request_id() for _ in range(1_000)]
    assert {len(each) for each in ids} == {TIME + 20}
    assert [each[:TIME] for each in ids] == sorted(each[:TIME] for each in ids)
    assert len({each[TIME:] for each in ids}) == len(ids)
    assert len(new_entry_id()) == 24


def test_a_child_has_random_bits_of_its_own() -> None:
    new_request_id()
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.write(writing, " ".join(new_request_id() for _ in range(50)).encode())
        os._exit(0)
    os.waitpid(child, 0)
    os.close(writing)
    with os.fdopen(reading) as answer:
        childs = {each[TIME:] for each in answer.read().split()}
    assert len(childs) == 50
    assert not childs & {new_request_id()[TIME:] for _ in range(200)}
