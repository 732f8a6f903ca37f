import { type ComponentProps, createContext, memo, type ReactNode, useContext, useId, useMemo } from "react";
import ReactMarkdown, { type Components, type ExtraProps, type Options } from "react-markdown";
import remarkGfm from "remark-gfm";
import { CodeView } from "./CodeView";
import { ExternalLink } from "./ExternalLink";
import { inItsOrder } from "./inItsOrder";
import { markdownParts, withoutUnfinished } from "./markdownParts";
import { breakLines, markCitations } from "./markdownPlugins";
import type { Source } from "./sources";
import { imageUrl } from "./urls";

interface MarkdownProps {
  text: string;
  streaming?: boolean;
  imageHosts: readonly string[];
  sources?: readonly Source[];
}

interface Surroundings {
  imageHosts: readonly string[];
  sources: readonly Source[];
}

const Around = createContext<Surroundings>({ imageHosts: [], sources: [] });
const NO_SOURCES: readonly Source[] = [];
// One tilde means "about", as in ~5 or 100~200: https://github.com/langgenius/dify/issues/31391
const REMARK_PLUGINS: Options["remarkPlugins"] = [[remarkGfm, { singleTilde: false }], breakLines];

/** Text of a model. Its HTML is shown as text, its links with their host, its images from allowed hosts alone. */
export function Markdown({ text, streaming = false, imageHosts, sources = NO_SOURCES }: MarkdownProps) {
  const ordered = inItsOrder(text);
  const shown = streaming ? withoutUnfinished(ordered) : ordered;
  const around = useMemo(() => ({ imageHosts, sources }), [imageHosts, sources]);
  return (
    <Around value={around}>
      <div className="markdown" dir="auto">
        {markdownParts(shown).map((part, index) => (
          <Part key={index} text={part} sources={sources} />
        ))}
      </div>
    </Around>
  );
}

const Part = memo(function Part({ text, sources }: { text: string; sources: readonly Source[] }) {
  const prefix = `${useId()}-`;
  const citations = useMemo(() => markCitations(new Set(sources.map((each) => each.number))), [sources]);
  return (
    <ReactMarkdown
      remarkPlugins={REMARK_PLUGINS}
      rehypePlugins={[citations]}
      remarkRehypeOptions={{ clobberPrefix: prefix }}
      // What an address may be is decided where it is shown.
      urlTransform={(url) => url}
      components={COMPONENTS}
    >
      {text}
    </ReactMarkdown>
  );
});

function MarkdownLink({ href = "", children }: ComponentProps<"a"> & ExtraProps) {
  // A footnote: the fragment of the page's own address says which tab and conversation is shown.
  if (href.startsWith("#")) {
    return (
      <button type="button" className="link" onClick={() => document.getElementById(href.slice(1))?.scrollIntoView()}>
        {children}
      </button>
    );
  }
  return <ExternalLink address={href}>{children}</ExternalLink>;
}

function MarkdownImage({ src, alt, title }: ComponentProps<"img"> & ExtraProps) {
  const { imageHosts } = useContext(Around);
  const url = imageUrl(src, imageHosts);
  if (!url) return <ExternalLink address={src ?? ""}>{`Image: ${alt || "no description"}`}</ExternalLink>;
  return <img src={url.href} alt={alt ?? ""} title={title} loading="lazy" referrerPolicy="no-referrer" />;
}

function Citation({ number }: { number?: number }) {
  const { sources } = useContext(Around);
  const source = sources.find((each) => each.number === number);
  const name = `Source ${number}: ${source?.title ?? ""}`;
  return (
    <sup className="citation">
      {source?.url ? (
        <a href={source.url.href} target="_blank" rel="noopener noreferrer nofollow" aria-label={name} title={name}>
          {number}
        </a>
      ) : (
        <span title={name}>{number}</span>
      )}
    </sup>
  );
}

function Preformatted({ node }: ComponentProps<"pre"> & ExtraProps) {
  const code = node?.children[0];
  if (code?.type !== "element") return null;
  const text = code.children.map((each) => (each.type === "text" ? each.value : "")).join("");
  const classes = code.properties["className"];
  const name = (Array.isArray(classes) ? classes : []).map(String).find((each) => each.startsWith("language-"));
  return <CodeView code={text.replace(/\n$/, "")} language={name?.slice("language-".length) ?? ""} />;
}

function ScrollableTable({ children }: { children?: ReactNode }) {
  return (
    <div className="scrollable" role="group" aria-label="Table" tabIndex={0}>
      <table>{children}</table>
    </div>
  );
}

function Checkbox({ checked }: ComponentProps<"input"> & ExtraProps) {
  return <input type="checkbox" checked={checked ?? false} disabled aria-label={checked ? "Done" : "Not done"} />;
}

/** Two levels lower: the page has headings of its own. */
function heading(level: 3 | 4 | 5 | 6, size: number) {
  const Tag = `h${level}` as const;
  return ({ id, children }: ComponentProps<"h1"> & ExtraProps) => (
    <Tag id={id} className={`heading-${size}`}>
      {children}
    </Tag>
  );
}

const COMPONENTS = {
  a: MarkdownLink,
  img: MarkdownImage,
  pre: Preformatted,
  table: ScrollableTable,
  input: Checkbox,
  citation: Citation,
  h1: heading(3, 1),
  h2: heading(4, 2),
  h3: heading(5, 3),
  h4: heading(6, 4),
  h5: heading(6, 5),
  h6: heading(6, 6),
} as Components;
