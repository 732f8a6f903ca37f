import { act, cleanup, render, screen, within } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { retrySentence } from "./IncidentView";
import type { Incident, IncidentPage, IncidentSummary } from "./incidents";
import { JobsTab } from "./JobsTab";

const SUMMARY: IncidentSummary = {
  days: 30,
  failed_runs: 4,
  retries_succeeded: 2,
  retries_failed: 1,
  success_percent: 67,
  escalated: 1,
  decided_by_model: 4,
  wrong_diagnoses: 0,
  blocks: [],
};

function incident(more: Partial<Incident> = {}): Incident {
  const button = (verb: string, title: string) => ({ verb, title, data: { incident: "i1" }, style: "default" });
  return {
    id: "i1",
    job: "nightly_etl",
    job_id: "11",
    happened: "failed",
    state: "proposed",
    state_text: "Waiting for a decision",
    is_closed: false,
    waits_for_decision: true,
    cause: "Out of memory",
    proposed: "Retry",
    decided_by: "",
    run_url: "https://adb-1.example/jobs/11/runs/70",
    run_count: 1,
    opened_at: 1_795_748_460,
    changed_at: 1_795_748_460,
    retries: [],
    blocks: [
      { kind: "facts", title: "nightly_etl", facts: [{ label: "Cause", value: "Out of memory" }] },
      { kind: "actions", id: "p-1", actions: [button("approve_job_retry", "Approve"), button("skip_job", "Skip")] },
      {
        kind: "forms",
        forms: [
          {
            title: "Change parameters",
            id: "p-1",
            action: button("change_job_retry", "Retry with these"),
            inputs: [
              { name: "parameter_0", label: "batch_size", value: "100", choices: [] },
              { name: "parameter_1", label: "mode", value: "full", choices: [{ value: "full", title: "full" }, { value: "new", title: "new" }] },
            ],
          },
        ],
      },
    ],
    ...more,
  };
}

function page(incidents: Incident[], more: Partial<IncidentPage> = {}): IncidentPage {
  return { incidents, next: "2026-11-27", may_decide: true, says: "As the app.", ...more };
}

type Answers = Record<string, unknown>;
let answers: Answers;
let asked: [path: string, body: unknown][];

