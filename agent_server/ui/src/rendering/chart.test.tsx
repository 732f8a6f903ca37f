import { cleanup, render, screen, within } from "@testing-library/react";
import { parse, View } from "vega";
import { expressionInterpreter } from "vega-interpreter";
import { compile } from "vega-lite";
import { afterEach, expect, test } from "vitest";
import type { Action, ChartBlock, ChartKind, TableBlock } from "./blocks";
import { Chart } from "./Chart";
import { tableOfChart } from "./chartData";
import { chartSpec, drawnKind } from "./chartSpec";
import { DataTable, rowsNote } from "./DataTable";
import { numberText } from "./numbers";

afterEach(cleanup);

type Given = [label: string, value: number | null, exact?: string];

function chart(kind: ChartKind, ...series: [name: string, points: Given[]][]): ChartBlock {
  return {
    kind: "chart",
    chart: kind,
    series: series.map(([name, points]) => ({
      name,
      points: points.map(([label, value, exact]) => ({ label, value, exact: exact ?? "" })),
    })),
    title: "",
    x_axis: "Region",
    y_axis: "Revenue",
    source: null,
    sums_up_rest: false,
    beside_table: false,
  };
}

const COLOURS = { text: "black", quiet: "gray", grid: "silver", background: "white", series: ["red", "blue", "green"] };

/** The marks as Vega draws them, without code that is compiled from text. */
async function drawn(block: ChartBlock): Promise<{ shown: string; height: number; y: number; width: number; x: number }[]> {
  const spec = chartSpec(block, 600, COLOURS);
  if (!spec) return [];
  const view = new View(parse(compile(spec).spec, undefined, { ast: true }), { expr: expressionInterpreter, renderer: "none" });
  await view.runAsync();
  const found: never[] = [];
  collect(view.scenegraph() as never, found);
  view.finalize();
  return found;
}

function collect(node: { root?: object; items?: object[]; name?: string; datum?: { shown?: string } }, found: object[]): void {
  if (node.root) collect(node.root, found);
  if (node.name?.match(/^(layer_\d+_)?marks$/)) {
    for (const item of (node.items ?? []) as { datum: { shown: string } }[]) found.push({ ...item, shown: item.datum.shown });
  } else for (const item of node.items ?? []) collect(item, found);
}

test("A bar below zero is drawn below zero, as long as its number says", async () => {
  const bars = await drawn(chart("vertical_bar", ["n", [["a", 100], ["b", -50], ["c", 0]]]));
  const [up, down, none] = bars;
  expect(bars.map((bar) => bar.shown)).toEqual(["100", "-50", "0"]);
  expect(up!.height).toBeCloseTo(2 * down!.height);
  expect(down!.y).toBeCloseTo(up!.y + up!.height);
  expect(none!.height).toBe(0);
});

test.each<[string, ChartBlock, number]>([
  ["a label twice", chart("vertical_bar", ["n", [["x", 1], ["x", 2]]]), 2],
  ["three series beside each other", chart("grouped_bar", ["a", [["x", 1]]], ["b", [["x", 2]]], ["c", [["x", -3]]]), 3],
  ["two series with one name", chart("stacked_bar", ["a", [["x", 1]]], ["a", [["x", 2]]]), 2],
  ["sixty categories", chart("vertical_bar", ["n", Array.from({ length: 60 }, (_, n): Given => [`category ${n}`, n - 30])]), 60],
  ["a pie", chart("pie", ["n", [["a", 3], ["b", 1]]]), 2],
  ["a pie with a loss, as bars", chart("pie", ["n", [["a", 3], ["b", -1]]]), 2],
])("Every number is drawn: %s", async (_, block, count) => {
  expect(await drawn(block)).toHaveLength(count);
});

test("Values that are missing in a stack hide no others, and what is below zero is stacked below", async () => {
  const bars = await drawn(
    chart("stacked_bar", ["a", [["x", 100], ["y", 1]]], ["b", [["x", null], ["y", null]]], ["c", [["x", 50], ["y", -1]]]),
  );
  const [a, c] = ["100", "50"].map((shown) => bars.find((bar) => bar.shown === shown)!);
  expect(a!.height).toBeCloseTo(2 * c!.height);
  expect(c!.y + c!.height).toBeCloseTo(a!.y);
  const [up, down] = ["1", "-1"].map((shown) => bars.find((bar) => bar.shown === shown)!);
  expect(down!.y).toBeCloseTo(up!.y + up!.height);
  expect(down!.height).toBeCloseTo(up!.height);
});

