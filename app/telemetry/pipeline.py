"""From records to OpenTelemetry's SDK, and on to Application Insights or the console.

Imported after the first answer: the SDK and the exporter cost a tenth of a second and more.
"""

from __future__ import annotations

import logging
import math
import os
import sys
import threading
from collections.abc import Sequence
from typing import TextIO

from opentelemetry.metrics import Counter, Histogram
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import ConsoleMetricExporter, MetricExporter, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter, SpanExporter, SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, Status, StatusCode, TraceFlags
from opentelemetry.trace import SpanKind as OtelSpanKind

from app.telemetry.console import line_of, lines_of
from app.telemetry.destination import Destination
from app.telemetry.instruments import INSTRUMENTS
from app.telemetry.span_records import FinishedSpan, Measurement, SpanKind

_SPANS_EVERY_MS = 2_000
# An instance that vanishes loses the metrics of this time.
_METRICS_EVERY_MS = 15_000
_KINDS = {
    SpanKind.SERVER: OtelSpanKind.SERVER,
    SpanKind.CLIENT: OtelSpanKind.CLIENT,
    SpanKind.INTERNAL: OtelSpanKind.INTERNAL,
}
_SCOPE = InstrumentationScope("databricks-agent")


class Pipeline:
    """A sink that sends in OpenTelemetry's threads."""

    def __init__(self, destination: Destination, *, console: TextIO = sys.stderr) -> None:
        self._resource = Resource.create(
            {
                "service.name": destination.service,
                "service.version": destination.version,
                "service.instance.id": destination.instance,
            }
        )
        # No sampling: every error id must find its trace.
        self._tracing = TracerProvider(resource=self._resource, shutdown_on_exit=False)
        spans, metrics, interval = self._exporters(destination, console)
        self._exporter = _ObservedExporter(spans)
        self._spans = BatchSpanProcessor(self._exporter, schedule_delay_millis=_SPANS_EVERY_MS)
        reader = PeriodicExportingMetricReader(metrics, export_interval_millis=interval)
        self._metering = MeterProvider([reader], resource=self._resource, shutdown_on_exit=False)
        meter = self._metering.get_meter(_SCOPE.name)
        self._counters: dict[str, Counter] = {}
        self._histograms: dict[str, Histogram] = {}
        for instrument in INSTRUMENTS:
            names = (instrument.name, instrument.unit, instrument.description)
            if instrument.buckets:
                buckets = instrument.buckets
                self._histograms[instrument.name] = meter.create_histogram(
                    *names, explicit_bucket_boundaries_advisory=buckets
                )
            else:
                self._counters[instrument.name] = meter.create_counter(*names)

    def _exporters(self, destination: Destination, console: TextIO) -> tuple[SpanExporter, MetricExporter, float]:
        if destination.connection_string is None:
            # On a developer's machine metrics are written once, at the end.
            return (
                ConsoleSpanExporter(out=console, formatter=line_of),
                ConsoleMetricExporter(out=console, formatter=lines_of),
                math.inf,
            )
        spans, metrics = _application_insights(destination, destination.connection_string, self._tracing)
        return spans, metrics, _METRICS_EVERY_MS

    @property
    def refused(self) -> bool:
        """Whether the last spans sent did not arrive."""
        return self._exporter.refused

    def span(self, span: FinishedSpan) -> None:
        self._spans.on_end(
            ReadableSpan(
                span.name,
                context=_context(span.trace_id, span.span_id),
                parent=None if span.parent_id is None else _context(span.trace_id, span.parent_id),
                resource=self._resource,
                attributes=span.attributes,
                kind=_KINDS[span.kind],
                events=_exceptions(span),
                status=Status(StatusCode.UNSET if span.error is None else StatusCode.ERROR),
                start_time=span.started_at,
                end_time=span.ended_at,
                instrumentation_scope=_SCOPE,
            )
        )

    def measured(self, measurement: Measurement) -> None:
        name = measurement.instrument.name
        if name in self._counters:
            self._counters[name].add(measurement.value, measurement.attributes)
        else:
            self._histograms[name].record(measurement.value, measurement.attributes)

    def close(self, time_limit_seconds: float) -> None:
        """Sends what was recorded, for `time_limit` seconds at most."""
        # In a thread, because neither shutdown has a time limit while an export hangs.
        ending = threading.Thread(target=self._shut_down, name="telemetry-shutdown", daemon=True)
        ending.start()
        ending.join(time_limit_seconds)

    def _shut_down(self) -> None:
        try:
            self._spans.shutdown()  # type: ignore[no-untyped-call]
            # With an infinite interval the shutdown alone would export no metrics.
            self._metering.force_flush()
            self._metering.shutdown()
        except Exception:
            logging.getLogger(__name__).exception("Not all telemetry was sent")


class _ObservedExporter(SpanExporter):
    """Remembers whether the last export succeeded, which the SDK does not tell."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self.refused = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = self._exporter.export(spans)
        self.refused = result is not SpanExportResult.SUCCESS
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()


def _exceptions(span: FinishedSpan) -> tuple[Event, ...]:
    if not span.stack:
        return ()
    told = {
        "exception.type": span.error or "",
        "exception.message": span.error or "",
        "exception.stacktrace": span.stack,
    }
    return (Event("exception", told, span.ended_at),)


def _application_insights(
    destination: Destination, connection_string: str, tracing: TracerProvider
) -> tuple[SpanExporter, MetricExporter]:
    # Without these the exporter sends statistics about itself to Microsoft, and fetches settings there.
    for feature in ("STATSBEAT_DISABLED_ALL", "SDKSTATS_DISABLED", "CONTROLPLANE_DISABLED"):
        os.environ.setdefault(f"APPLICATIONINSIGHTS_{feature}", "true")
    from azure.identity import ManagedIdentityCredential  # noqa: PLC0415
    from azure.monitor.opentelemetry.exporter import (  # noqa: PLC0415
        AzureMonitorMetricExporter,
        AzureMonitorTraceExporter,
    )

    credential = ManagedIdentityCredential(client_id=destination.client_id) if destination.by_identity else None
    trace = AzureMonitorTraceExporter(
        connection_string=connection_string,
        credential=credential,
        disable_offline_storage=True,
        tracer_provider=tracing,
    )
    metric = AzureMonitorMetricExporter(
        connection_string=connection_string, credential=credential, disable_offline_storage=True
    )
    return trace, metric


def _context(trace_id: int, span_id: int) -> SpanContext:
    return SpanContext(trace_id, span_id, is_remote=False, trace_flags=TraceFlags(TraceFlags.SAMPLED))
