"""Events as handlers may yield them, in any order and with any of their fields left out or wrong in what they name."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

Json = dict[str, Any]

URL = {"type": "url_citation", "url": "https://example.com", "title": "Example", "start_index": 0, "end_index": 2}


def completed(**response: Any) -> Json:
    return {"type": "response.completed", "response": response}


_IDS = st.sampled_from(["a", "b", None, ""])
_TEXT = st.sampled_from(["", "x", "xy", "z"])
_NUMBER = st.sampled_from([None, 0, 1, 7])


def _with(kind: str, **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Json]:
    return st.fixed_dictionaries({"type": st.just(kind), "item_id": _IDS, "output_index": _NUMBER, **fields})


def _part(kind: str, name: str = "text") -> st.SearchStrategy[Json]:
    annotations = st.lists(
        st.sampled_from([URL, {"type": "file_citation", "file_id": "f", "filename": "g", "index": 0}])
    )
    return st.fixed_dictionaries({"type": st.just(kind), name: _TEXT, "annotations": annotations})


_CONTENT = st.one_of(_TEXT, st.lists(st.one_of(_part("output_text"), _part("refusal", "refusal")), max_size=3))
_CALL_FIELDS = {"id": _IDS, "call_id": st.sampled_from(["c1", "c2"]), "name": st.just("f"), "arguments": _TEXT}
_ITEM = st.one_of(
    st.fixed_dictionaries({"type": st.just("message"), "id": _IDS, "content": _CONTENT}),
    st.fixed_dictionaries({"type": st.just("function_call"), **_CALL_FIELDS}),
    st.fixed_dictionaries(
        {"type": st.just("function_call_output"), "call_id": st.sampled_from(["c1", "c2"]), "output": _TEXT}
    ),
    st.fixed_dictionaries({"type": st.just("mcp_call"), "id": _IDS, "name": st.just("t"), "arguments": _TEXT}),
    st.fixed_dictionaries(
        {
            "type": st.just("reasoning"),
            "id": _IDS,
            "summary": st.lists(_part("summary_text"), max_size=2),
            "content": st.lists(_part("reasoning_text"), max_size=2),
        }
    ),
)
LOOSE_EVENTS = st.one_of(
    _with("response.output_text.delta", delta=_TEXT, content_index=_NUMBER),
    _with("response.output_text.done", text=_TEXT, content_index=_NUMBER),
    _with("response.refusal.delta", delta=_TEXT, content_index=_NUMBER),
    _with("response.output_text.annotation.added", annotation=st.just(URL), content_index=_NUMBER),
    _with("response.content_part.added", part=_part("output_text"), content_index=_NUMBER),
    _with("response.content_part.done", part=_part("reasoning_text"), content_index=_NUMBER),
    _with("response.reasoning_summary_part.added", part=_part("summary_text"), summary_index=_NUMBER),
    _with("response.reasoning_summary_text.delta", delta=_TEXT, summary_index=_NUMBER),
    _with("response.reasoning_text.delta", delta=_TEXT, content_index=_NUMBER),
    _with("response.function_call_arguments.delta", delta=_TEXT),
    _with("response.function_call_arguments.done", arguments=_TEXT),
    _with("response.mcp_call_arguments.delta", delta=_TEXT),
    _with("response.mcp_call.in_progress"),
    _with("response.output_item.added", item=_ITEM),
    _with("response.output_item.done", item=_ITEM),
    st.fixed_dictionaries({"type": st.just("response.created"), "response": st.just({})}),
)
ENDS = st.one_of(
    st.none(),
    st.builds(lambda items: completed(output=items), st.lists(_ITEM, max_size=3)),
    st.just({"type": "error", "message": "No."}),
)
