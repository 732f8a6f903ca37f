import { lazy, Suspense } from "react";
import type { ChartBlock } from "./blocks";
import { chartData, numberOf, tableOfChart } from "./chartData";
import { drawnKind } from "./chartSpec";
import { DataTable } from "./DataTable";
import { DrawnSafely } from "./DrawnSafely";
import { ExternalLink } from "./ExternalLink";
import { numberText } from "./numbers";

const VegaChart = lazy(() => import("./VegaChart"));

const MAX_SAID = 6;

export function Chart({ chart }: { chart: ChartBlock }) {
  const kind = drawnKind(chart);
  const numbers = <DataTable table={tableOfChart(chart)} />;
  return (
    <figure className="chart">
      {chart.title && <figcaption>{chart.title}</figcaption>}
      {kind === null ? (
        numbers
      ) : (
        <>
          <DrawnSafely instead={<p className="quiet-text">The chart cannot be drawn. Its numbers stand below.</p>}>
            <Suspense fallback={<div className="chart-place chart-waiting">Drawing the chart…</div>}>
              <VegaChart chart={chart} description={described(chart)} />
            </Suspense>
          </DrawnSafely>
          {!chart.beside_table && (
            <details>
              <summary>Numbers of the chart</summary>
              {numbers}
            </details>
          )}
        </>
      )}
      {chart.source && <ExternalLink address={chart.source.url}>{chart.source.title}</ExternalLink>}
    </figure>
  );
}

/** For who does not see it: what is drawn, and the numbers where they are few. */
function described(chart: ChartBlock): string {
  const { labels, series } = chartData(chart);
  const title = chart.title || [chart.y_axis, chart.x_axis].filter(Boolean).join(" by ") || "Chart";
  const [only] = series;
  if (series.length === 1 && only && labels.length <= MAX_SAID) {
    const said = labels.map((label) => `${label}: ${numberText(numberOf(only.points.get(label)) ?? "no value")}`);
    return `${title}. ${said.join("; ")}`;
  }
  return `${title}: ${labels.length} values${series.length > 1 ? ` of ${series.length} series` : ""}, in the table below`;
}
