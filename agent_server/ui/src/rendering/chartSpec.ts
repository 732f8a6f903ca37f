import type { TopLevelSpec } from "vega-lite";
import type { ChartBlock, ChartKind } from "./blocks";
import { type ChartData, chartData, numberOf } from "./chartData";
import { numberText } from "./numbers";

export interface ChartColours {
  text: string;
  quiet: string;
  grid: string;
  background: string;
  series: string[];
}

const PLOT_HEIGHT = 260;
const ROW_HEIGHT = 24;
/** Beyond these a chart scrolls. */
export const ROWS_IN_VIEW = 18;
/** The agent draws eight values, and the sum of the others. */
const MAX_SLICES = 9;
const MAX_LARGE_POINTS = 60;
/** A label below a bar has this much room, in characters, of all of the width together. */
const CHARACTERS_BELOW = 84;
const MAX_TIME_TICKS = 12;
const DAY_MILLISECONDS = 86_400_000;
const CHARACTER_PIXELS = 7;
const LABEL_PIXELS = 190;
const DAY = /^\d{4}-\d{2}(?:-\d{2})?$/;
const MOMENT = /^(\d{4}-\d{2}-\d{2})[T ](\d{2}:\d{2}(?::\d{2}(?:\.\d{1,9})?)?)(?:Z|[+-]00:?00)?$/;

interface Row {
  label: string;
  series: string;
  value: number | null;
  /** In milliseconds since 1970, on an axis of time. */
  time: number | null;
  /** What the tooltip says: all digits. */
  shown: string;
  /** Of the series, and of the label, from 0. */
  order: number;
  rank: number;
}

/** The kind that shows these numbers as they are, or null where none does. */
export function drawnKind(chart: ChartBlock): ChartKind | null {
  const { labels, series } = chartData(chart);
  const values = series.flatMap(({ points }) => [...points.values()].map((each) => each.value));
  const numbers = values.filter((value) => value !== null);
  if (numbers.length === 0) return null;
  let kind = chart.chart;
  if (kind === "pie") {
    const isWhole = numbers.length === values.length && numbers.every((value) => value >= 0) && numbers.some(Boolean);
    if (isWhole && labels.length <= MAX_SLICES) return "pie";
    kind = "horizontal_bar";
  }
  if (kind === "line" && labels.length < 2) return "vertical_bar";
  if (kind === "vertical_bar" && series.length === 1 && !fitsBelow(labels)) return "horizontal_bar";
  return kind;
}

function fitsBelow(labels: string[]): boolean {
  return labels.every(isTime) || Math.max(...labels.map((each) => each.length)) * labels.length <= CHARACTERS_BELOW;
}

/** Vega-Lite of the block, `width` pixels wide. Null where no drawing shows the numbers as they are. */
export function chartSpec(chart: ChartBlock, width: number, colours: ChartColours): TopLevelSpec | null {
  const kind = drawnKind(chart);
  if (kind === null) return null;
  const data = chartData(chart);
  return {
    $schema: "https://vega.github.io/schema/vega-lite/v6.json",
    data: { values: rowsOf(data), format: { parse: null } },
    width,
    height: kind === "horizontal_bar" ? barsHeight(data) : PLOT_HEIGHT,
    autosize: { type: "fit-x", contains: "padding" },
    padding: 4,
    config: config(colours),
    ...(kind === "pie" ? pie(data, colours) : xy(kind, chart, data, width, colours)),
  } as TopLevelSpec;
}

function rowsOf({ labels, series }: ChartData): Row[] {
  return series.flatMap(({ name, points }, order) =>
    labels.map((label, rank) => {
      const point = points.get(label);
      const number = numberOf(point);
      const shown = number === null ? "" : numberText(number);
      return { label, time: timeOf(label), series: name, value: point?.value ?? null, shown, order, rank };
    }),
  );
}

function barsHeight({ labels, series }: ChartData): number {
  return Math.max(2, labels.length) * ROW_HEIGHT * Math.max(1, series.length > 1 ? series.length * 0.6 : 1);
}

function pie({ labels }: ChartData, colours: ChartColours): object {
  return {
    mark: { type: "arc", innerRadius: 56, stroke: colours.background, strokeWidth: 2 },
    encoding: {
      tooltip: TOOLTIP,
      theta: { field: "value", type: "quantitative", stack: true },
      order: { field: "rank", type: "quantitative" },
      color: {
        field: "label",
        type: "nominal",
        scale: { domain: labels, range: cycled(colours.series, labels.length) },
        legend: { title: null, orient: "right", labelLimit: LABEL_PIXELS },
      },
    },
  };
}

