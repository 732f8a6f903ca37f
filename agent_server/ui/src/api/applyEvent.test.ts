import { describe, expect, it } from "vitest";
import { applyEvent } from "./applyEvent";
import type { ResponseEvent, ResponseObject } from "./types";

const CREATED: ResponseEvent = { type: "response.created", response: { id: "resp_1", status: "in_progress", output: [] } };

function after(...events: ResponseEvent[]): ResponseObject | null {
  let response: ResponseObject | null = null;
  for (const event of [CREATED, ...events]) response = applyEvent(response, event);
  return response;
}

describe("the response after its events", () => {
  it("has tool calls with their arguments", () => {
    const item = { type: "function_call", id: "fc_1", name: "ask_genie", arguments: "" };
    const response = after(
      { type: "response.output_item.added", output_index: 0, item },
      { type: "response.function_call_arguments.delta", output_index: 0, delta: '{"a"' },
      { type: "response.function_call_arguments.delta", output_index: 0, delta: ":1}" },
    );
    expect(response?.output).toEqual([{ ...item, arguments: '{"a":1}' }]);
  });

  it("has citations as annotations, and text of several parts apart", () => {
    const annotation = { type: "url_citation", url: "https://example.com/", title: "Example" };
    const response = after(
      { type: "response.output_item.added", output_index: 0, item: { type: "message", content: [] } },
      { type: "response.output_text.delta", output_index: 0, content_index: 0, delta: "One" },
      { type: "response.output_text.annotation.added", output_index: 0, content_index: 0, annotation },
      { type: "response.output_text.delta", output_index: 0, content_index: 1, delta: "Two" },
    );
    expect(response?.output[0]?.content).toMatchObject([{ text: "One", annotations: [annotation] }, { text: "Two" }]);
  });

  it("has what is being done, line by line", () => {
    const part = { type: "summary_text", text: "" };
    const response = after(
      { type: "response.output_item.added", output_index: 0, item: { type: "reasoning", id: "rs_1", summary: [] } },
      { type: "response.reasoning_summary_part.added", output_index: 0, summary_index: 0, part },
      { type: "response.reasoning_summary_text.delta", output_index: 0, summary_index: 0, delta: "Reading…" },
      { type: "response.reasoning_summary_part.added", output_index: 0, summary_index: 1, part },
      { type: "response.reasoning_summary_text.delta", output_index: 0, summary_index: 1, delta: "Writing SQL…" },
      { type: "response.reasoning_summary_text.delta", output_index: 0, summary_index: 7, delta: "x" },
    );
    expect(response?.output[0]).toMatchObject({ summary: [{ text: "Reading…" }, { text: "Writing SQL…" }] });
  });

  it.each<ResponseEvent>([
    { type: "response.output_text.delta", output_index: 7, content_index: 0, delta: "x" },
    { type: "response.output_text.delta", output_index: -1, content_index: 0, delta: "x" },
    { type: "response.output_item.added", output_index: 0, item: "text" },
    { type: "response.something.new", output_index: 0 },
    { type: "error", message: "No." },
  ])("is the same after an event that fits nowhere: $type", (event) => {
    const before = after();
    expect(applyEvent(before, event)).toBe(before);
  });

  it("is unknown before the first event that carries one", () => {
    expect(applyEvent(null, { type: "response.output_text.delta", output_index: 0, delta: "x" })).toBeNull();
  });
});
