import { cleanup, render, screen } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { afterEach, expect, test, vi } from "vitest";
import type { OutputItem, ResponseObject } from "../api/types";
import { Answer } from "./Answer";
import { sourcesOf } from "./sources";
import { answerParts } from "./answerParts";

afterEach(cleanup);

function response(output: OutputItem[], more: Partial<ResponseObject> = {}): ResponseObject {
  return { id: "resp_1", status: "completed", output, ...more };
}

function message(text: string, more: Partial<OutputItem> = {}, annotations: object[] = []): OutputItem {
  return { type: "message", status: "completed", content: [{ type: "output_text", text, annotations } as never], ...more };
}

const CALL: OutputItem = { type: "function_call", id: "fc_1", call_id: "c1", name: "query", arguments: '{"a":1}' };

test("Tools stand together between the texts around them, each with what came of it", () => {
  const output = [
    message("Before."),
    CALL,
    { type: "function_call_output", call_id: "c1", output: [{ type: "input_text", text: "42" }] },
    { type: "mcp_call", id: "m1", name: "search", title: "Searching", status: "failed", error: { message: "No" } },
    { type: "mcp_approval_request", id: "a1", name: "send" },
    message("After."),
    message("| what | the blocks say |", { id: "blocks_1" }),
  ];
  expect(answerParts(output as OutputItem[], false)).toEqual([
    { kind: "text", text: "Before." },
    {
      kind: "tools",
      steps: [
        { id: "fc_1", name: "query", status: "done", input: '{\n  "a": 1\n}', output: "42" },
        { id: "m1", name: "Searching", status: "failed", input: "", output: '{\n  "message": "No"\n}' },
      ],
    },
    { kind: "text", text: "After." },
  ]);
});

test.each([
  [true, "running"],
  [false, "stopped"],
])("A call without an output is running while the answer grows (%s), else it has no result", (isLive, status) => {
  const [part] = answerParts([CALL], isLive);
  expect(part?.kind === "tools" && part.steps[0]?.status).toBe(status);
});

test.each([
  ['{"id":9007199254740993}', '{"id":9007199254740993}'],
  ['{"share":1.10}', '{"share":1.10}'],
  ['{"a":[1,2.5]}', '{\n  "a": [\n    1,\n    2.5\n  ]\n}'],
  ["{not json", "{not json"],
])("Arguments are indented where no digit is lost: %s", (json, shown) => {
  const [part] = answerParts([{ ...CALL, arguments: json }], false);
  expect(part?.kind === "tools" && part.steps[0]?.input).toBe(shown);
});

test("A text that a worker's death cut goes on where it ended", () => {
  const parts = answerParts([message("```py\nx = ", { status: "incomplete" }), message("1\n```")], false);
  expect(parts).toEqual([{ kind: "text", text: "```py\nx = 1\n```" }]);
  const apart = answerParts([message("one"), message("two")], false);
  expect(apart).toHaveLength(2);
});

test("What is being done is said while it is done", () => {
  const thinking = { type: "reasoning", summary: [{ text: "Reading…" }, { text: "Writing SQL…" }] } as OutputItem;
  const tool = { type: "mcp_call", id: "m", name: "genie_1", title: "Asking Genie", status: "in_progress" } as OutputItem;
  render(<Answer response={response([tool, thinking], { status: "in_progress" })} streaming imageHosts={[]} />);
  expect(screen.getByText("Asking Genie…").tagName).toBe("SUMMARY");
  expect(screen.getAllByText("Writing SQL…")[0]?.tagName).toBe("SUMMARY");
  cleanup();
  render(<Answer response={response([{ ...tool, status: "completed" }, thinking])} streaming={false} imageHosts={[]} />);
  expect(screen.getByText("Steps: Asking Genie")).toBeTruthy();
  expect(screen.getByText("Thoughts")).toBeTruthy();
});

test("A mark leads to the source with its number, and other brackets stay as they are", () => {
  const annotations = [
    { type: "url_citation", url: "https://docs.example/a", title: "Delta", start_index: 6, end_index: 9 },
    { type: "url_citation", url: "javascript:alert(1)", title: "Bad", start_index: 9, end_index: 12 },
  ];
  const { container } = render(
    <Answer response={response([message("Text. [7][2] `x[7]` [8] [2, 7] [7, 9]", {}, annotations)])} streaming={false} imageHosts={[]} />,
  );
  const [mark] = screen.getAllByRole("link", { name: "Source 7: Delta" });
  expect(mark?.getAttribute("href")).toBe("https://docs.example/a");
  expect(container.querySelector(".markdown")?.textContent).toBe("Text. 72 x[7] [8] 27 [7, 9]");
  expect(screen.getByRole("region", { name: "Sources" }).textContent).toContain("Delta (docs.example)");
  expect(container.querySelectorAll("a[href^='javascript']")).toHaveLength(0);
});

