"""Posts to programs, over HTTP to a server that answers, refuses, redirects, is slow or hangs up."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable

import pytest

from app.jobs.notifications.http_notifier import HttpNotifier, Post, Target
from app.jobs.notifications.notifier import Notice, NotifyError
from app.jobs.notifications.pagerduty import pagerduty_target
from app.jobs.notifications.slack import slack_target
from app.jobs.notifications.ticket import ticket_target
from app.jobs.notifications.webhook import webhook_target
from tests.fakes.hook_server import HookServer, Reply, running
from tests.jobs.chat.sample_incidents import NOW, an_incident

TOKEN = "XyZ0123456789SecretToken"
KEY = "R0123456789abcdefghijklmnopqrstu"
NOTICE = Notice("n-1", "opened", NOW, an_incident())
TARGETS: dict[str, Callable[[str], Target]] = {
    "webhook": lambda url: webhook_target(f"{url}/hooks/{TOKEN}?sig={TOKEN}", KEY),
    "slack": lambda url: slack_target(f"{url}/services/T0/B0/{TOKEN}"),
    "pagerduty": lambda url: pagerduty_target(KEY, url=url),
    "ticket": lambda url: ticket_target(f"{url}/api/now/table/incident?k={TOKEN}", authorization=f"Basic {KEY}"),
}


@pytest.mark.parametrize("name", TARGETS)
async def test_each_target_gets_one_post_of_json(name: str) -> None:
    async with running(HookServer()) as server:
        await HttpNotifier(TARGETS[name](server.url), clock=lambda: NOW).notify(NOTICE)
    (post,) = server.received
    assert post.headers["Content-Type"] == "application/json"
    assert "nightly_etl" in str(post.json)
    assert post.headers.get("Authorization") == (f"Basic {KEY}" if name == "ticket" else None)


@pytest.mark.parametrize(
    ("reply", "is_temporary", "wait_seconds", "is_unreachable"),
    [
        (Reply(400, "invalid_blocks"), False, 0, False),
        (Reply(401), False, 0, False),
        (Reply(403, "invalid_token"), False, 0, False),
        (Reply(404, "no_service"), False, 0, False),
        (Reply(410, "channel_is_archived"), False, 0, False),
        (Reply(413), False, 0, False),
        (Reply(408), True, 0, True),
        (Reply(429, headers={"Retry-After": "70"}), True, 70, True),
        (Reply(429, headers={"Retry-After": "soon"}), True, 0, True),
        (Reply(500, "rollup_error"), True, 0, False),
        (Reply(502, "<html>"), True, 0, False),
        (Reply(503, headers={"Retry-After": "999999"}), True, 3600, True),
        (Reply(301, headers={"Location": "/elsewhere"}), False, 0, False),
        (Reply(307, headers={"Location": "https://evil.example/"}), False, 0, False),
        (Reply(304), False, 0, False),
        (Reply(is_silent=True), True, 0, True),
        (Reply(hangs_up=True), True, 0, True),
    ],
)
async def test_what_the_server_answers_decides_whether_it_is_told_again(
    reply: Reply, is_temporary: bool, wait_seconds: float, is_unreachable: bool
) -> None:
    async with running(HookServer([reply])) as server:
        notifier = HttpNotifier(TARGETS["slack"](server.url), post_seconds=0.3)
        with pytest.raises(NotifyError) as failure:
            await notifier.notify(NOTICE)
    error = failure.value
    assert (error.is_temporary, error.retry_after_seconds) == (is_temporary, wait_seconds)
    assert error.is_unreachable == is_unreachable
    assert len(server.received) == 1


@pytest.mark.parametrize("status", [202, 201, 204])
async def test_any_answer_of_success_is_one(status: int) -> None:
    async with running(HookServer(usual=Reply(status, ""))) as server:
        await HttpNotifier(TARGETS["slack"](server.url)).notify(NOTICE)
    assert len(server.received) == 1


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.parametrize("fault", ["echo", "gone", "silent"])
async def test_neither_the_address_nor_a_key_is_in_an_error_or_a_log(
    name: str, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    server = HookServer()
    async with running(server):
        target = TARGETS[name](server.url)
        echo = f"cannot POST {target.url} with {' and '.join(target.secrets)}"
        server.usual = Reply(400, echo, is_silent=fault == "silent")
        if fault != "gone":
            with pytest.raises(NotifyError) as failure:
                await HttpNotifier(target, post_seconds=0.2).notify(NOTICE)
    if fault == "gone":
        with pytest.raises(NotifyError) as failure:
            await HttpNotifier(target).notify(NOTICE)
        assert not failure.value.may_have_arrived
    said = "".join(traceback.format_exception(failure.value)) + repr(target) + caplog.text
    assert TOKEN not in said
    assert KEY not in said
    assert failure.value.__cause__ is None
    assert name in str(failure.value)


@pytest.mark.parametrize(
    "url",
    ["http://hooks.example/x", "ftp://127.0.0.1/x", "https://ann:pw@hooks.example/x", "hooks.example", "", "https://"],
)
def test_only_https_goes_beyond_this_machine(url: str) -> None:
    with pytest.raises(ValueError, match="https") as failure:
        slack_target(url)
    assert "hooks.example" not in str(failure.value)


async def test_a_target_that_need_not_know_is_not_called() -> None:
    async with running(HookServer()) as server:
        target = Target("quiet", server.url, lambda message, now: None)
        await HttpNotifier(target).notify(NOTICE)
        await HttpNotifier(target).post(Post(b"{}"))
    assert len(server.received) == 1
