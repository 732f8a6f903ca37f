import { cleanup, render, screen } from "@testing-library/react";
import { renderToStaticMarkup } from "react-dom/server";
import { afterEach, expect, test } from "vitest";
import { Markdown } from "./Markdown";
import { markdownParts, withoutUnfinished } from "./markdownParts";

afterEach(cleanup);

function shown(text: string, imageHosts: string[] = []): HTMLElement {
  return render(<Markdown text={text} imageHosts={imageHosts} />).container;
}

test.each([
  "<script>alert(1)</script>",
  "<img src=x onerror=alert(1)>",
  "a <b onclick='alert(1)'>b</b>",
  "<svg/onload=alert(1)>\n\ntext",
  "<iframe src='https://evil.example'></iframe>",
  "<style>body{display:none}</style>",
  "<form action='https://evil.example'><input name=a></form>",
])("HTML is shown as text: %s", (html) => {
  const container = shown(html);
  expect(container.querySelector("script,img,b,svg,iframe,style,form,input")).toBeNull();
  expect(container.textContent).toContain(html.split("\n")[0]);
});

test.each([
  "[x](javascript:alert(1))",
  "[x](JaVaScRiPt:alert(1))",
  "[x](java&#10;script:alert(1))",
  "[x](data:text/html,<script>1</script>)",
  "[x](vbscript:x)",
  "[x](file:///etc/passwd)",
  "[x](/api/me)",
  "[x](//evil.example)",
  "[x](?q=1)",
  "[x]()",
  "[x]: javascript:alert(1)\n\n[x]",
  "![x](data:image/svg+xml,<svg/>)",
])("No link is made of an address that is a script, data, or not complete: %s", (text) => {
  const container = shown(text);
  expect(container.querySelector("a,img")).toBeNull();
  expect(container.textContent).toContain("x");
});

test("A link is shown with its host, which its text cannot hide", () => {
  const container = shown("[https://bank.example](https://evil.example/login) [docs](https://user@docs.example:8443/x)");
  expect(container.textContent).toBe("https://bank.example (evil.example) docs (docs.example:8443)");
  const link = container.querySelector("a");
  expect(link?.getAttribute("rel")).toContain("noopener");
  expect(link?.target).toBe("_blank");
});

test("An address that stands there itself says its host once", () => {
  expect(shown("https://docs.example/a and <mailto:a@b.example>").textContent).toBe(
    "https://docs.example/a and mailto:a@b.example",
  );
});

test.each([
  ["https://img.example/a.png", true],
  ["https://IMG.example/a.png", true],
  ["https://cdn.pictures.example/a.png", true],
  ["http://img.example/a.png", false],
  ["https://img.example.evil.example/a.png", false],
  ["https://img.example@evil.example/a.png", false],
  ["https://user:word@img.example/a.png", false],
  ["https://evilpictures.example/a.png", false],
  ["https://img.example:8443/a.png", false],
])("An image is loaded from an allowed host over HTTPS alone: %s", (address, isLoaded) => {
  const container = shown(`![Sales](${address})`, ["img.example", "*.pictures.example"]);
  expect(container.querySelector("img") !== null).toBe(isLoaded);
  if (!isLoaded) expect(container.textContent).toContain("Image: Sales");
});

test("Code, tables and lists of tasks can be reached and read", () => {
  shown("```sql\nSELECT '<b>'\n```\n\n| a | b |\n|--|--|\n| 1<br>2 | 3 |\n\n- [x] done\n- [ ] open\n\n# Title");
  expect(screen.getByRole("button", { name: "Copy" })).toBeTruthy();
  expect(screen.getByLabelText("sql").textContent).toBe("SELECT '<b>'");
  expect(screen.getByRole("group", { name: "Table" }).querySelector("td br")).not.toBeNull();
  expect(screen.getByLabelText("Done")).toBeTruthy();
  expect(screen.getByRole("heading", { level: 3 }).textContent).toBe("Title");
});

test.each(["about ~5 and ~6", "5~7U × 100~200", "~/a and ~/b"])("One tilde strikes nothing through: %s", (text) => {
  const container = shown(`${text} ~~gone~~`);
  expect(container.querySelectorAll("del")).toHaveLength(1);
  expect(container.textContent).toBe(`${text} gone`);
});

test.each(["a \u202etxt.exe\u202c b", "`x \u2066y\u2069`", "```\nif \u202e x\n```", "[a\u202eb](https://x.example)"])(
  "No text is shown in another order than it has: %#",
  (text) => {
    expect(shown(text).textContent).not.toMatch(/[\u202a-\u202e\u2066-\u2069]/);
  },
);

test("Money is no formula", () => {
  expect(shown("from $5 to $6").textContent).toBe("from $5 to $6");
});

const SAMPLES = [
  "one\n\ntwo\n\nthree",
  "- a\n\n- b\n\n  in b\n\nafter",
  "1. a\n\n   ```py\n   x\n\n   y\n   ```\n\n2. b\n\nend",
  "```\na\n\nb\n```\n\nafter\n\n~~~\n```\n\n~~~\n\nlast",
  "> a\n\n> b\n\ntext\n===\n\n| a |\n|--|\n| 1 |\n\nmore",
  "text [a][b]\n\n[b]: https://example.com\n\nmore",
  "a[^1]\n\nb\n\n[^1]: note\n\n    more of it",
  "````\n```\n\n```\n````\n\nx",
];

test.each(SAMPLES)("A text in parts is shown as it is in one: %#", (text) => {
  // A definition keeps it in one.
  const undivided = `${text}\n\n[unused]: https://example.com`;
  expect(markdownParts(undivided)).toHaveLength(1);
  const whole = renderToStaticMarkup(<Markdown text={undivided} imageHosts={[]} />);
  const parts = markdownParts(text);
  expect(parts.join("\n")).toBe(text);
  const inParts = parts.map((part) => renderToStaticMarkup(<Markdown text={part} imageHosts={[]} />)).join("");
  expect(plain(inParts)).toBe(plain(whole));
});

/** Without what differs from one rendering to the next. */
function plain(html: string): string {
  return html.replace(/<div class="markdown" dir="auto">|<\/div>|\n/g, "").replace(/_R_[^"-]*_/g, "");
}

test("Of a long answer that grows, the parts before the last stay the same", () => {
  const text = Array.from({ length: 200 }, (_, n) => `Paragraph ${n}`).join("\n\n");
  const before = markdownParts(text);
  expect(before).toHaveLength(200);
  expect(markdownParts(`${text} and more`).slice(0, -1)).toEqual(before.slice(0, -1));
});

test.each([
  ["See [the do", "See "],
  ["See [the docs](https://exa", "See "],
  ["See ![chart](https://exa", "See "],
  ["See [the docs](https://example.com)", "See [the docs](https://example.com)"],
  ["This is **impor", "This is **impor**"],
  ["This is **", "This is "],
  ["Code `a[0", "Code `a[0"],
  ["```\nx = a[", "```\nx = a["],
  ["a [1] b", "a [1] b"],
])("What is not complete yet is not shown as marks: %s", (text, expected) => {
  expect(withoutUnfinished(text)).toBe(expected);
});

test("Hostile nesting and long lines are read in a moment", () => {
  const began = performance.now();
  for (const text of ["[".repeat(20_000), "*a ".repeat(10_000), "`".repeat(20_000), "- ".repeat(2_000), "\n".repeat(20_000)]) {
    markdownParts(text);
    withoutUnfinished(text);
  }
  expect(performance.now() - began).toBeLessThan(1_000);
});
