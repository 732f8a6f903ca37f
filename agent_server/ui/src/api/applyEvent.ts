import type { Annotation, ContentPart, OutputItem, ResponseEvent, ResponseObject } from "./types";

const TERMINAL = new Set(["completed", "failed", "incomplete", "cancelled"]);

export function isFinished(response: ResponseObject): boolean {
  return TERMINAL.has(response.status);
}

/** The response after an event of its stream. Neither is changed; an event that says nothing new gives `response` itself. */
export function applyEvent(response: ResponseObject | null, event: ResponseEvent): ResponseObject | null {
  if (event.response) return { ...event.response, output: event.response.output ?? [] };
  if (response === null) return null;
  switch (event.type) {
    case "response.output_item.added":
    case "response.output_item.done":
      return withItem(response, event, (old) => (isObject(event.item) ? (event.item as unknown as OutputItem) : old));
    case "response.content_part.added":
    case "response.content_part.done":
      return withPart(response, event, (old) => (isObject(event.part) ? (event.part as unknown as ContentPart) : old));
    case "response.output_text.delta":
      return withPart(response, event, (old) => ({ ...old, text: (old.text ?? "") + textOf(event.delta) }));
    case "response.output_text.done":
      return withPart(response, event, (old) => ({ ...old, text: textOf(event.text) }));
    case "response.refusal.delta":
      return withPart(response, event, (old) => ({
        ...old,
        type: "refusal",
        refusal: (old.refusal ?? "") + textOf(event.delta),
      }));
    case "response.output_text.annotation.added":
      return withPart(response, event, (old) => ({
        ...old,
        annotations: [...(old.annotations ?? []), event.annotation as Annotation],
      }));
    case "response.reasoning_summary_part.added":
      return withSummary(response, event, () => (isObject(event.part) ? (event.part as ContentPart) : undefined));
    case "response.reasoning_summary_text.delta":
      return withSummary(response, event, (old) => old && { ...old, text: (old.text ?? "") + textOf(event.delta) });
    case "response.function_call_arguments.delta":
    case "response.mcp_call_arguments.delta":
      return withItem(response, event, (old) => old && { ...old, arguments: (old.arguments ?? "") + textOf(event.delta) });
    case "response.function_call_arguments.done":
    case "response.mcp_call_arguments.done":
      return withItem(response, event, (old) => old && { ...old, arguments: textOf(event.arguments) });
    default:
      return response;
  }
}

function isObject(value: unknown): value is object {
  return typeof value === "object" && value !== null;
}

function textOf(value: unknown): string {
  return typeof value === "string" ? value : "";
}

function withItem(
  response: ResponseObject,
  event: ResponseEvent,
  change: (old: OutputItem | undefined) => OutputItem | undefined,
): ResponseObject {
  const index = typeof event.output_index === "number" ? event.output_index : response.output.length - 1;
  const changed = index >= 0 && index <= response.output.length ? change(response.output[index]) : undefined;
  if (changed === undefined) return response;
  const output = response.output.slice();
  output[index] = changed;
  return { ...response, output };
}

function withSummary(
  response: ResponseObject,
  event: ResponseEvent,
  change: (old: ContentPart | undefined) => ContentPart | undefined,
): ResponseObject {
  return withItem(response, event, (item) => {
    if (item === undefined) return undefined;
    const summary = Array.isArray(item["summary"]) ? (item["summary"] as ContentPart[]).slice() : [];
    const index = typeof event.summary_index === "number" ? event.summary_index : summary.length - 1;
    const changed = index >= 0 && index <= summary.length ? change(summary[index]) : undefined;
    if (changed === undefined) return undefined;
    summary[index] = changed;
    return { ...item, summary };
  });
}

function withPart(
  response: ResponseObject,
  event: ResponseEvent,
  change: (old: ContentPart) => ContentPart,
): ResponseObject {
  return withItem(response, event, (item) => {
    if (item === undefined) return undefined;
    const content = (item.content ?? []).slice();
    const index = typeof event.content_index === "number" ? event.content_index : 0;
    if (index < 0 || index > content.length) return undefined;
    content[index] = change(content[index] ?? { type: "output_text", text: "", annotations: [] });
    return { ...item, content };
  });
}
