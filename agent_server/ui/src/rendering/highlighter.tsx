import bash from "highlight.js/lib/languages/bash";
import diff from "highlight.js/lib/languages/diff";
import java from "highlight.js/lib/languages/java";
import javascript from "highlight.js/lib/languages/javascript";
import json from "highlight.js/lib/languages/json";
import markdown from "highlight.js/lib/languages/markdown";
import python from "highlight.js/lib/languages/python";
import r from "highlight.js/lib/languages/r";
import scala from "highlight.js/lib/languages/scala";
import sql from "highlight.js/lib/languages/sql";
import typescript from "highlight.js/lib/languages/typescript";
import xml from "highlight.js/lib/languages/xml";
import yaml from "highlight.js/lib/languages/yaml";
import type { RootContent } from "hast";
import { createLowlight } from "lowlight";
import type { ReactNode } from "react";

const LANGUAGES = createLowlight({
  bash, diff, java, javascript, json, markdown, python, r, scala, sql, typescript, xml, yaml,
});

/** Null for a language that is not known. */
export function highlighted(code: string, language: string): ReactNode {
  const name = language.toLowerCase();
  if (!LANGUAGES.registered(name)) return null;
  return LANGUAGES.highlight(name, code).children.map(nodeOf);
}

function nodeOf(node: RootContent, index: number): ReactNode {
  if (node.type === "text") return node.value;
  if (node.type !== "element") return null;
  const classes = node.properties["className"];
  return (
    <span key={index} className={Array.isArray(classes) ? classes.join(" ") : undefined}>
      {node.children.map(nodeOf)}
    </span>
  );
}
