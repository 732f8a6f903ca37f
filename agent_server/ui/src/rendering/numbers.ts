import type { Cell, Column } from "./blocks";
import { inItsOrder } from "./inItsOrder";

const NUMBER = /^([+-]?)(\d{1,80})(?:\.(\d{1,80}))?(?:[eE]([+-]?\d{1,2}))?$/;

export const NO_VALUE = "–";

/** A number with all its digits, as `app/bot/rendering/number_text.py` writes it in English; other text as it is. */
export function numberText(value: string | number, plain = false): string {
  const parts = NUMBER.exec(String(value));
  if (!parts) return String(value);
  const [, sign, digits = "", decimals = "", exponent] = parts;
  let [whole, fraction] = shifted(digits, decimals, Number(exponent ?? 0));
  if (!plain && whole.length >= 4) whole = whole.replace(/\B(?=(?:\d{3})+$)/g, ",");
  return `${sign === "-" ? "-" : ""}${whole}${fraction && "."}${fraction}`;
}

function shifted(whole: string, fraction: string, by: number): [string, string] {
  if (by > 0) {
    const padded = fraction.padEnd(by, "0");
    return [`${whole}${padded.slice(0, by)}`.replace(/^0+(?=\d)/, ""), padded.slice(by)];
  }
  if (by < 0) {
    const padded = whole.padStart(1 - by, "0");
    return [padded.slice(0, by).replace(/^0+(?=\d)/, ""), `${padded.slice(by)}${fraction}`];
  }
  return [whole, fraction];
}

export function cellText(cell: Cell, column: Column): string {
  if (cell === null) return NO_VALUE;
  if (typeof cell === "boolean") return String(cell);
  if (column.type === "number" || typeof cell === "number") {
    return numberText(cell, column.plain || column.type !== "number");
  }
  return inItsOrder(cell);
}