test.each([
  ["characters", 8],
  ["UTF-16", 10],
])("The number of a mark is found though its place is counted in %s", (_, start) => {
  const text = "Two 🚀🚀: [5] [6]";
  const annotation = { type: "url_citation", url: "https://a.example", title: "A", start_index: start, end_index: start + 3 };
  const whole = { type: "file_citation", filename: "report.pdf", start_index: 0, end_index: 14, quote: "as it says" };
  const [first, second] = sourcesOf(response([message(text, {}, [annotation, whole])]), []);
  expect([first?.number, first?.title, first?.quote]).toEqual([1, "report.pdf", "as it says"]);
  expect([second?.number, second?.title]).toEqual([5, "A"]);
});

test.each<[Partial<ResponseObject>, string]>([
  [{ status: "failed", error: { message: "The model is away (error 12)." } }, "The model is away (error 12)."],
  [{ status: "cancelled" }, "The answer was stopped."],
  [{ status: "incomplete", incomplete_details: { reason: "max_output_tokens" } }, "limit of the model's output"],
  [{ status: "incomplete", incomplete_details: null }, "The answer is not complete."],
])("How an answer ended is said: %o", (more, sentence) => {
  render(<Answer response={response([message("Some")], more)} streaming={false} imageHosts={[]} />);
  expect(document.body.textContent).toContain(sentence);
});

test("Blocks are shown after the text; what is unknown or broken is left out alone", async () => {
  vi.spyOn(console, "error").mockImplementation(() => undefined);
  const onAsk = vi.fn();
  const blocks = [
    { kind: "hologram" },
    null,
    { kind: "table", title: "Broken" },
    { kind: "facts", title: "F", facts: [{ label: "State", value: "<b>ok</b>" }] },
    { kind: "image", url: "https://evil.example/p.png", alternative_text: "A plan", data: "" },
    {
      kind: "actions",
      id: "",
      actions: [
        { verb: "ask", title: "By month?", data: { question: "Show it by month" }, style: "default" },
        { verb: "call_tool", title: "Run again", data: {}, style: "default" },
        { verb: "remove_schedule", title: "Remove", data: {}, style: "default" },
      ],
    },
  ];
  const { container } = render(
    <Answer response={response([], { custom_outputs: { blocks } })} streaming={false} imageHosts={[]} onAsk={onAsk} />,
  );
  expect(container.textContent).toContain("<b>ok</b>");
  expect(container.textContent).toContain("cannot be shown");
  expect(container.textContent).toContain("Image: A plan");
  expect(container.querySelector("img")).toBeNull();
  expect(screen.queryByText("Run again")).toBeNull();
  await userEvent.click(screen.getByRole("button", { name: "By month?" }));
  expect(onAsk).toHaveBeenCalledWith("Show it by month");
});

test("Buttons that call a tool or ask for a file are offered where somebody does it, and no others", async () => {
  const onAction = vi.fn();
  const button = (verb: string, title: string) => ({ verb, title, data: { result: "r1" }, style: "default" });
  const columns = [{ name: "a", type: "text", plain: false }];
  const next = button("call_tool", "Next rows");
  const table = { kind: "table", title: "", columns, rows: [["x"]], total_rows: 2, source: null };
  const blocks = [
    { ...table, page: { first_row: 0, is_last: false, next_rows: next } },
    { ...table, page: { first_row: 1, is_last: true, next_rows: next } },
    { kind: "actions", id: "", actions: [button("send_file", "As a CSV file"), button("remove_schedule", "Remove")] },
  ];
  render(
    <Answer response={response([], { custom_outputs: { blocks } })} streaming={false} imageHosts={[]} onAction={onAction} />,
  );
  expect(screen.getAllByRole("button").map((each) => each.textContent)).toEqual(["Next rows", "As a CSV file"]);
  await userEvent.click(screen.getByRole("button", { name: "Next rows" }));
  expect(onAction.mock.calls[0]?.[0]).toEqual(next);
});
