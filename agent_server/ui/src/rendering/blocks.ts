/** The blocks of `app/content/blocks.py`, as JSON. They come from the server's own code, never from a model's text. */

export type Cell = string | number | boolean | null;

export interface Link {
  title: string;
  url: string;
}

export interface TextBlock {
  kind: "text";
  text: string;
}

export interface Column {
  name: string;
  type: "text" | "number" | "boolean" | "date" | "timestamp";
  plain: boolean;
}

export interface TableBlock {
  kind: "table";
  columns: Column[];
  rows: Cell[][];
  total_rows: number | null;
  title: string;
  source: Link | null;
  page: { first_row: number; is_last: boolean; next_rows: Action } | null;
}

export interface ImageBlock {
  kind: "image";
  url: string;
  alternative_text: string;
  /** A PNG in base64, which is shown instead of `url`. */
  data: string;
}

export interface Point {
  label: string;
  value: number | null;
  /** All digits of a number where a float has others. */
  exact: string;
}

export interface Series {
  name: string;
  points: Point[];
}

export type ChartKind = "vertical_bar" | "horizontal_bar" | "line" | "pie" | "grouped_bar" | "stacked_bar";

export interface ChartBlock {
  kind: "chart";
  chart: ChartKind;
  series: Series[];
  title: string;
  x_axis: string;
  y_axis: string;
  source: Link | null;
  sums_up_rest: boolean;
  beside_table: boolean;
}

export interface CodeBlock {
  kind: "code";
  code: string;
  language: string;
  title: string;
}

export interface FactsBlock {
  kind: "facts";
  facts: { label: string; value: string }[];
  title: string;
}

export interface CitationBlock {
  kind: "citation";
  position: number;
  title: string;
  url: string | null;
  quote: string;
}

/** Verbs of buttons, as in `app/messaging`. */
export const CALL_TOOL = "call_tool";
export const SEND_FILE = "send_file";

export interface Action {
  verb: string;
  title: string;
  data: Record<string, string>;
  style: "default" | "positive" | "destructive";
}

export interface ActionsBlock {
  kind: "actions";
  actions: Action[];
  id: string;
}

export interface FormInput {
  name: string;
  label: string;
  value: string;
  choices: { value: string; title: string }[];
}

export interface Form {
  title: string;
  inputs: FormInput[];
  action: Action;
  id: string;
}

export interface FormsBlock {
  kind: "forms";
  forms: Form[];
}

export interface FoldedBlock {
  kind: "folded";
  title: string;
  blocks: Block[];
}

export type Block =
  | TextBlock
  | TableBlock
  | ChartBlock
  | CodeBlock
  | FactsBlock
  | ImageBlock
  | CitationBlock
  | ActionsBlock
  | FormsBlock
  | FoldedBlock;

const KINDS: ReadonlySet<unknown> = new Set<Block["kind"]>([
  "text",
  "table",
  "chart",
  "code",
  "facts",
  "image",
  "citation",
  "actions",
  "forms",
  "folded",
]);

/** Those that this page knows; a newer server may send others. */
export function blocksOf(value: unknown): Block[] {
  if (!Array.isArray(value)) return [];
  return value.filter((each: unknown): each is Block => isObject(each) && KINDS.has(each["kind"]));
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null;
}
