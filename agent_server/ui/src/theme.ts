/** Colours (light, dark) and suggested questions: change them here. Title and icon are in `index.html`. */

export const PROMPTS: readonly string[] = [
  "What can you help me with?",
  "How did revenue develop by month?",
  "Who are the top 5 customers by revenue?",
  "Show revenue by segment",
];

/** Each is the CSS variable `--NAME`. Text on its background has a contrast of 4.5 to 1 or more. */
const COLOURS: Readonly<Record<string, readonly [light: string, dark: string]>> = {
  background: ["#ffffff", "#14161a"],
  "background-side": ["#f6f6f4", "#1a1d22"],
  "background-raised": ["#ffffff", "#1f2329"],
  "background-hover": ["#ecebe8", "#292e36"],
  "background-question": ["#f1f0ed", "#262b32"],
  "background-code": ["#f6f6f4", "#1a1d22"],
  border: ["#e0dfdb", "#343a43"],
  "border-control": ["#8a8880", "#737b87"],
  text: ["#1c1d1f", "#e9eaec"],
  "text-quiet": ["#5c5d60", "#a6acb5"],
  accent: ["#b7331a", "#ff8a6b"],
  "accent-soft": ["#fbeae6", "#3a2520"],
  "on-accent": ["#ffffff", "#26100a"],
  link: ["#0b5cad", "#7db8f5"],
  focus: ["#0b5cad", "#7db8f5"],
  success: ["#1b6e3c", "#6fd095"],
  "success-soft": ["#e5f4ea", "#1c3325"],
  warning: ["#855300", "#f0b95b"],
  "warning-soft": ["#fdf1dc", "#382c18"],
  danger: ["#b3261e", "#ff8f86"],
  "danger-soft": ["#fbe9e8", "#3d2322"],
  "series-1": ["#1f6fb2", "#6fb1ee"],
  "series-2": ["#d2602f", "#ff9d7a"],
  "series-3": ["#2c7f55", "#62c48e"],
  "series-4": ["#9a6a00", "#e2b04a"],
  "series-5": ["#7a4fb0", "#b794ea"],
  "series-6": ["#5d6b7a", "#a3b1c0"],
  "series-7": ["#b0357a", "#f08ec0"],
  "series-8": ["#00798c", "#55c3d3"],
  "series-9": ["#6f7a00", "#c3cc55"],
  "series-10": ["#8a4b2a", "#d39a76"],
  "series-11": ["#3f4fb5", "#97a4f5"],
  "series-12": ["#a3243b", "#f2879b"],
};

/** Of a chart's series, by name. */
export const SERIES_COLOURS: readonly string[] = Object.keys(COLOURS).filter((name) => name.startsWith("series-"));

export type ColourScheme = "system" | "light" | "dark";

const STORED_SCHEME = "colour-scheme";

export function storedColourScheme(): ColourScheme {
  const stored = localStorage.getItem(STORED_SCHEME);
  return stored === "light" || stored === "dark" ? stored : "system";
}

export function setColourScheme(scheme: ColourScheme): void {
  localStorage.setItem(STORED_SCHEME, scheme);
  applyTheme();
}

/** Set through the CSSOM, which a Content-Security-Policy without inline styles allows. */
export function applyTheme(): void {
  const { style } = document.documentElement;
  const scheme = storedColourScheme();
  style.colorScheme = scheme === "system" ? "light dark" : scheme;
  for (const [name, [light, dark]] of Object.entries(COLOURS)) {
    style.setProperty(`--${name}`, `light-dark(${light}, ${dark})`);
  }
}
