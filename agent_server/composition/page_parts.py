"""What the page asks beside the Responses API."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from agent_server.http.page_routes import PageServices
from agent_server.page.conversations import Conversations
from agent_server.page.file_uploads import FileUploads
from agent_server.page.response_feedback import ResponseFeedback
from agent_server.page.signed_in import PageFeatures, SignedIn, StorageKind
from agent_server.responses.response_stores import ResponseStores
from agent_server.responses.responses_service import ResponsesService
from app.composition.core import Core
from app.databricks.current_user import CurrentUserLookup
from app.feedback.ratings import Ratings
from app.files.uploads import MAX_UPLOAD_BYTES, Uploads
from app.turns.rating_queue import RatingQueue


def page_services(
    *,
    stores: ResponseStores,
    responses: ResponsesService,
    uploads: Uploads,
    ratings: Callable[[], Ratings],
    rating_queue: RatingQueue,
    storage: StorageKind,
    core: Core | None,
    title: str = "",
    image_hosts: Sequence[str] = (),
    shows_jobs: bool = False,
) -> PageServices:
    """`core` has the Databricks agent, where the server answers with it."""
    reads_files = core is not None and core.settings.agent.offers_tools
    signed_in = SignedIn(
        title=title,
        storage=storage,
        features=PageFeatures(files=reads_files, jobs=shows_jobs, feedback=True),
        max_file_bytes=MAX_UPLOAD_BYTES,
        image_hosts=image_hosts,
        find_user=CurrentUserLookup(core.workspace).find if core is not None else None,
    )
    return PageServices(
        signed_in,
        Conversations(stores.conversations, stores.records, responses, uploads, ratings),
        ResponseFeedback(stores.records, responses, ratings, rating_queue),
        FileUploads(uploads, is_on=reads_files),
    )
