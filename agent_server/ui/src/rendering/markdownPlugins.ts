import type { Element, ElementContent, Root as HtmlRoot, Text } from "hast";
import type { Html, Nodes, Root } from "mdast";

/** `[1]`, and `[1, 2]`. */
const MARK = /\[(\d{1,4}(?:, ?\d{1,4}){0,9})\]/g;

/** Models break lines in cells of tables with `<br>`: the one piece of HTML that is taken. */
export function breakLines() {
  return (tree: Root): void => breakLinesOf(tree);
}

function breakLinesOf(node: Nodes): void {
  if (!("children" in node)) return;
  node.children.forEach((child, index) => {
    if (isBreak(child)) node.children[index] = { type: "break" };
    else breakLinesOf(child);
  });
}

function isBreak(node: Nodes): node is Html {
  return node.type === "html" && /^<br\s{0,9}\/?>$/i.test(node.value);
}

/** Makes an element `citation` of each `[n]` for which there is a source, but not in code or links. */
export function markCitations(numbers: ReadonlySet<number>) {
  return () =>
    (tree: HtmlRoot): void => {
      if (numbers.size > 0) markIn(tree, numbers);
    };
}

function markIn(node: HtmlRoot | Element, numbers: ReadonlySet<number>): void {
  node.children = node.children.flatMap((child): ElementContent[] => {
    if (child.type === "text") return marked(child, numbers);
    if (child.type === "element" && !["code", "pre", "a"].includes(child.tagName)) markIn(child, numbers);
    return child.type === "doctype" ? [] : [child];
  });
}

function marked(text: Text, numbers: ReadonlySet<number>): ElementContent[] {
  const pieces: ElementContent[] = [];
  let end = 0;
  for (const match of text.value.matchAll(MARK)) {
    const marks = (match[1] ?? "").split(",").map(Number);
    if (!marks.every((number) => numbers.has(number))) continue;
    if (match.index > end) pieces.push({ type: "text", value: text.value.slice(end, match.index) });
    for (const number of marks) {
      pieces.push({ type: "element", tagName: "citation", properties: { number }, children: [] });
    }
    end = match.index + match[0].length;
  }
  if (end === 0) return [text];
  if (end < text.value.length) pieces.push({ type: "text", value: text.value.slice(end) });
  return pieces;
}