test("A label without text is a category like any other", async () => {
  const bars = await drawn(chart("vertical_bar", ["n", [["", 1], ["–", 2], ["C", 4]]]));
  expect(bars.map((bar) => bar.shown)).toEqual(["1", "2", "4"]);
  expect(new Set(bars.map((bar) => bar.x)).size).toBe(3);
});

test.each<[ChartBlock, ChartKind | null]>([
  [chart("pie", ["n", [["a", 0], ["b", 0]]]), "horizontal_bar"],
  [chart("pie", ["n", [["a", 1], ["b", null]]]), "horizontal_bar"],
  [chart("pie", ["n", Array.from({ length: 9 }, (_, n): Given => [`${n}`, 1])]), "pie"],
  [chart("pie", ["n", Array.from({ length: 10 }, (_, n): Given => [`${n}`, 1])]), "horizontal_bar"],
  [chart("vertical_bar", ["n", [["a".repeat(90), 1], ["b", 2]]]), "horizontal_bar"],
  [chart("vertical_bar", ["n", Array.from({ length: 60 }, (_, n): Given => [`20${10 + n}-01-01`, n])]), "vertical_bar"],
  [chart("line", ["n", [["a", 1]]]), "vertical_bar"],
  [chart("line", ["n", [["a", null], ["b", null]]]), null],
])("A kind that would hide numbers is drawn as another: %#", (block, kind) => {
  expect(drawnKind(block)).toBe(kind);
});

test("The table of a chart has its numbers with all digits, gaps, and labels in the order of time", () => {
  const block = chart("line", ["a", [["2026-02", 2, "2.00"], ["2026-03", null]]], ["b", [["2026-01", 1e21]]]);
  expect(tableOfChart(block).rows).toEqual([
    ["2026-01", null, 1e21],
    ["2026-02", "2.00", null],
    ["2026-03", null, null],
  ]);
});

test("A chart says what it shows, and its numbers stand in a table", () => {
  render(<Chart chart={{ ...chart("vertical_bar", ["n", [["EMEA", -1234.5], ["APAC", null]]]), title: "Sales" }} />);
  const table = screen.getByRole("table", { hidden: true });
  expect(within(table).getAllByRole("cell", { hidden: true }).map((each) => each.textContent)).toEqual(["EMEA", "-1,234.5", "APAC", "–"]);
});

test("Without a number there is a table alone", () => {
  render(<Chart chart={chart("vertical_bar", ["n", [["a", null]]])} />);
  expect(document.querySelector("details")).toBeNull();
  expect(screen.getByRole("table")).toBeTruthy();
});

test.each<[string | number, boolean, string]>([
  [1234567.5, false, "1,234,567.5"],
  [-1234, false, "-1,234"],
  [2026, true, "2026"],
  ["9007199254740993", false, "9,007,199,254,740,993"],
  ["1234.10", false, "1,234.10"],
  [1e21, false, "1,000,000,000,000,000,000,000"],
  [1.5e-7, false, "0.00000015"],
  ["3.336E8", false, "333,600,000"],
  ["n/a", false, "n/a"],
  [0, false, "0"],
])("A number is written with all its digits: %s", (value, plain, expected) => {
  expect(numberText(value, plain)).toBe(expected);
});

const TABLE: TableBlock = {
  kind: "table",
  columns: [
    { name: "Name", type: "text", plain: false },
    { name: "Rows", type: "number", plain: false },
  ],
  rows: Array.from({ length: 40 }, (_, n) => [`t${n}`, n]),
  total_rows: null,
  title: "",
  source: null,
  page: null,
};

const NEXT: Action = { verb: "call_tool", title: "Next rows", data: { tool: "next_rows", first_row: "40" }, style: "default" };

test.each<[Partial<TableBlock>, string]>([
  [{}, ""],
  [{ total_rows: 1200 }, "The first 40 of 1,200 rows."],
  [{ rows: [], total_rows: 0 }, "No rows."],
  [{ page: { first_row: 40, is_last: false, next_rows: NEXT } }, "Rows 41 to 80."],
  [{ page: { first_row: 40, is_last: true, next_rows: NEXT } }, "Rows 41 to 80 of 80."],
  [{ page: { first_row: 0, is_last: false, next_rows: NEXT } }, "The first 40 rows."],
])("What a table leaves out is said: %o", (more, note) => {
  expect(rowsNote({ ...TABLE, ...more })).toBe(note);
});

test("A long table shows the rest of its rows when asked", async () => {
  render(<DataTable table={TABLE} />);
  expect(screen.getAllByRole("row")).toHaveLength(16);
  screen.getByRole("button", { name: "Show all 40 rows" }).click();
  expect(await screen.findByText("t39")).toBeTruthy();
});
