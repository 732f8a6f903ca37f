/**
 * Splits Markdown where a part can be shown by itself, so that of a growing answer only the last part is read again.
 * Linear in the text.
 */
export function markdownParts(text: string): string[] {
  // Definitions of links and footnotes are for the whole text, and a fence in a quotation ends with the quotation.
  if (/^ {0,3}\[[^\]\n]{1,999}\]:|^ {0,3}>[^\n]*(?:```|~~~)/m.test(text)) return [text];
  const parts: string[] = [];
  let part: string[] = [];
  let fence = "";
  let isAfterBlank = false;
  for (const line of text.split("\n")) {
    if (!fence && isAfterBlank && beginsPart(line)) {
      parts.push(part.join("\n"));
      part = [];
    }
    part.push(line);
    fence = fenceAfter(fence, line);
    isAfterBlank = !fence && line.trim() === "";
  }
  parts.push(part.join("\n"));
  return parts;
}

/** While an answer grows: without a link or image at its end that is not complete, and with its emphasis closed. */
export function withoutUnfinished(text: string): string {
  const start = text.lastIndexOf("\n") + 1;
  const line = text.slice(start);
  if (line.length > MAX_LINE_CHARACTERS || count(line, "`") % 2 === 1 || isInFence(text)) return text;
  const bracket = line.lastIndexOf("[");
  const isUnfinished = bracket >= 0 && /^\[[^\]]*(?:\]\([^)]*)?$/.test(line.slice(bracket));
  const end = line[bracket - 1] === "!" ? bracket - 1 : bracket;
  const kept = isUnfinished ? line.slice(0, end) : line;
  return text.slice(0, start) + closed(kept);
}

const MAX_LINE_CHARACTERS = 4_000;

function closed(line: string): string {
  if (count(line, "**") % 2 === 0) return line;
  return line.endsWith("**") ? line.slice(0, -2) : `${line.trimEnd()}**`;
}

function count(line: string, marks: string): number {
  return line.split(marks).length - 1;
}

function isInFence(text: string): boolean {
  return text.split("\n").reduce(fenceAfter, "") !== "";
}

/** Indented lines and items may go on with a list that began before. */
function beginsPart(line: string): boolean {
  return /^\S/.test(line) && !/^(?:[-+*>]|\d{1,9}[.)])(?:\s|$)/.test(line);
}

/** The marks that opened the block of code in which the text stands after the line, or "". */
function fenceAfter(fence: string, line: string): string {
  const [, mark = "", rest = ""] = /^\s*(?:(?:[-+*]|\d{1,9}[.)])\s+)*(`{3,}|~{3,})(.*)$/.exec(line) ?? [];
  if (!mark) return fence;
  if (!fence) return mark.startsWith("`") && rest.includes("`") ? "" : mark;
  return mark[0] === fence[0] && mark.length >= fence.length && !rest.trim() ? "" : fence;
}
