"""Spans and metrics as lines for the console."""

from __future__ import annotations

from collections.abc import Iterator

from opentelemetry.sdk.metrics.export import HistogramDataPoint, Metric, MetricsData, NumberDataPoint
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind

_SHOWN = {
    "bot.channel": "{}",
    "agent.outcome": "{}",
    "error.type": "{}",
    "agent.error_id": "error id {}",
    "agent.time_to_first_update": "first update after {} s",
    "gen_ai.response.time_to_first_chunk": "first chunk after {} s",
    "gen_ai.usage.input_tokens": "{} tokens in",
    "gen_ai.usage.output_tokens": "{} tokens out",
    "gen_ai.input.messages": "\n  {}",
    "gen_ai.output.messages": "\n  {}",
    "gen_ai.tool.call.arguments": "\n  {}",
    "gen_ai.tool.call.result": "\n  {}",
}


def line_of(span: ReadableSpan) -> str:
    """The trace id, the span's name, its duration and its main attributes."""
    attributes = span.attributes or {}
    told = [template.format(attributes[name]) for name, template in _SHOWN.items() if name in attributes]
    context = span.get_span_context()
    trace_id = f"{context.trace_id:032x}" if context else "-"
    seconds = ((span.end_time or 0) - (span.start_time or 0)) / 1e9
    indent = "" if span.kind is SpanKind.SERVER else "  "
    return f"trace {trace_id} {indent}{span.name}: {', '.join([f'{seconds:.3f} s', *told])}\n"


def lines_of(metrics: MetricsData) -> str:
    """One line for each metric and set of attributes."""
    return "".join(f"metric {line}\n" for line in _metric_lines(metrics))


def _metric_lines(metrics: MetricsData) -> Iterator[str]:
    for resource in metrics.resource_metrics:
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                for point in metric.data.data_points:
                    by = ", ".join(str(value) for value in (point.attributes or {}).values())
                    yield f"{metric.name} ({by}): {_figure(metric, point)}"


def _figure(metric: Metric, point: object) -> str:
    unit = "" if (metric.unit or "").startswith("{") else f" {metric.unit}"
    if isinstance(point, HistogramDataPoint):
        mean = point.sum / point.count if point.count else 0.0
        return f"{point.count} times, {mean:.4g}{unit} on average, {point.max:.4g}{unit} at most"
    return f"{point.value:g}{unit}" if isinstance(point, NumberDataPoint) else ""
