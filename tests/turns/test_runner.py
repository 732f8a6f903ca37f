"""A turn from question to memory: order, Stop, time limits, and what the next question knows."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest

from app.agent.agent import Agent
from app.agent.commands import FORGOTTEN, HELP
from app.agent.events import Answer, Event, Failure, TextAdded
from app.agent.turn import Turn
from app.bot.channel import COPILOT, TEAMS_GROUP, TEAMS_PERSONAL, Channel
from app.bot.replies.message_reply import MessageReply
from app.bot.replies.stream_reply import StreamReply
from app.databricks.current_user import CurrentUser
from app.models import model_errors as failures
from app.storage.conversations import ConversationKey, StoredMessage
from app.storage.ledger import BeginResult, TurnRecord
from app.storage.sqlite.sqlite_store import SqliteStore
from app.storage.storage_errors import StorageError
from app.turns.lease import TurnBackend
from app.turns.reply import SaveCheckpoint, discard_checkpoint
from app.turns.runner import TurnRunner
from tests.fakes.channel import FakeChannel
from tests.fakes.commands import commands_of
from tests.fakes.scripted_model import ScriptedModel
from tests.fakes.virtual_time import VirtualTimeLoop

APPLICATION = "11111111-2222-4333-8444-555555555555"
ANN = ConversationKey("tenant", "ann")


_Store = TypeVar("_Store", bound=SqliteStore)


class Heard:
    """A reply that keeps what was written; `press_stop` is what the person does."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.stopped = False
        self.abandoned = False
        self.activity_id: str | None = None
        self.text_came = asyncio.Event()

    async def begin(self, keep: SaveCheckpoint = discard_checkpoint) -> None:
        pass

    async def write(self, event: Event) -> None:
        self.events.append(event)
        if isinstance(event, TextAdded):
            self.text_came.set()

    async def finish(self) -> None:
        pass

    async def abandon(self) -> None:
        self.abandoned = True

    def when_stopped(self, stop: Callable[[], object]) -> None:
        self._stop = stop

    def press_stop(self) -> None:
        self.stopped = True
        self._stop()

    @property
    def shown(self) -> str:
        return "".join(event.text for event in self.events if isinstance(event, TextAdded))

    @property
    def end(self) -> Event:
        return self.events[-1]


class Broken(SqliteStore):
    """A store that is down."""

    async def begin(self, turn: TurnRecord, *, history_limit: int, waits: bool = False) -> BeginResult | None:
        raise StorageError("disk gone")


class Unforgetting(SqliteStore):
    async def forget(self, key: ConversationKey, *, threads: bool = False) -> None:
        raise StorageError("disk gone")


