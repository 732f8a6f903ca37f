import type { Cell, ChartBlock, Column, Point, TableBlock } from "./blocks";
import { inItsOrder } from "./inItsOrder";
import { NO_VALUE } from "./numbers";

export interface LabelledSeries {
  name: string;
  /** By the label on the axis; null is a gap, as is a label that is missing. */
  points: ReadonlyMap<string, Point>;
}

export interface ChartData {
  labels: string[];
  series: LabelledSeries[];
}

const TIME = /^\d{4}-\d{2}/;

/** The labels of the axis, all different, and the points of each series by them. A label that a series has twice is two. */
export function chartData(chart: ChartBlock): ChartData {
  const keys = new Map<string, string>();
  const series = chart.series.map((each) => {
    const seen = new Map<string, number>();
    return each.points.map((point): [string, Point] => {
      const before = seen.get(point.label) ?? 0;
      seen.set(point.label, before + 1);
      const key = `${before} ${point.label}`;
      keys.set(key, inItsOrder(point.label) || NO_VALUE);
      return [key, point];
    });
  });
  const labels = distinct([...keys.values()]);
  const labelOf = new Map([...keys.keys()].map((key, index) => [key, labels[index] ?? ""]));
  const names = distinct(chart.series.map((each) => each.name || chart.y_axis || "Value"));
  return {
    labels: inOrder(labels, chart),
    series: series.map((points, index) => ({
      name: names[index] ?? "",
      points: new Map(points.map(([key, point]) => [labelOf.get(key) ?? "", point])),
    })),
  };
}

/** The numbers of a chart, a column for each series. */
export function tableOfChart(chart: ChartBlock): TableBlock {
  const { labels, series } = chartData(chart);
  const columns: Column[] = [
    { name: chart.x_axis || "Label", type: "text", plain: false },
    ...series.map(({ name }): Column => ({ name, type: "number", plain: false })),
  ];
  const rows = labels.map((label): Cell[] => [label, ...series.map(({ points }) => numberOf(points.get(label)))]);
  return { kind: "table", columns, rows, total_rows: null, title: "", source: null, page: null };
}

export function numberOf(point: Point | undefined): string | number | null {
  return point ? point.exact || point.value : null;
}

/** Series that begin at different times have their labels in another order than time. */
function inOrder(labels: string[], chart: ChartBlock): string[] {
  const isTime = chart.chart !== "horizontal_bar" && labels.every((label) => TIME.test(label));
  return isTime ? labels.toSorted() : labels;
}

function distinct(names: string[]): string[] {
  const taken = new Set(names);
  const seen = new Map<string, number>();
  return names.map((name) => {
    let count = (seen.get(name) ?? 0) + 1;
    let shown = count > 1 ? `${name} (${count})` : name;
    while (count > 1 && taken.has(shown)) shown = `${name} (${++count})`;
    seen.set(name, count);
    taken.add(shown);
    return shown;
  });
}
