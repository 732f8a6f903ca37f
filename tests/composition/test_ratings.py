"""Whom ratings are told to, as the settings say."""

from __future__ import annotations

from pathlib import Path

from app.composition.core import Core
from app.config import CoreSettings, load_sections
from app.content.feedback_target import GenieTarget, TraceTarget
from app.feedback.rating_records import Reaction
from app.storage.conversations import ConversationKey
from tests.fakes.mlflow_traces import MlflowTraces
from tests.fakes.serving_endpoint import TOKEN

CHAT = ConversationKey("t", "msteams/a:1")
TRACE = "tr-0af7651916cd43dd8448eb211c80319c"


async def test_traces_and_genie_may_be_elsewhere_than_the_model_and_forget_reaches_what_is_kept(tmp_path: Path) -> None:
    async with MlflowTraces() as app, MlflowTraces(TRACE) as workspace, MlflowTraces() as cache:
        environment = {
            "DATABRICKS_BASE_URL": f"{app.url}/serving-endpoints",
            "DATABRICKS_MODEL_NAME": "m",
            "DATABRICKS_TOKEN": TOKEN,
            "MLFLOW_BASE_URL": workspace.url,
            "GENIE_BASE_URL": cache.url,
            "DATA_DIR": str(tmp_path),
        }
        core = Core(load_sections(CoreSettings, environment))
        ratings = core.ratings()
        assert ratings is core.ratings()
        await ratings.targets.save(CHAT, "1", (TraceTarget(TRACE), GenieTarget("s", "c", "m")))
        rating = await ratings.rate(CHAT, "1", "29:ann", Reaction.LIKE)
        await ratings.deliver("t", rating, is_first_attempt=True)
        assert [len(each.asked) for each in (app, workspace, cache)] == [0, 1, 1]
        await core.forget(CHAT)
        assert await ratings.find(CHAT, "1", "29:ann") is Reaction.NONE
        await core.close()