class _At:
    """Waits for `seconds`, unless nobody asks it to."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def __await__(self) -> Generator[Any, None, None]:
        return asyncio.sleep(self._seconds).__await__()


async def _happening(event: asyncio.Event) -> None:
    event.set()


def runner(model: ScriptedModel, store: SqliteStore, time_limit_seconds: float = 60) -> TurnRunner:
    agent = Agent(model, system_prompt="", history_token_budget=1000)
    commands = commands_of(store)
    return TurnRunner(
        agent,
        commands,
        TurnBackend(store, store.queue("turns"), store.artifacts()),
        time_limit_seconds=time_limit_seconds,
    )


async def ask(turns: TurnRunner, question: str, key: ConversationKey = ANN) -> Heard:
    heard = Heard()
    await turns.run(Turn(uuid.uuid4().hex, key, question), lambda _: heard)
    return heard


@contextmanager
def opened(store: _Store) -> Iterator[_Store]:
    """Closed after the loop that it was used on."""
    try:
        yield store
    finally:
        asyncio.run(store.close())


@pytest.fixture
async def kept(tmp_path: Path) -> Any:
    log = SqliteStore(tmp_path / "kept.sqlite")
    yield log
    await log.close()


async def test_the_next_question_knows_of_the_last_answer(kept: SqliteStore) -> None:
    model = ScriptedModel(["I am Bricks.", "Bricks."])
    turns = runner(model, kept)
    await ask(turns, "Who are you?")
    heard = await ask(turns, "Again?")
    assert [m.content for m in model.requests[1].messages[1:]] == ["Who are you?", "I am Bricks.", "Again?"]
    assert heard.end == Answer("Bricks.")
    assert heard.abandoned


async def test_reset_forgets_this_conversation_only(kept: SqliteStore) -> None:
    model = ScriptedModel(["one"], repeat_last=True)
    turns, bob = runner(model, kept), ConversationKey("tenant", "bob")
    await ask(turns, "from ann")
    await ask(turns, "from bob", bob)
    await ask(turns, " /Reset ")
    assert await kept.recent(ANN, 9) == []
    assert len(await kept.recent(bob, 9)) == 2


@pytest.mark.parametrize(
    ("typed", "answer"),
    [
        ("/help", HELP.english),
        ("／ＨＥＬＰ", HELP.english),
        ("“/help”", HELP.english),
        ("`/help` !", HELP.english),
        ("**/help**", HELP.english),
        (" /HELP. ", HELP.english),
        ("help", HELP.english),
        ("Help!", HELP.english),
        ("Hilfe", HELP.english),
        ("ヘルプ", HELP.english),
        ("/reset", FORGOTTEN.english),
        ("/Forget", FORGOTTEN.english),
        ("/hlep", "I do not know the command `/hlep`. Did you mean **/help**?"),
        ("/forgot", "I do not know the command `/forgot`. Did you mean **/forget**?"),
        ("/genie", "I do not know the command `/genie`. Type **/help** to see those that I know."),
        ("/forget everything", "If you mean the command **/forget**, send it alone, without other words."),
    ],
)
async def test_commands_are_answered_without_the_model_and_bear_no_label(
    kept: SqliteStore, typed: str, answer: str
) -> None:
    assert (await ask(runner(ScriptedModel(), kept), typed)).end == Answer(answer, by_model=False)


async def test_what_only_begins_like_a_command_deletes_nothing(kept: SqliteStore) -> None:
    turns = runner(ScriptedModel(["one"]), kept)
    await ask(turns, "Why?")
    await ask(turns, "/forget everything")
    assert len(await kept.recent(ANN, 9)) == 2


@pytest.mark.parametrize("question", ["/etc is what?", "/dbfs/tmp", "/", "// TODO", "help me", "/1", f"/{'x' * 40}"])
async def test_what_looks_like_a_command_but_is_none_is_a_question(kept: SqliteStore, question: str) -> None:
    model = ScriptedModel(["It is a folder."])
    await ask(runner(model, kept), question)
    assert model.requests[0].messages[-1].content == question


@pytest.mark.parametrize(
    ("user", "named"),
    [
        (CurrentUser("ann@example.com", "Ann"), "the user `ann@example.com`\n"),
        (CurrentUser(APPLICATION, "Bricks"), f"the service principal `Bricks` (`{APPLICATION}`)\n"),
        (CurrentUser(APPLICATION), f"the service principal `{APPLICATION}`\n"),
        (CurrentUser(APPLICATION, "`\n"), f"the service principal `{APPLICATION}`\n"),
        (None, "the workspace did not say"),
    ],
)
async def test_about_names_model_workspace_and_who_asks_it(
    kept: SqliteStore, user: CurrentUser | None, named: str
) -> None:
    about = await commands_of(kept, user).answer(Turn("1", ANN, "/about"))
    assert about is not None
    assert f"Identity: {named}" in about.text
    for fact in ("Model: **m**", "Workspace: w.example", "Sign-in: personal access token"):
        assert fact in about.text


async def test_stop_ends_the_model_at_once_and_keeps_what_was_shown(kept: SqliteStore) -> None:
    model = ScriptedModel([["Once upon", asyncio.Event()]])
    heard = Heard()
    running = asyncio.create_task(runner(model, kept).run(Turn("1", ANN, "Tell"), lambda _: heard))
    await heard.text_came.wait()
    heard.press_stop()
    await running
    assert model.streams_closed_early == 1
    assert await kept.recent(ANN, 9) == [
        StoredMessage("user", "Tell"), StoredMessage("assistant", "Once upon", complete=False),
    ]  # fmt: skip


async def test_a_worker_that_ends_cancels_cleanly(kept: SqliteStore) -> None:
    model = ScriptedModel([["Once upon", asyncio.Event()]])
    heard = Heard()
    running = asyncio.create_task(runner(model, kept).run(Turn("1", ANN, "Tell"), lambda _: heard))
    await heard.text_came.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert model.streams_closed_early == 1
    assert heard.abandoned
    assert isinstance(heard.end, Failure)
    assert "restarted" in heard.end.sentence
    assert heard.end.text == "Once upon"


@pytest.mark.parametrize("channel", [TEAMS_PERSONAL, COPILOT, TEAMS_GROUP])
@pytest.mark.parametrize("seconds", [0.01, 0.5, 2.0, 3.2, 5.0, 10.02])
def test_a_worker_that_ends_leaves_nobody_before_a_reply_that_stays_open(
    channel: Channel, seconds: float, tmp_path: Path
) -> None:
    fake, store = FakeChannel(), SqliteStore(tmp_path / "x")

    async def script() -> None:
        model = ScriptedModel([[_At(2.7), "Once upon ", _At(7.3), "a time"]])
        reply = StreamReply(fake, channel, channel.streaming) if channel.streaming else MessageReply(fake, channel)
        running = asyncio.create_task(runner(model, store).run(Turn("1", ANN, "Tell"), lambda _: reply))
        await asyncio.sleep(seconds)
        running.cancel()
        await asyncio.wait([running])
        assert running.cancelled()

    with opened(store), asyncio.Runner(loop_factory=VirtualTimeLoop) as virtual:
        virtual.run(script())
    assert fake.sent[-1].kind == ("final" if any(sent.stream for sent in fake.sent) else "message")
    assert seconds < 3 or not channel.streaming or fake.sent[-1].kind == "final"
    assert len(fake.visible) == 1


def test_stop_while_the_end_is_sent_keeps_what_was_shown_once(tmp_path: Path) -> None:
    log = SqliteStore(tmp_path / "x")
    rules = TEAMS_PERSONAL.streaming
    assert rules is not None
    with opened(log), asyncio.Runner(loop_factory=VirtualTimeLoop) as virtual:
        model = ScriptedModel([["Once upon ", _At(3), "a time"]])
        reply = StreamReply(FakeChannel(stop_at=1002.5), TEAMS_PERSONAL, rules)
        virtual.run(runner(model, log).run(Turn("1", ANN, "Tell"), lambda _: reply))
        said = virtual.run(log.recent(ANN, 9))
    assert said == [
        StoredMessage("user", "Tell"), StoredMessage("assistant", "Once upon ", complete=False, activity_id="stream-1"),
    ]  # fmt: skip


async def test_a_channel_may_allow_less_time_than_the_runner(kept: SqliteStore) -> None:
    heard = Heard()
    turns = runner(ScriptedModel([[asyncio.Event()]]), kept)
    await turns.run(Turn("1", ANN, "Tell"), lambda _: heard, time_limit_seconds=0.01)
    assert isinstance(heard.end, Failure)
    assert "longer than allowed" in heard.end.sentence


def test_an_answer_that_takes_too_long_ends_in_a_sentence_and_keeps_what_came(tmp_path: Path) -> None:
    model, heard, log = ScriptedModel([["Once upon", asyncio.Event()]]), Heard(), SqliteStore(tmp_path / "x")
    with opened(log), asyncio.Runner(loop_factory=VirtualTimeLoop) as loop:
        loop.run(runner(model, log, time_limit_seconds=60).run(Turn("1", ANN, "Tell"), lambda _: heard))
        said = loop.run(log.recent(ANN, 9))
    assert isinstance(heard.end, Failure)
    assert "longer than allowed" in heard.end.sentence
    assert heard.end.text == "Once upon"
    assert said[-1] == StoredMessage("assistant", "Once upon", complete=False)


async def test_a_failure_without_an_answer_leaves_no_trace_in_the_conversation(kept: SqliteStore) -> None:
    heard = await ask(runner(ScriptedModel([failures.RateLimitedError("x")]), kept), "Why?")
    assert isinstance(heard.end, Failure)
    assert await kept.recent(ANN, 9) == []


async def test_a_store_that_is_down_is_the_channels_to_tell(tmp_path: Path) -> None:
    with pytest.raises(StorageError):
        await ask(runner(ScriptedModel(["x"]), Broken(tmp_path / "x")), "Why?")


async def test_a_command_that_fails_is_said_in_a_sentence(tmp_path: Path) -> None:
    store = Unforgetting(tmp_path / "x")
    heard = await ask(runner(ScriptedModel(["x"]), store), "/reset")
    await store.close()
    assert isinstance(heard.end, Failure)


async def test_two_questions_at_once_are_answered_one_after_the_other(kept: SqliteStore) -> None:
    asked, gate = asyncio.Event(), asyncio.Event()
    model = ScriptedModel([[_happening(asked), "first", gate], "second"])
    turns = runner(model, kept)
    one = asyncio.create_task(ask(turns, "one"))
    two = asyncio.create_task(ask(turns, "two"))
    await asked.wait()
    gate.set()
    assert [(await one).end, (await two).end] == [Answer("first"), Answer("second")]
    assert [m.content for m in model.requests[1].messages if m.role != "system"] == ["one", "first", "two"]
