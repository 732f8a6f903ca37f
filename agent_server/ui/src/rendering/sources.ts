import type { Annotation, ResponseObject } from "../api/types";
import type { Block } from "./blocks";
import { linkUrl } from "./urls";

/** What a `[number]` in the answer's text stands for. */
export interface Source {
  number: number;
  title: string;
  url: URL | null;
  quote: string;
}

/** By their number. An annotation has the number of the mark that it covers, or else the next that is free. */
export function sourcesOf(response: ResponseObject, blocks: readonly Block[]): Source[] {
  const found = new Map<number, Source>();
  for (const block of blocks) {
    if (block.kind === "citation") {
      const { position, title, url, quote } = block;
      found.set(position, { number: position, title, url: linkUrl(url), quote });
    }
  }
  for (const item of response.output) {
    for (const part of item.content ?? []) {
      for (const annotation of part.annotations ?? []) add(found, annotation, part.text ?? "");
    }
  }
  return [...found.values()].sort((one, other) => one.number - other.number);
}

function add(found: Map<number, Source>, annotation: Annotation, text: string): void {
  const url = linkUrl(annotation.url);
  const title = annotation.title || annotation.filename || url?.host || "";
  if (!title || !/citation/.test(annotation.type)) return;
  const isKnown = [...found.values()].some((each) => each.url?.href === url?.href && each.title === title);
  const quote = annotation.quote ?? "";
  const marked = markedNumber(annotation, text);
  if (marked !== null) {
    if (!found.has(marked)) found.set(marked, { number: marked, title, url, quote });
  } else if (!isKnown) {
    let number = 1;
    while (found.has(number)) number += 1;
    found.set(number, { number, title, url, quote });
  }
}

/** The n where the annotation is for a mark `[n]`. Servers count characters, some of them as JavaScript does. */
function markedNumber({ start_index: start, end_index: end }: Annotation, text: string): number | null {
  if (start === undefined || end === undefined || end - start > MAX_MARK_CHARACTERS) return null;
  const characters = [...text].slice(start, end).join("");
  const mark = [characters, text.slice(start, end)].map((each) => /^\[(\d{1,4})\]$/.exec(each)).find(Boolean);
  return mark ? Number(mark[1]) : null;
}

const MAX_MARK_CHARACTERS = 6;
