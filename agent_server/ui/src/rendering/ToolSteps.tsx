import { CodeView } from "./CodeView";
import type { ToolStep } from "./answerParts";

const SAID = { running: "running", done: "done", failed: "failed", stopped: "no result" } as const;
const SIGN = { running: "…", done: "✓", failed: "✗", stopped: "–" } as const;

export function ToolSteps({ steps }: { steps: readonly ToolStep[] }) {
  return (
    <details className="folded tool-steps">
      <summary>{summary(steps)}</summary>
      <ol>
        {steps.map((step, index) => (
          <li key={index}>
            <Step step={step} />
          </li>
        ))}
      </ol>
    </details>
  );
}

function summary(steps: readonly ToolStep[]): string {
  const running = steps.filter((step) => step.status === "running");
  if (running.length > 0) return `${named(running)}…`;
  const failed = steps.filter((step) => step.status === "failed").length;
  return `Steps: ${named(steps)}${failed ? ` (${failed} failed)` : ""}`;
}

function named(steps: readonly ToolStep[]): string {
  const names = [...new Set(steps.map((step) => step.name))];
  return names.length <= 3 ? names.join(", ") : `${names.slice(0, 2).join(", ")} and ${names.length - 2} more`;
}

function Step({ step }: { step: ToolStep }) {
  const title = (
    <>
      <span className={`step-${step.status}`} aria-hidden="true">
        {SIGN[step.status]}
      </span>{" "}
      {step.name} <span className="quiet-text">({SAID[step.status]})</span>
    </>
  );
  if (!step.input && !step.output) return <p>{title}</p>;
  return (
    <details>
      <summary>{title}</summary>
      {step.input && <CodeView code={step.input} language={languageOf(step.input)} title="Input" />}
      {step.output && <CodeView code={step.output} language={languageOf(step.output)} title="Result" />}
    </details>
  );
}

function languageOf(text: string): string {
  return /^\s*[[{]/.test(text) ? "json" : "";
}