function xy(kind: ChartKind, chart: ChartBlock, data: ChartData, width: number, colours: ChartColours): object {
  const names = data.series.map((each) => each.name);
  const isAcross = kind === "horizontal_bar";
  const label = labelAxis(kind, chart, data, width);
  const values = rowsOf(data).flatMap((row) => (row.value === null ? [] : [row.value]));
  const value = {
    field: "value",
    type: "quantitative",
    title: chart.y_axis || (data.series.length === 1 ? names[0] : "") || null,
    stack: kind === "stacked_bar" ? "zero" : null,
    scale: { zero: kind !== "line", nice: true },
    axis: {
      ...valueAxis(values),
      tickCount: isAcross ? 6 : 5,
      // No half of a run.
      tickMinStep: values.every(Number.isInteger) ? 1 : undefined,
      orient: isAcross && data.labels.length > ROWS_IN_VIEW ? "top" : undefined,
      gridColor: { condition: { test: "datum.value === 0", value: colours.quiet }, value: colours.grid },
    },
  };
  const offset = kind === "grouped_bar" || (isAcross && names.length > 1) ? { field: "series", sort: names } : undefined;
  return {
    mark:
      kind === "line"
        ? { type: "line", strokeWidth: 2, point: { size: data.labels.length <= MAX_LARGE_POINTS ? 40 : 9 }, ...GAPS }
        : { type: "bar", cornerRadiusEnd: kind === "stacked_bar" ? 0 : 2, ...GAPS },
    encoding: {
      ...(isAcross ? { y: label, x: value } : { x: label, y: value }),
      ...(offset && (isAcross ? { yOffset: offset } : { xOffset: offset })),
      tooltip: TOOLTIP,
      order: kind === "stacked_bar" ? { field: "order", type: "quantitative" } : undefined,
      color: {
        field: "series",
        type: "nominal",
        scale: { domain: names, range: cycled(colours.series, names.length) },
        legend: names.length > 1 ? { title: null, orient: "top", columns: 3, labelLimit: LABEL_PIXELS } : null,
      },
    },
  };
}

/** Makes Vega call the tooltip's handler, which reads all of the row. */
const TOOLTIP = { field: "shown", type: "nominal" };

/** A line breaks where there is no value, and a bar is left out. */
const GAPS = { invalid: "break-paths-show-path-domains" };

function labelAxis(kind: ChartKind, chart: ChartBlock, { labels }: ChartData, width: number): object {
  const title = chart.x_axis || null;
  if (kind === "line" && labels.every(isTime)) {
    // Where days that are missing take room too.
    const axis = { labelOverlap: true, grid: false, ...timeTicks(labels) };
    return { field: "time", type: "temporal", title, scale: { type: "utc" }, axis };
  }
  const isDays = labels.every((each) => /^\d{4}-\d{2}-\d{2}[T ]00:00/.test(each));
  return {
    field: "label",
    type: "nominal",
    title,
    sort: labels,
    axis: {
      labelOverlap: true,
      labelLimit: LABEL_PIXELS,
      labelAngle: kind === "horizontal_bar" || pixels(labels) <= width ? 0 : -40,
      grid: false,
      ...(isDays && { labelExpr: "slice(datum.label, 0, 10)" }),
    },
  };
}

/** About as wide as labels of an axis are beside each other. */
function pixels(labels: string[]): number {
  return (Math.max(...labels.map((label) => label.length)) + 2) * CHARACTER_PIXELS * labels.length;
}

/** At the times themselves where they are few: others between them would bear the same name twice. */
function timeTicks(labels: string[]): object {
  if (labels.length > MAX_TIME_TICKS) return {};
  const values = [...new Set(labels.map(timeOf))];
  const isMonths = labels.every((label) => label.length === "2026-01".length);
  const isDays = values.every((value) => value !== null && value % DAY_MILLISECONDS === 0);
  return { values: { expr: JSON.stringify(values) }, format: isMonths ? "%b %Y" : isDays ? "%d %b %Y" : "%d %b %H:%M" };
}

function isTime(label: string): boolean {
  return timeOf(label) !== null;
}

/** A time without a zone is taken as it stands there, wherever the browser is. */
function timeOf(label: string): number | null {
  const moment = MOMENT.exec(label);
  if (!moment && !DAY.test(label)) return null;
  const time = Date.parse(moment ? `${moment[1]}T${moment[2]}Z` : label);
  return Number.isNaN(time) ? null : time;
}

/** Large numbers as 3.3M or 2B: "G" is what a machine says. */
function valueAxis(values: number[]): object {
  const largest = Math.max(...values.map(Math.abs));
  if (largest >= 1e15) return { format: ".3~e" };
  if (largest >= 10_000) return { format: "~s", labelExpr: "datum.value === 0 ? '0' : replace(datum.label, 'G', 'B')" };
  return { format: largest >= 1_000 ? ",~f" : "~r" };
}

function cycled(colours: string[], count: number): string[] {
  return Array.from({ length: count }, (_, index) => colours[index % colours.length] ?? "");
}

function config(colours: ChartColours): object {
  const text = { labelColor: colours.quiet, titleColor: colours.text, labelFontSize: 12, titleFontSize: 12 };
  return {
    // The figure around it says what it shows, and the numbers stand in a table.
    aria: false,
    background: null,
    font: "system-ui, sans-serif",
    view: { stroke: null },
    axis: { ...text, gridColor: colours.grid, domainColor: colours.grid, tickColor: colours.grid, titleFontWeight: 500 },
    legend: { ...text, labelColor: colours.text, symbolType: "circle" },
  };
}
