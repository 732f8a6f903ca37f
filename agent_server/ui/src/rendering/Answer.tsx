import { memo, useMemo } from "react";
import type { ResponseObject } from "../api/types";
import { Blocks } from "./BlockView";
import { blocksOf } from "./blocks";
import { ExternalLink } from "./ExternalLink";
import { Markdown } from "./Markdown";
import { type Source, sourcesOf } from "./sources";
import { ToolSteps } from "./ToolSteps";
import { type AnswerPart, answerParts } from "./answerParts";

export interface AnswerProps {
  response: ResponseObject;
  streaming: boolean;
  imageHosts: string[];
  onAsk?: (question: string) => void;
}

/** Text, tools, tables, charts and sources of an answer. Approvals, and how it ended, are the chat's. */
export const Answer = memo(function Answer({ response, streaming, imageHosts, onAsk }: AnswerProps) {
  const blocks = useMemo(() => blocksOf(response.custom_outputs?.["blocks"]), [response.custom_outputs]);
  const parts = answerParts(response.output, streaming);
  const sources = useStable(sourcesOf(response, blocks));
  return (
    <div className="answer">
      {parts.map((part, index) => (
        <Part
          key={index}
          part={part}
          streaming={streaming && index === parts.length - 1}
          imageHosts={imageHosts}
          sources={sources}
        />
      ))}
      <Blocks blocks={blocks} imageHosts={imageHosts} onAsk={onAsk} />
      {!streaming && <Sources sources={sources} />}
    </div>
  );
});

interface PartProps {
  part: AnswerPart;
  streaming: boolean;
  imageHosts: string[];
  sources: readonly Source[];
}

function Part({ part, streaming, imageHosts, sources }: PartProps) {
  switch (part.kind) {
    case "text":
      return <Markdown text={part.text} streaming={streaming} imageHosts={imageHosts} sources={sources} />;
    case "refusal":
      return <p>{part.text}</p>;
    case "reasoning":
      return (
        <details className="folded">
          <summary>{streaming ? "Thinking…" : "Thoughts"}</summary>
          <Markdown text={part.text} streaming={streaming} imageHosts={imageHosts} />
        </details>
      );
    case "tools":
      return <ToolSteps steps={part.steps} />;
  }
}

function Sources({ sources }: { sources: readonly Source[] }) {
  if (sources.length === 0) return null;
  return (
    <section className="sources" aria-label="Sources">
      <p className="block-title">Sources</p>
      <ol>
        {sources.map(({ number, title, url, quote }) => (
          <li key={number} value={number}>
            <ExternalLink address={url?.href}>{title}</ExternalLink>
            {quote && <q>{quote}</q>}
          </li>
        ))}
      </ol>
    </section>
  );
}

/** The same list while nothing in it changes, so that what was drawn stays. */
function useStable(sources: Source[]): Source[] {
  const key = JSON.stringify(sources);
  return useMemo(() => sources, [key]);
}
