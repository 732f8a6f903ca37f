import { type ReactNode, useEffect, useState } from "react";
import { CopyButton } from "./CopyButton";
import { inItsOrder } from "./inItsOrder";

const MAX_HIGHLIGHTED_CHARACTERS = 20_000;

interface CodeViewProps {
  code: string;
  language?: string;
  title?: string;
}

export function CodeView({ code: given, language = "", title = "" }: CodeViewProps) {
  const code = inItsOrder(given);
  const highlighted = useHighlighted(code, language);
  const name = title || language || "Code";
  return (
    <figure className="code" dir="ltr">
      <figcaption>
        <span>{name}</span>
        <CopyButton text={code} />
      </figcaption>
      <pre tabIndex={0} aria-label={name}>
        <code>{highlighted ?? code}</code>
      </pre>
    </figure>
  );
}

/** Null until the highlighter is there, and for code that it does not know. */
function useHighlighted(code: string, language: string): ReactNode {
  const [shown, setShown] = useState<{ code: string; nodes: ReactNode } | null>(null);
  useEffect(() => {
    if (!language || code.length > MAX_HIGHLIGHTED_CHARACTERS) return undefined;
    let isWanted = true;
    const timer = setTimeout(async () => {
      try {
        const { highlighted } = await import("./highlighter");
        if (isWanted) setShown({ code, nodes: highlighted(code, language) });
      } catch {
        // The code is readable without colours.
      }
    }, 100);
    return () => {
      isWanted = false;
      clearTimeout(timer);
    };
  }, [code, language]);
  return shown?.code === code ? shown.nodes : null;
}
