"""A tool of a real MCP server through the whole bot: asked for by a card, made once, refused when it has changed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import SecretStr

from app.databricks.credentials import PersonalAccessToken
from app.databricks.workspace_client import WorkspaceClient
from app.databricks.workspace_url import WorkspaceUrl
from app.mcp_tools.provider import McpTools
from app.models.model import Completed, ToolCall
from app.settings.mcp_settings import McpSettings
from tests.bot.test_approvals import buttons, press, until_the_queue_is_empty
from tests.fakes.bots import bots
from tests.fakes.mcp_server import FakeMcpServer
from tests.fakes.tools import without_data_marks


@pytest.mark.parametrize("change", ["nothing", "its schema", "its name"])
async def test_what_was_approved_is_done_once_and_only_while_the_tool_is_the_same(change: str, tmp_path: Path) -> None:
    async with FakeMcpServer() as server, bots(tmp_path) as make_bot:
        listed = McpSettings.model_validate({"MCP_SERVERS": json.dumps([{"name": "wh", "url": server.url}])})
        workspace = WorkspaceClient(WorkspaceUrl.parse("https://w.example"), PersonalAccessToken(SecretStr("t")))
        tools = McpTools(listed, workspace)
        call = ToolCall("1", "wh__drop_table", '{"name": "sales"}')
        bot = make_bot(["I can drop it.", Completed((call,))], "That is all.", tool_providers=[tools])
        assert (await bot.send(bot.activity("Drop sales", channelId="msteams"))).status == 200
        assert server.calls == [], "the server's own hint that it only reads does not count"
        card = json.dumps(bot.connector.calls[-1].activity)
        assert "wh: drop_table" in card
        assert "sales" in card
        offered = buttons(bot)

        if change == "its schema":
            server.mcp._tool_manager._tools["drop_table"].parameters["properties"]["cascade"] = {"type": "boolean"}
        if change == "its name":
            server.rename("drop_table", "drop_any_table")
        for each in tools._servers:
            each._list_again_at = 0.0
            if (listing := each.listing()) is not None:
                await listing
        await press(bot, offered["Approve"])
        await until_the_queue_is_empty(bot)
        await press(bot, offered["Approve"], "Bob")
        await until_the_queue_is_empty(bot)

        assert server.calls == ([("drop_table", "sales")] if change == "nothing" else [])
        told = [each.content for each in bot.model.requests[-1].messages if each.role == "tool"]
        says = {"nothing": "dropped sales", "its schema": "it has changed", "its name": "no tool of that name"}
        assert says[change] in without_data_marks(told[0])
        assert bot.messages[-1].startswith("That is all.")
        await tools.close()
        await workspace.close()
