import { useEffect, useState } from "react";

const SAID_SECONDS = 2;

export function CopyButton({ text, label = "Copy" }: { text: string; label?: string }) {
  const [said, setSaid] = useState("");
  useEffect(() => {
    if (!said) return undefined;
    const timer = setTimeout(() => setSaid(""), SAID_SECONDS * 1000);
    return () => clearTimeout(timer);
  }, [said]);

  async function copy(): Promise<void> {
    try {
      await navigator.clipboard.writeText(text);
      setSaid("Copied");
    } catch {
      setSaid("Not copied: the browser does not allow it");
    }
  }

  return (
    <button type="button" className="button small quiet" onClick={copy}>
      <span aria-live="polite">{said || label}</span>
    </button>
  );
}
