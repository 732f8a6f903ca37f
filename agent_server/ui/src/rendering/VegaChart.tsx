import { useEffect, useRef, useState } from "react";
import { type Item, type Loader, parse, View } from "vega";
import { expressionInterpreter } from "vega-interpreter";
import { compile } from "vega-lite";
import type { ChartBlock } from "./blocks";
import { chartData } from "./chartData";
import { type ChartColours, chartSpec, ROWS_IN_VIEW } from "./chartSpec";
import { useColours } from "./useColours";

/** What a chart shows is in its block: it loads nothing. */
const NO_LOADER: Loader = {
  load: refused,
  sanitize: refused,
  http: refused,
  file: refused,
};

async function refused(): Promise<never> {
  throw new Error("A chart loads nothing.");
}

const MIN_WIDTH = 240;

/** Imported with the first chart: Vega is larger than the rest of the page. */
export default function VegaChart({ chart, description }: { chart: ChartBlock; description: string }) {
  const place = useRef<HTMLDivElement>(null);
  const width = useWidth(place);
  const colours = useColours();
  const [tip, setTip] = useState<Tip | null>(null);
  const [hasFailed, setHasFailed] = useState(false);

  useEffect(() => {
    const element = place.current;
    if (!element || width < MIN_WIDTH) return undefined;
    let view: View;
    try {
      view = viewOf(chart, width, colours);
    } catch (error) {
      console.error("A chart could not be drawn", error);
      setHasFailed(true);
      return undefined;
    }
    // Without an event where the view is finalized.
    view.tooltip((_handler, event: MouseEvent | null, item) => setTip(event && tipOf(event, item, element)));
    view.initialize(element).runAsync().catch(() => setHasFailed(true));
    return () => {
      setTip(null);
      view.finalize();
    };
  }, [chart, width, colours]);

  if (hasFailed) return <p className="quiet-text">The chart cannot be drawn. Its numbers stand below.</p>;
  const scrolls = chartData(chart).labels.length > ROWS_IN_VIEW;
  return (
    <div className="chart-place" tabIndex={scrolls ? 0 : undefined}>
      <div role="img" aria-label={description}>
        <div ref={place} className="chart-drawing" aria-hidden="true" />
      </div>
      {tip && <ChartTip tip={tip} />}
    </div>
  );
}

function viewOf(chart: ChartBlock, width: number, colours: ChartColours): View {
  const spec = chartSpec(chart, width, colours);
  if (spec === null) throw new Error("No drawing shows these numbers.");
  // As a tree that is interpreted: the page's Content-Security-Policy forbids what Vega would compile.
  const program = parse(compile(spec).spec, undefined, { ast: true });
  return new View(program, { expr: expressionInterpreter, loader: NO_LOADER, renderer: "svg", hover: true });
}

interface Tip {
  label: string;
  series: string;
  shown: string;
  left: number;
  top: number;
  isRight: boolean;
}

/** Of a line the points have one: the line itself knows its first number alone. */
function tipOf(event: MouseEvent, item: Item | null | undefined, element: HTMLElement): Tip | null {
  if (event.type === "pointerout" || event.type === "mouseout" || !item || item.mark.marktype === "line") return null;
  const { label, series, shown } = (item.datum ?? {}) as Record<string, unknown>;
  if (typeof shown !== "string") return null;
  const box = element.getBoundingClientRect();
  const left = event.clientX - box.left;
  return {
    label: String(label),
    series: String(series),
    shown,
    left,
    top: event.clientY - box.top,
    isRight: left > box.width / 2,
  };
}

function ChartTip({ tip }: { tip: Tip }) {
  return (
    <div className={tip.isRight ? "chart-tip to-left" : "chart-tip"} style={{ left: tip.left, top: tip.top }}>
      <strong>{tip.shown}</strong> {tip.series}
      <br />
      {tip.label}
    </div>
  );
}

function useWidth(place: React.RefObject<HTMLElement | null>): number {
  const [width, setWidth] = useState(0);
  useEffect(() => {
    if (!place.current) return undefined;
    const observer = new ResizeObserver(([entry]) => setWidth(Math.floor(entry?.contentRect.width ?? 0)));
    observer.observe(place.current);
    return () => observer.disconnect();
  }, [place]);
  return width;
}
