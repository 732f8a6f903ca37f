"""Genie's own picture of a result, for clients that draw no charts."""

from __future__ import annotations

import logging
from base64 import b64encode
from dataclasses import replace

from app.common.identity import RequestIdentity
from app.content.block_limits import MAX_IMAGE_BYTES, within_limits
from app.content.blocks import Block, Chart, Image
from app.databricks.genie_api import GenieApi
from app.databricks.workspace_errors import WorkspaceError
from app.genie.genie_message import GenieMessage

_log = logging.getLogger(__name__)


async def with_genies_image(
    blocks: tuple[Block, ...], api: GenieApi, space: str, message: GenieMessage, identity: RequestIdentity
) -> tuple[Block, ...]:
    """The same blocks, and with the chart the image of it. Where it cannot be had, the table is enough."""
    chart = next((block for block in blocks if isinstance(block, Chart)), None)
    if chart is None:
        return blocks
    ids = (space, message.conversation_id, message.message_id, message.visualization_id)
    try:
        png = await api.download_visualization(*ids, identity, MAX_IMAGE_BYTES)
    except WorkspaceError as error:
        _log.info("Genie's image of a result could not be had (%s)", error)
        return blocks
    image = within_limits(Image("", chart.title or chart.y_axis, b64encode(png).decode()))
    if not isinstance(image, Image) or not image.data:
        _log.info("Genie's image of a result is no PNG, or too large")
        return blocks
    return tuple(replace(block, image=image) if block is chart else block for block in blocks)
