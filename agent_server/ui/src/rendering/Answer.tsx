import { memo, useMemo } from "react";
import type { ResponseObject } from "../api/types";
import { Blocks } from "./BlockView";
import { type Action, blocksOf, CALL_TOOL, SEND_FILE } from "./blocks";
import { ExternalLink } from "./ExternalLink";
import { Markdown } from "./Markdown";
import { type Source, sourcesOf } from "./sources";
import { ToolSteps } from "./ToolSteps";
import { type AnswerPart, answerParts } from "./answerParts";

const MAX_SUMMARY_CHARACTERS = 80;
const VERBS: readonly string[] = [CALL_TOOL, SEND_FILE];

export interface AnswerProps {
  response: ResponseObject;
  streaming: boolean;
  imageHosts: string[];
  onAsk?: (question: string) => void;
  /** A button that calls a tool, or asks for a file. */
  onAction?: (action: Action) => void;
  isBusy?: boolean;
}

/** All of an answer but approvals: text, tools, tables, charts, sources, and why it is not whole. */
export const Answer = memo(AllOfAnswer, isSame);

/** Not drawn again for handlers that are made anew while another answer grows: they do the same. */
function isSame(before: AnswerProps, after: AnswerProps): boolean {
  const names = ["response", "streaming", "imageHosts", "isBusy"] as const;
  return names.every((name) => before[name] === after[name]);
}

function AllOfAnswer(props: AnswerProps) {
  const { response, streaming, imageHosts, ...actions } = props;
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
      <Blocks blocks={blocks} imageHosts={imageHosts} verbs={VERBS} {...actions} />
      {!streaming && <Sources sources={sources} />}
      {!streaming && <Ending response={response} />}
    </div>
  );
}

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
          <summary>{streaming ? newest(part.texts) : "Thoughts"}</summary>
          <Markdown text={part.texts.join("\n\n")} streaming={streaming} imageHosts={imageHosts} />
        </details>
      );
    case "tools":
      return <ToolSteps steps={part.steps} />;
  }
}

function newest(texts: readonly string[]): string {
  const line = texts.at(-1)?.split("\n", 1)[0] ?? "";
  return line.length > 0 && line.length <= MAX_SUMMARY_CHARACTERS ? line : "Thinking…";
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

function Ending({ response }: { response: ResponseObject }) {
  switch (response.status) {
    case "failed":
      return (
        <p className="notice danger">
          <span>{response.error?.message || "The answer failed. Try again."}</span>
        </p>
      );
    case "cancelled":
      return <p className="quiet-text">The answer was stopped.</p>;
    case "incomplete":
      return <p className="notice">{incompleteSentence(response.incomplete_details?.reason)}</p>;
    default:
      return null;
  }
}

function incompleteSentence(reason: string | undefined): string {
  if (reason === "max_output_tokens") return "The answer ends here: it reached the limit of the model's output.";
  if (reason === "content_filter") return "The answer ends here: a content filter stopped it.";
  return "The answer is not complete.";
}

/** The same list while nothing in it changes, so that what was drawn stays. */
function useStable(sources: Source[]): Source[] {
  const key = JSON.stringify(sources);
  return useMemo(() => sources, [key]);
}
