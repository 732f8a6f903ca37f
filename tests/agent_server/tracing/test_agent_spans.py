"""The agent's spans as MLflow shows them."""

from __future__ import annotations

import pytest

from agent_server.tracing.agent_spans import SpanCollector, agent_spans
from app.telemetry.gen_ai import ModelCall, end_tool_call, start_tool_call
from app.telemetry.span_records import FinishedSpan, Measurement, SpanKind
from app.telemetry.spans import Span, as_current, make_current, start_span


class Sink:
    def __init__(self) -> None:
        self.spans: list[FinishedSpan] = []
        self.measurements: list[Measurement] = []

    def span(self, span: FinishedSpan) -> None:
        self.spans.append(span)

    def measured(self, measurement: Measurement) -> None:
        self.measurements.append(measurement)


def collected(*, records_text: bool = True) -> SpanCollector:
    collector = SpanCollector()
    with as_current(Span("request", SpanKind.SERVER, {}, collector, records_text=records_text)):
        with ModelCall("gpt") as call:
            call.asked([("system", "Be brief."), ("user", "How many?")])
            call.chunk("Forty")
            call.chunk("-two")
            call.completed("stop", (7, 3))
        with start_tool_call("run_sql", '{"query": "SELECT 1"}') as tool, as_current(tool):
            with ModelCall("inner") as call:
                call.chunk("1")
            end_tool_call(tool, "one row", "ToolTimeoutError")
    return collector


def test_calls_of_models_and_tools_have_mlflows_types_inputs_outputs_and_tokens() -> None:
    model, tool, inner = agent_spans(collected().spans)

    assert (model.name, model.type, model.parent) == ("chat gpt", "CHAT_MODEL", None)
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "How many?"}]
    assert model.inputs == {"messages": messages}
    answer = {"role": "assistant", "content": "Forty-two"}
    assert model.outputs == {"choices": [{"message": answer, "finish_reason": "stop"}]}
    usage = {"input_tokens": 7, "output_tokens": 3, "total_tokens": 10}
    assert model.attributes["mlflow.chat.tokenUsage"] == usage
    assert model.attributes["mlflow.llm.model"] == "gpt"
    assert not [name for name in model.attributes if name.endswith("messages")], "they are inputs and outputs"
    assert (tool.name, tool.type, tool.inputs) == ("execute_tool run_sql", "TOOL", {"query": "SELECT 1"})
    assert (tool.outputs, tool.error) == ("one row", "ToolTimeoutError")
    assert "mlflow.llm.provider" not in tool.attributes
    assert inner.parent == tool.id, "a parent comes before its children, though it ends after them"
    assert model.started_at <= model.ended_at


def test_without_text_the_calls_are_there_and_say_nothing() -> None:
    model, tool, _ = agent_spans(collected(records_text=False).spans)

    assert (model.inputs, model.outputs, tool.inputs, tool.outputs) == (None, None, None, None)
    assert model.attributes["mlflow.chat.tokenUsage"]["total_tokens"] == 10


def test_arguments_that_are_no_json_are_shown_as_they_are() -> None:
    collector = SpanCollector()
    with as_current(Span("request", SpanKind.SERVER, {}, collector, records_text=True)):
        start_tool_call("t", '{"a": ').end()

    (tool,) = agent_spans(collector.spans)

    assert tool.inputs == '{"a": '


def test_spans_follow_the_newest_request_of_a_context() -> None:
    first, second = SpanCollector(), SpanCollector()
    for collector in (first, second):
        make_current(Span("request", SpanKind.SERVER, {}, collector))
        start_span("step", SpanKind.INTERNAL, {}).end()
    make_current(None)
    start_span("step", SpanKind.INTERNAL, {}).end()

    assert (len(first.spans), len(second.spans)) == (1, 1)


@pytest.mark.parametrize("records_text", [True, False])
def test_the_surrounding_turn_gets_the_spans_and_measurements_too(records_text: bool) -> None:
    sink = Sink()
    turn = Span("turn", SpanKind.SERVER, {}, sink, records_text=records_text)
    collector = SpanCollector(turn)
    request = Span("request", SpanKind.SERVER, {}, collector, records_text=True)
    collector.root_id = request.span_id
    with as_current(request), start_tool_call("t", "{}") as tool, as_current(tool):
        with ModelCall("m") as call:
            call.chunk("words")
        end_tool_call(tool, "rows", None)

    model, tool_span = sink.spans
    assert {span.trace_id for span in sink.spans} == {turn.trace_id}
    assert (tool_span.parent_id, model.parent_id) == (turn.span_id, tool_span.span_id)
    assert ("words" in str(model.attributes)) is records_text
    assert ("rows" in str(tool_span.attributes)) is records_text
    assert len(sink.measurements) == 2
    assert "words" in str(collector.spans[0].attributes)