beforeEach(() => {
  asked = [];
  answers = { incidents: page([incident()]), "incidents/summary": SUMMARY };
  vi.stubGlobal("fetch", async (url: string, init: RequestInit) => {
    const path = url.replace(/^.*\/api\//, "");
    asked.push([path, init.body ? JSON.parse(String(init.body)) : null]);
    const answer = answers[path];
    const [status, body] = Array.isArray(answer) ? answer : [200, answer];
    return new Response(JSON.stringify(body), { status });
  });
});

afterEach(() => {
  cleanup();
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

function refusal(status: number, message: string): [number, object] {
  return [status, { error: { message, code: "x" } }];
}

test("An incident that waits is open, with what is known and what may be decided", async () => {
  render(<JobsTab />);
  const shown = await screen.findByRole("article", { name: "nightly_etl failed" });
  expect(within(shown).getByText("Waiting for a decision")).toBeTruthy();
  expect(shown.querySelector("details")?.open).toBe(true);
  expect(within(shown).getByRole("link", { name: "Run in Databricks" }).getAttribute("href")).toContain("/runs/70");
  expect(screen.getByText("As the app.")).toBeTruthy();
  expect(await screen.findByText("67 %")).toBeTruthy();
  expect(screen.getByText("1 incident waits for a decision.")).toBeTruthy();
});

test("A press is sent with what it decides, and what came of it is said", async () => {
  const decided = incident({ state: "approved", state_text: "About to be carried out", waits_for_decision: false, blocks: [] });
  answers["incidents/i1/decision"] = { said: "Ann approved the retry.", incident: decided };
  render(<JobsTab />);
  const approve = await screen.findByRole("button", { name: "Approve" });
  answers["incidents"] = page([decided]);
  await userEvent.click(approve);
  expect(await screen.findByText("Ann approved the retry.")).toBeTruthy();
  expect(asked.find(([path]) => path.endsWith("decision"))?.[1]).toEqual({ verb: "approve_job_retry", decision_id: "p-1", entered: {} });
  expect(screen.getByText("About to be carried out")).toBeTruthy();
  expect(document.activeElement?.textContent).toBe("nightly_etl failed");
});

test("A form is sent with what was entered and chosen", async () => {
  answers["incidents/i1/decision"] = { said: "Done.", incident: incident() };
  render(<JobsTab />);
  const field = await screen.findByLabelText("batch_size");
  await userEvent.clear(field);
  await userEvent.type(field, "50");
  await userEvent.selectOptions(screen.getByLabelText("mode"), "new");
  await userEvent.click(screen.getByRole("button", { name: "Retry with these" }));
  expect(await screen.findByText("Done.")).toBeTruthy();
  expect(asked.find(([path]) => path.endsWith("decision"))?.[1]).toEqual({
    verb: "change_job_retry",
    decision_id: "p-1",
    entered: { parameter_0: "50", parameter_1: "new" },
  });
});

test("A refusal is shown where the button was pressed, and nothing else is lost", async () => {
  answers["incidents/i1/decision"] = refusal(409, "Bob has already decided this.");
  render(<JobsTab />);
  await userEvent.click(await screen.findByRole("button", { name: "Skip" }));
  expect((await screen.findByRole("alert")).textContent).toBe("Bob has already decided this.");
  expect(screen.getByRole("article", { name: "nightly_etl failed" })).toBeTruthy();
});

test.each([
  [404, "Set JOB_WATCH_STORE.", 1],
  [403, "You may not see jobs here.", 1],
  [503, "Try again in a moment.", 2],
])("Status %s is said, and asked again only where that can help", async (status, message, times) => {
  vi.useFakeTimers();
  answers["incidents"] = refusal(status, message);
  render(<JobsTab />);
  await act(() => vi.advanceTimersByTimeAsync(11_000));
  expect(screen.getByRole("alert").textContent).toContain(message);
  expect(asked).toHaveLength(times);
});

test("The list is asked for again every ten seconds; what was closed meanwhile stays in sight", async () => {
  vi.useFakeTimers();
  render(<JobsTab />);
  await act(() => vi.advanceTimersByTimeAsync(100));
  answers["incidents"] = page([]);
  answers["incidents?cursor=2026-11-27"] = page([incident({ happened: "has recovered", is_closed: true, waits_for_decision: false })]);
  await act(() => vi.advanceTimersByTimeAsync(10_000));
  expect(screen.getByText("Nothing is open: no watched job has failed.")).toBeTruthy();
  expect(screen.getByRole("article", { name: "nightly_etl has recovered" })).toBeTruthy();
  expect(asked.filter(([path]) => path === "incidents/summary")).toHaveLength(1);
});

test("A tab that is left asks no more", async () => {
  vi.useFakeTimers();
  const { unmount } = render(<JobsTab />);
  await act(() => vi.advanceTimersByTimeAsync(100));
  const before = asked.length;
  unmount();
  await vi.advanceTimersByTimeAsync(60_000);
  expect(asked).toHaveLength(before);
});

test("Closed incidents come page after page, each once", async () => {
  answers["incidents?cursor=2026-11-27"] = page([incident({ id: "a", job: "a" }), incident({ id: "b", job: "b" })], { next: "2026-11-20" });
  answers["incidents?cursor=2026-11-20"] = page([incident({ id: "b", job: "b" }), incident({ id: "c", job: "c" })], { next: null });
  render(<JobsTab />);
  await userEvent.click(await screen.findByRole("button", { name: "Show closed incidents" }));
  await userEvent.click(await screen.findByRole("button", { name: "Show earlier ones" }));
  expect(await screen.findByText("These are all.")).toBeTruthy();
  expect(screen.getAllByRole("article").map((each) => each.querySelector("h3")?.textContent)).toEqual([
    "nightly_etl failed",
    "a failed",
    "b failed",
    "c failed",
  ]);
});

test("Who may only look sees no decision", async () => {
  answers["incidents"] = page([incident({ blocks: [{ kind: "facts", title: "", facts: [] }] })]);
  render(<JobsTab />);
  const shown = await screen.findByRole("article");
  expect(within(shown).queryByRole("button")).toBeNull();
});

test("A retry is told with whose it was", () => {
  const at = { started_at: 1_795_748_460, ended_at: 0 };
  expect(retrySentence({ outcome: "succeeded", approved_by: "Ann", by_us: true, ...at })).toMatch(/^A retry succeeded \(begun .*, approved by Ann\)\.$/);
  expect(retrySentence({ outcome: "running", approved_by: "", by_us: true, ...at })).toContain("automatic");
  expect(retrySentence({ outcome: "failed", approved_by: "", by_us: false, ...at })).toMatch(/^A retry that somebody else began failed \(begun [^)]*[^c]\)\.$/);
});
