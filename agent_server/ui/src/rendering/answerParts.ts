import type { OutputItem } from "../api/types";

/** A call of a tool, and what came of it. */
export interface ToolStep {
  id: string;
  name: string;
  status: "running" | "done" | "failed" | "stopped";
  input: string;
  output: string;
}

export type AnswerPart =
  | { kind: "text"; text: string }
  | { kind: "refusal"; text: string }
  | { kind: "reasoning"; texts: string[] }
  | { kind: "tools"; steps: ToolStep[] };

const MAX_SHOWN_CHARACTERS = 20_000;
/** Approvals are asked for by the page itself. */
const NOT_SHOWN: ReadonlySet<string> = new Set([
  "mcp_approval_request",
  "mcp_approval_response",
  "mcp_list_tools",
  "function_call_output",
]);

/** Of the message that says in text what the blocks are, which are shown themselves. */
const BLOCKS_ID_PREFIX = "blocks_";

/** What an answer consists of, in its order. `isLive`: it still grows, so a call without an output is running. */
export function answerParts(output: readonly OutputItem[], isLive: boolean): AnswerPart[] {
  const outputs = new Map(
    output.flatMap((item) => (item.type === "function_call_output" && item.call_id ? [[item.call_id, item]] : [])),
  );
  const parts: AnswerPart[] = [];
  let continues = false;
  for (const item of output) {
    if (NOT_SHOWN.has(item.type) || item.id?.startsWith(BLOCKS_ID_PREFIX)) continue;
    if (item.type === "message") addMessage(parts, item, continues);
    else if (item.type === "reasoning") addReasoning(parts, item);
    else addStep(parts, toolStep(item, outputs.get(item.call_id ?? ""), isLive));
    // A worker died while it wrote this: the next message goes on with its text.
    continues = item.type === "message" && item.status === "incomplete";
  }
  return parts;
}

function addMessage(parts: AnswerPart[], item: OutputItem, continues: boolean): void {
  let goesOn = continues;
  for (const part of item.content ?? []) {
    const last = parts.at(-1);
    if (part.refusal) parts.push({ kind: "refusal", text: part.refusal });
    else if (!part.text) continue;
    else if (goesOn && last?.kind === "text") last.text += part.text;
    else parts.push({ kind: "text", text: part.text });
    goesOn = false;
  }
}

function addReasoning(parts: AnswerPart[], item: OutputItem): void {
  const texts = [item["summary"], item.content].flatMap((each) => (Array.isArray(each) ? each : []));
  const said = texts.filter(hasText).map((each) => each.text.trim());
  if (said.some(Boolean)) parts.push({ kind: "reasoning", texts: said.filter(Boolean) });
}

function addStep(parts: AnswerPart[], step: ToolStep): void {
  const last = parts.at(-1);
  if (last?.kind === "tools") last.steps.push(step);
  else parts.push({ kind: "tools", steps: [step] });
}

function toolStep(item: OutputItem, output: OutputItem | undefined, isLive: boolean): ToolStep {
  const result = shownText(item.error) || shownText(item.output ?? output?.output);
  return {
    id: item.id ?? item.call_id ?? "",
    name: shownText(item["title"]) || item.name || item.type.replace(/_call$/, "").replaceAll("_", " "),
    status: statusOf(item, output, isLive),
    input: shownText(item.arguments ?? item["action"] ?? item["code"] ?? item["queries"] ?? item["input"]),
    output: result,
  };
}

function statusOf(item: OutputItem, output: OutputItem | undefined, isLive: boolean): ToolStep["status"] {
  if (item.error || item.status === "failed") return "failed";
  const waitsForOutput = item.type === "function_call";
  if (waitsForOutput ? output : item.status === "completed" || item.output != null) return "done";
  if (isLive && item.status !== "incomplete") return "running";
  return waitsForOutput || item.status === "incomplete" ? "stopped" : "done";
}

/** Text as it is, but JSON indented; content of the Responses API by its texts. */
function shownText(value: unknown): string {
  if (value === undefined || value === null) return "";
  if (Array.isArray(value) && value.every(hasText)) return cut(value.map((each) => each.text).join("\n"));
  if (typeof value !== "string") return cut(JSON.stringify(value, null, 2));
  return value.length <= MAX_SHOWN_CHARACTERS && /^\s*[[{]/.test(value) ? indented(value) : cut(value);
}

/** The JSON as it is where it would lose digits, as of an id beyond 2^53. */
function indented(json: string): string {
  try {
    const shown = JSON.stringify(JSON.parse(json), null, 2);
    return String(shown.match(NUMBERS)) === String(json.match(NUMBERS)) ? shown : json;
  } catch {
    return json;
  }
}

const NUMBERS = /\d[\d.eE+-]*/g;

function hasText(value: unknown): value is { text: string } {
  return typeof value === "object" && value !== null && typeof (value as { text?: unknown }).text === "string";
}

function cut(text: string): string {
  return text.length <= MAX_SHOWN_CHARACTERS ? text : `${text.slice(0, MAX_SHOWN_CHARACTERS)}…`;
}
