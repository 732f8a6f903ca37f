"""Mails that wait for the mail server, over a real store; the server is replaced by what it would answer."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from email.message import Message

import pytest

from app.jobs.email_notifier import EmailNotifier
from app.jobs.mail.mail_content import MailContent, MailSection
from app.jobs.mail.mail_transport import MAX_RECIPIENTS, PermanentMailError, RefusedRecipient, TemporaryMailError
from app.jobs.mail.outbox import MAILS, Mail, mail_outbox, new_mail
from app.storage.documents import MAX_DOCUMENT_CHARACTERS, Document, DocumentKey, DocumentStore
from tests.fakes.clock import Clock

ANN, BOB, EVE = "ann@contoso.com", "bob@contoso.com", "eve@contoso.com"
CONTENT = MailContent(subject="nightly_etl failed", sections=(MailSection(paragraphs=("It failed.",)),))
GREYLISTED = TemporaryMailError("451 later")
SILENT = TemporaryMailError("no answer", may_have_arrived=True, server_is_unreachable=True)
AWAY = TemporaryMailError("away", server_is_unreachable=True)
SPAM = PermanentMailError("550 spam")
HOUR_SECONDS = 3600.0


def a_mail(recipients: Sequence[str], content: MailContent = CONTENT) -> Mail:
    return new_mail("incident-1", content, recipients, Clock.now)


@dataclass
class ScriptedTransport:
    """Answers each mail with the next of `answers`; takes what comes after them."""

    answers: Sequence[Exception | tuple[RefusedRecipient, ...]] = ()
    sender: str = "watch@contoso.com"
    sent: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)
    tries: int = 0

    async def send(self, message: Message, recipients: Sequence[str]) -> tuple[RefusedRecipient, ...]:
        self.tries += 1
        await asyncio.sleep(0)
        answer, self.answers = (self.answers[0], self.answers[1:]) if self.answers else ((), ())
        if isinstance(answer, Exception):
            raise answer
        refused = {each.address for each in answer}
        taken = tuple(each for each in recipients if each not in refused)
        if taken:
            self.sent.append((str(message["Message-ID"]), taken))
        return answer

    async def test_connection(self) -> None:
        answer, self.answers = (self.answers[0], self.answers[1:]) if self.answers else ((), ())
        if isinstance(answer, Exception):
            raise answer


async def test_one_mail_goes_out_for_an_incident_however_many_watchers_send_it(
    documents: DocumentStore, clock: Clock
) -> None:
    transport = ScriptedTransport()
    watchers = [mail_outbox(documents, transport, clock=clock) for _ in range(5)]
    results = await asyncio.gather(*(each.send("incident-1", a_mail([ANN, BOB])) for each in watchers))
    assert sorted(each.is_new for each in results) == [False] * 4 + [True]
    again = await watchers[0].send("incident-1", a_mail([EVE]))
    assert (again.is_new, again.delivery.state, again.delivery.delivered) == (False, "sent", (ANN, BOB))
    assert again.delivery.delivered_at_seconds == clock.now
    assert [recipients for _, recipients in transport.sent] == [(ANN, BOB)]
    clock.now += HOUR_SECONDS
    assert await watchers[0].deliver_due() == []


async def test_what_is_put_off_is_tried_over_minutes_by_whichever_process_runs_then(
    documents: DocumentStore, clock: Clock
) -> None:
    transport = ScriptedTransport([GREYLISTED, GREYLISTED])
    first = await mail_outbox(documents, transport, clock=clock).send("incident-1", a_mail([ANN]))
    assert (first.delivery.state, first.delivery.failure) == ("waiting", "451 later")
    outbox = mail_outbox(documents, transport, clock=clock)
    assert await outbox.deliver_due() == []
    clock.now += 61
    (second,) = await outbox.deliver_due()
    assert (second.state, second.attempts) == ("waiting", 2)
    clock.now += 121
    several = await asyncio.gather(*(mail_outbox(documents, transport, clock=clock).deliver_due() for _ in range(4)))
    assert [mail.state for tried in several for mail in tried] == ["sent"]
    assert transport.tries == 3


async def test_only_those_who_were_put_off_are_offered_the_mail_again(documents: DocumentStore, clock: Clock) -> None:
    transport = ScriptedTransport(
        [(RefusedRecipient(BOB, 550, "no such user"), RefusedRecipient(EVE, 452, "mailbox full"))]
    )
    outbox = mail_outbox(documents, transport, clock=clock)
    mail = (await outbox.send("incident-1", a_mail([ANN, BOB, EVE, "ann(at)contoso.com", "ANN@contoso.com"]))).delivery
    assert (mail.pending, mail.delivered) == ((EVE,), (ANN,))
    clock.now += 61
    (mail,) = await outbox.deliver_due()
    assert mail == await outbox.find("incident-1")
    assert (mail.state, mail.delivered) == ("sent", (ANN, EVE))
    assert [(each.address, each.code) for each in mail.refused] == [("ann(at)contoso.com", 0), (BOB, 550)]
    assert [recipients for _, recipients in transport.sent] == [(ANN,), (EVE,)]
    assert len({message_id for message_id, _ in transport.sent}) == 1


@pytest.mark.parametrize(
    ("answers", "tries", "state"),
    [
        ([SPAM], 1, "failed"),
        ([GREYLISTED, SPAM], 2, "failed"),
        ([(RefusedRecipient(ANN, 550, "no such user"),)], 1, "failed"),
        ([(RefusedRecipient(ANN, 452, "full"),)] * 20, 9, "failed"),
        ([AWAY] * 20, 9, "failed"),
        # It may be there twice already.
        ([SILENT] * 20, 2, "failed"),
        ([AWAY, SILENT, AWAY, ()], 4, "sent"),
    ],
)
async def test_a_mail_is_tried_as_often_as_the_answers_allow(
    documents: DocumentStore,
    clock: Clock,
    answers: list[Exception | tuple[RefusedRecipient, ...]],
    tries: int,
    state: str,
) -> None:
    transport = ScriptedTransport([*answers])
    outbox = mail_outbox(documents, transport, clock=clock)
    await outbox.send("incident-1", a_mail([ANN]))
    for _ in range(100):
        clock.now += 300
        await outbox.deliver_due()
    mail = await outbox.find("incident-1")
    assert mail is not None
    assert (transport.tries, mail.state, mail.attempts) == (tries, state, tries)
    assert [each.address for each in mail.refused] == ([ANN] if state == "failed" else [])
    assert mail.failure or state == "sent"


async def test_a_worker_that_dies_while_it_sends_leaves_the_mail_to_another_but_not_forever(
    documents: DocumentStore, clock: Clock
) -> None:
    class DyingTransport(ScriptedTransport):
        async def send(self, message: Message, recipients: Sequence[str]) -> tuple[RefusedRecipient, ...]:
            raise asyncio.CancelledError

    transport = DyingTransport()
    outbox = mail_outbox(documents, transport, clock=clock)
    with pytest.raises(asyncio.CancelledError):
        await outbox.send("incident-1", a_mail([ANN]))
    assert await outbox.deliver_due() == []
    clock.now += 301
    with pytest.raises(asyncio.CancelledError):
        await outbox.deliver_due()
    clock.now += 301
    (mail,) = await outbox.deliver_due()
    assert (mail.state, transport.tries) == ("failed", 0)
    assert "may have arrived" in mail.failure


async def test_a_server_that_is_away_is_asked_once_a_pass_and_nothing_is_lost(
    documents: DocumentStore, clock: Clock
) -> None:
    transport = ScriptedTransport([GREYLISTED] * 3 + [AWAY])
    outbox = mail_outbox(documents, transport, clock=clock)
    for number in range(3):
        await outbox.send(f"incident-{number}", a_mail([ANN]))
    clock.now += 61
    assert [mail.state for mail in await outbox.deliver_due()] == ["waiting"]
    assert transport.tries == 4
    clock.now += 300
    assert [mail.state for mail in await outbox.deliver_due()] == ["sent"] * 3


async def test_a_mail_of_a_newer_version_is_left_for_it(documents: DocumentStore, clock: Clock) -> None:
    await documents.put(Document(DocumentKey(MAILS, "job-watch", "incident-1"), '{"v": 9}', due_at=clock.now))
    transport = ScriptedTransport()
    outbox = mail_outbox(documents, transport, clock=clock)
    assert await outbox.deliver_due() == []
    assert (await outbox.send("incident-1", a_mail([ANN]))).is_new is False
    assert transport.tries == 0


async def test_a_mail_to_nobody_or_to_too_many_says_so(documents: DocumentStore, clock: Clock) -> None:
    outbox = mail_outbox(documents, ScriptedTransport(), clock=clock)
    nobody = (await outbox.send("incident-1", a_mail([]))).delivery
    assert (nobody.state, nobody.failure) == ("failed", "There is nobody to send it to.")
    many = (await outbox.send("incident-2", a_mail([f"n{n}@contoso.com" for n in range(MAX_RECIPIENTS + 10)]))).delivery
    assert (len(many.delivered), len(many.refused)) == (MAX_RECIPIENTS, 10)
    long = MailContent(subject="", sections=(MailSection(code="x" * MAX_DOCUMENT_CHARACTERS),))
    with pytest.raises(ValueError, match="characters"):
        await outbox.send("incident-3", a_mail([ANN], long))


async def test_without_a_store_a_mail_is_tried_once_and_the_rest_is_reported(clock: Clock) -> None:
    notifier = EmailNotifier(
        ScriptedTransport([(RefusedRecipient(BOB, 452, "mailbox full"),), GREYLISTED]), clock=clock
    )
    mail = (await notifier.send_async("incident-1", CONTENT, [ANN, BOB])).delivery
    assert (mail.state, mail.delivered, mail.refused[0].address) == ("sent", (ANN,), BOB)
    assert (await notifier.send_async("incident-1", CONTENT, [ANN])).delivery.state == "failed"
    assert await notifier.deliver_due_async() == []
    assert await notifier.find_async("incident-1") is None


async def test_the_notifier_can_be_called_where_an_event_loop_runs_and_where_none_does() -> None:
    transport = ScriptedTransport([AWAY])
    notifier = EmailNotifier(transport)
    broken = notifier.test_connection()
    assert (bool(broken), broken.message) == (False, "away")
    working = await asyncio.to_thread(notifier.test_connection)
    assert (bool(working), working.message) == (True, "Mails can be sent as watch@contoso.com.")
    assert notifier.send("incident-1", CONTENT, [ANN]).delivery.state == "sent"
    assert await asyncio.to_thread(notifier.deliver_due) == []
    assert notifier.find("incident-1") is None


async def test_a_store_serves_the_notifier_from_several_event_loops(documents: DocumentStore, clock: Clock) -> None:
    notifier = EmailNotifier(ScriptedTransport([GREYLISTED]), documents, clock=clock)
    assert notifier.send("incident-1", CONTENT, [ANN]).delivery.state == "waiting"
    clock.now += 61
    (mail,) = await asyncio.to_thread(notifier.deliver_due)
    assert (mail.state, notifier.find("incident-1")) == ("sent", mail)
    assert await notifier.find_async("incident-1") == mail
