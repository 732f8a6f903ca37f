import { useMemo, useSyncExternalStore } from "react";
import { SERIES_COLOURS } from "../theme";
import type { ChartColours } from "./chartSpec";

/** Those of the theme as they are now: light or dark. */
export function useColours(): ChartColours {
  const isDark = useSyncExternalStore(subscribe, isDarkNow);
  return useMemo(() => {
    const [text, quiet, grid, background, ...series] = resolved(["text", "text-quiet", "border", "background", ...SERIES_COLOURS]);
    return { text: text!, quiet: quiet!, grid: grid!, background: background!, series };
  }, [isDark]);
}

const DARK = "(prefers-color-scheme: dark)";

function subscribe(changed: () => void): () => void {
  const media = matchMedia(DARK);
  media.addEventListener("change", changed);
  const observer = new MutationObserver(changed);
  observer.observe(document.documentElement, { attributes: true, attributeFilter: ["style"] });
  return () => {
    media.removeEventListener("change", changed);
    observer.disconnect();
  };
}

function isDarkNow(): boolean {
  const { colorScheme } = document.documentElement.style;
  return colorScheme === "dark" || (colorScheme !== "light" && matchMedia(DARK).matches);
}

/** As the browser paints them: Vega knows no variables. */
function resolved(names: string[]): string[] {
  const probe = document.body.appendChild(document.createElement("span"));
  probe.hidden = true;
  const found = names.map((name) => {
    probe.style.color = `var(--${name})`;
    return getComputedStyle(probe).color;
  });
  probe.remove();
  return found;
}
