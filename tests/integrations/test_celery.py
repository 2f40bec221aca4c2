"""A task is charged once, however often it is retried or delivered."""

from collections.abc import Iterator
from typing import Any

import pytest
from celery import Celery
from celery.contrib.testing.worker import start_worker

from credit_sdk import Account, ConfigurationError
from credit_sdk.integrations.celery import billable_task
from tests.integrations.conftest import Shop

OPTIONS = {"bind": True, "name": "label", "shared": False}  # each test has an app of its own


def payer(user_id: str) -> Account:
    return Account(org_id="acme", user_id=user_id)


@pytest.fixture
def app() -> Celery:
    return Celery("shop", broker="memory://", backend="cache+memory://")


@pytest.fixture
def attempts() -> list[str]:
    return []


@pytest.fixture
def work(app: Celery, shop: Shop, attempts: list[str]) -> Any:
    """A task that fails as often as it is told before it succeeds."""

    @billable_task(app, shop.billing, "label", cost=20, account=payer, task=OPTIONS)
    def label(self: Any, user_id: str, failures: int = 0) -> str:
        attempts.append(self.request.id)
        if len(attempts) <= failures:
            raise self.retry(exc=LookupError("the printer is busy"), countdown=0)
        return f"label of {user_id}"

    return label


@pytest.fixture
def worker(app: Celery, work: Any) -> Iterator[None]:
    with start_worker(app, pool="solo", perform_ping_check=False, shutdown_timeout=30):
        yield


@pytest.mark.usefixtures("worker")
def test_only_the_attempt_that_succeeds_is_charged(work: Any, shop: Shop, attempts: list[str]) -> None:
    assert work.delay("ada", failures=2).get(timeout=30) == "label of ada"
    assert len(attempts) == 3
    shop.fake.assert_charged(20, account=shop.ada, times=1, request_id=f"celery-{attempts[0]}")
    shop.fake.assert_no_open_holds()


@pytest.mark.usefixtures("worker")
def test_a_task_that_gives_up_costs_nothing(work: Any, shop: Shop) -> None:
    with pytest.raises(LookupError):
        work.delay("ada", failures=9).get(timeout=30)
    shop.fake.assert_not_charged()
    shop.fake.assert_no_open_holds()


@pytest.mark.usefixtures("worker")
def test_a_task_that_is_delivered_twice_is_charged_once(work: Any, shop: Shop, attempts: list[str]) -> None:
    """As after the death of a worker that had not acknowledged it."""
    first = work.apply_async(["ada"], task_id="job-7").get(timeout=30)
    again = work.apply_async(["ada"], task_id="job-7")
    again.forget()
    work.apply_async(["ada"], task_id="job-8").get(timeout=30)  # runs after it
    assert first == "label of ada"
    assert attempts == ["job-7", "job-7", "job-8"]
    shop.fake.assert_charged(20, times=1, request_id="celery-job-7")


def test_the_function_itself_can_be_called(work: Any, shop: Shop) -> None:
    assert work("ada") == "label of ada"
    shop.fake.assert_charged(20, account=shop.ada)


def test_a_request_id_of_ones_own_is_refused(app: Celery, shop: Shop) -> None:
    with pytest.raises(ConfigurationError, match="leave request_id= out"):
        billable_task(app, shop.billing, "label", cost=1, request_id=lambda user_id: user_id)
