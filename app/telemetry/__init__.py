"""What happened in a turn, as OpenTelemetry traces and metrics.

Spans are kept as plain records until the first answer has been sent: OpenTelemetry's SDK is imported only then, so that
telemetry costs the cold start nothing (`app.telemetry.pipeline`).
"""
