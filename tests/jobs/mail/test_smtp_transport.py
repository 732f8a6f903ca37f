"""Mail over SMTP, against a real mail server."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from email.message import Message

import pytest
from pydantic import SecretStr

from app.jobs.mail.mail_content import MailContent, MailSection
from app.jobs.mail.mail_transport import PermanentMailError, TemporaryMailError
from app.jobs.mail.mime_message import mime_message
from app.jobs.mail.smtp_transport import SmtpTransport
from tests.fakes import certificate
from tests.fakes.mail_server import MailServer, running

SENDER = "watch@contoso.com"
ANN, BOB, EVE = "ann@contoso.com", "bob@contoso.com", "eve@contoso.com"
CONTENT = MailContent(subject="Größe", sections=(MailSection(paragraphs=(".", "Größe 表", "x" * 2000)),))
Tls = tuple[ssl.SSLContext, ssl.SSLContext]


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Tls:
    server, trusted = certificate.localhost(tmp_path_factory.mktemp("mail"))
    return server, ssl.create_default_context(cafile=trusted)


@pytest.fixture
def transport_to(tls: Tls) -> Callable[..., SmtpTransport]:
    def make(server: MailServer, **options: object) -> SmtpTransport:
        chosen = {"tls_context": tls[1], **options}
        return SmtpTransport("localhost", SENDER, port=server.port, **chosen)  # type: ignore[arg-type]

    return make


TransportTo = Callable[..., SmtpTransport]


def message(*recipients: str) -> Message:
    return mime_message(
        CONTENT, message_key="incident-1", sender=SENDER, recipients=recipients or [ANN], sent_at_seconds=1_800_000_000
    )


@pytest.mark.parametrize("implicit_tls", [False, True])
async def test_a_mail_arrives_encrypted_and_as_it_was_written(
    tls: Tls, transport_to: TransportTo, implicit_tls: bool
) -> None:
    async with running(MailServer(users={SENDER: "pä$$"}), tls[0], implicit_tls=implicit_tls) as server:
        transport = transport_to(server, implicit_tls=implicit_tls, password=SecretStr("pä$$"))
        assert await transport.send(message(ANN, BOB), [ANN, BOB]) == ()
    (mail,) = server.received
    assert (mail.recipients, mail.was_encrypted, mail.signed_in_as) == ([ANN, BOB], True, SENDER)
    assert mail.message["Subject"] == "Größe"
    assert mail.message["To"] == f"{ANN}, {BOB}"
    assert mail.message["Auto-Submitted"] == "auto-generated"
    plain, html = mail.message.iter_parts()
    assert plain.get_content().splitlines() == [".", "", "Größe 表", "", "x" * 2000]
    assert "<p>Größe 表</p>" in html.get_content()
    assert set(server.greetings) == {"contoso.com"}


async def test_nothing_is_said_to_a_server_that_offers_no_encryption(transport_to: TransportTo) -> None:
    async with running(MailServer(users={SENDER: "secret"}), None) as server:
        transport = transport_to(server, password=SecretStr("secret"))
        for attempt in (transport.test_connection(), transport.send(message(), [ANN])):
            with pytest.raises(PermanentMailError, match="offers no STARTTLS"):
                await attempt
    assert (server.received, server.logins) == ([], [])


async def test_a_server_that_nobody_vouches_for_gets_no_password(tls: Tls, transport_to: TransportTo) -> None:
    async with running(MailServer(users={SENDER: "secret"}), tls[0]) as server:
        transport = transport_to(server, tls_context=ssl.create_default_context(), password=SecretStr("secret"))
        with pytest.raises(PermanentMailError, match="certificate"):
            await transport.send(message(), [ANN])
    assert (server.received, server.logins) == ([], [])


@pytest.mark.parametrize(("tls_server", "tls_client"), [(True, False), (False, True)])
async def test_the_wrong_kind_of_port_is_a_setting_to_change_and_never_a_mail_in_clear(
    tls: Tls, transport_to: TransportTo, tls_server: bool, tls_client: bool
) -> None:
    async with running(MailServer(), tls[0], implicit_tls=tls_server) as server:
        with pytest.raises((PermanentMailError, TemporaryMailError)):
            await transport_to(server, implicit_tls=tls_client, answer_seconds=0.3).send(message(), [ANN])
    assert server.received == []


async def test_an_access_token_signs_in_where_passwords_are_off(tls: Tls, transport_to: TransportTo) -> None:
    async def token() -> str:
        return tokens.pop()

    tokens = ["stale", "fresh"]
    async with running(MailServer(tokens={SENDER: "fresh"}), tls[0]) as server:
        transport = transport_to(server, access_token=token)
        assert await transport.send(message(), [ANN]) == ()
        with pytest.raises(PermanentMailError, match="535") as refusal:
            await transport.send(message(), [ANN])
        with pytest.raises(TemporaryMailError, match="No access token"):
            await transport.send(message(), [ANN])
    assert "stale" not in str(refusal.value)
    assert [mail.signed_in_as for mail in server.received] == [SENDER]
    assert set(server.logins) == {f"XOAUTH2 {SENDER}"}


async def test_a_wrong_password_is_said_in_a_sentence_without_it(tls: Tls, transport_to: TransportTo) -> None:
    async with running(MailServer(users={SENDER: "right"}), tls[0]) as server:
        with pytest.raises(PermanentMailError, match="SENDER_PASSWORD") as refusal:
            await transport_to(server, password=SecretStr("wr0ng-pass")).test_connection()
    assert "wr0ng-pass" not in str(refusal.value)


async def test_those_who_are_refused_are_named_and_the_others_have_the_mail(
    tls: Tls, transport_to: TransportTo
) -> None:
    replies = {BOB: "550 5.1.1 no such user", EVE: "452 4.2.2 mailbox full"}
    async with running(MailServer(recipient_replies=replies), tls[0]) as server:
        refused = await transport_to(server).send(message(), [ANN, BOB, EVE, "größe@contoso.com"])
        assert {each.address: (each.code, each.is_temporary) for each in refused} == {
            "größe@contoso.com": (0, False),
            BOB: (550, False),
            EVE: (452, True),
        }
        assert "no such user" in next(each.reason for each in refused if each.address == BOB)
        nobody = await transport_to(server).send(message(), [BOB, EVE])
    assert {each.code for each in nobody} == {550, 452}
    assert [mail.recipients for mail in server.received] == [[ANN]]


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        ("451 4.7.1 greylisted", TemporaryMailError),
        ("421 4.3.2 shutting down", TemporaryMailError),
        ("550 5.7.1 looks like spam", PermanentMailError),
        ("552 5.3.4 too big", PermanentMailError),
    ],
)
async def test_the_reply_code_decides_whether_another_attempt_is_worth_it(
    tls: Tls, transport_to: TransportTo, reply: str, kind: type[Exception]
) -> None:
    async with running(MailServer(data_replies=[reply]), tls[0]) as server:
        with pytest.raises(kind, match=reply[:3]):
            await transport_to(server).send(message(), [ANN])


async def test_a_server_that_falls_silent_or_is_gone_is_worth_another_attempt(
    tls: Tls, transport_to: TransportTo
) -> None:
    async with running(MailServer(is_silent_after_data=True), tls[0]) as server:
        for limits in ({"delivery_seconds": 0.2}, {"send_seconds": 0.4}):
            with pytest.raises(TemporaryMailError) as silence:
                await transport_to(server, **limits).send(message(), [ANN])
            assert silence.value.server_is_unreachable
            # On a busy machine the limit of the whole may end before the mail is under way.
            assert silence.value.may_have_arrived or "send_seconds" in limits
    with pytest.raises(TemporaryMailError, match="could not be reached") as absence:
        await transport_to(server).test_connection()
    assert not absence.value.may_have_arrived


async def test_the_connection_is_tested_without_a_mail(tls: Tls, transport_to: TransportTo) -> None:
    async with running(MailServer(users={SENDER: "right"}), tls[0]) as server:
        await transport_to(server, password=SecretStr("right")).test_connection()
        await transport_to(server).test_connection()
    assert (server.connections, server.received) == (2 * 2, [])


@pytest.mark.parametrize(
    "wrong", [{"sender": "nobody"}, {"sender": "a@b\r\nBcc: c@d"}, {"server": ""}, {"port": 0}, {"port": 70_000}]
)
def test_settings_that_cannot_work_are_refused(wrong: dict[str, object]) -> None:
    settings = {"server": "mail.test", "sender": SENDER, "port": 587, **wrong}
    with pytest.raises(ValueError, match=r"SENDER_EMAIL|SMTP_SERVER"):
        SmtpTransport(settings["server"], settings["sender"], port=settings["port"])  # type: ignore[arg-type]
