import { ApiError } from "../api/client";
import type { Action } from "../rendering/blocks";
import { Store } from "../shell/Store";
import { type Incident, type IncidentSummary, readIncidents, readSummary, sendDecision } from "./incidents";

const POLL_SECONDS = 10;
const POLL_SECONDS_WHILE_BEGINNING = 2;
const SUMMARY_SECONDS = 60;

interface Jobs {
  open: Incident[];
  closed: Incident[];
  summary: IncidentSummary | null;
  /** Where the next page of closed incidents begins; null after the last one. */
  next: string | null;
  says: string;
  isLoaded: boolean;
  isLoadingClosed: boolean;
  /** A sentence: why what is shown is missing or old. */
  error: string;
  /** Whether asking again may help. */
  isErrorTemporary: boolean;
}

/** The incidents as they are now: asked for again and again while the tab is seen. */
export class JobsState extends Store<Jobs> {
  private timer: ReturnType<typeof setTimeout> | undefined;
  private aborting = new AbortController();
  private summarizedAt = -Infinity;

  constructor() {
    super({
      open: [],
      closed: [],
      summary: null,
      next: null,
      says: "",
      isLoaded: false,
      isLoadingClosed: false,
      error: "",
      isErrorTemporary: false,
    });
  }

  start(): void {
    this.aborting = new AbortController();
    document.addEventListener("visibilitychange", this.whenSeen);
    void this.refresh();
  }

  stop(): void {
    document.removeEventListener("visibilitychange", this.whenSeen);
    this.aborting.abort();
    clearTimeout(this.timer);
  }

  private readonly whenSeen = (): void => {
    if (!document.hidden) void this.refresh();
  };

  readonly refresh = async (): Promise<void> => {
    clearTimeout(this.timer);
    const { signal } = this.aborting;
    try {
      const page = await readIncidents("", signal);
      if (signal.aborted) return;
      const { open, isLoaded, next } = this.state;
      const ids = new Set(page.incidents.map((each) => each.id));
      const areClosed = open.some((each) => !ids.has(each.id));
      this.update({
        open: page.incidents,
        closed: this.state.closed.filter((each) => !ids.has(each.id)),
        says: page.says,
        next: isLoaded ? next : page.next,
        isLoaded: true,
        error: "",
      });
      if (areClosed && page.next !== null) await this.showClosed(page.next, signal);
      await this.summarize(signal);
    } catch (error) {
      if (signal.aborted) return;
      this.fail(error);
    }
    const goesOn = !this.state.error || this.state.isErrorTemporary;
    const isBeginning = this.state.open.some((each) => each.state === "approved");
    const seconds = isBeginning ? POLL_SECONDS_WHILE_BEGINNING : POLL_SECONDS;
    if (goesOn && !document.hidden) this.timer = setTimeout(this.refresh, seconds * 1000);
  };

  readonly loadClosed = async (): Promise<void> => {
    const { next, isLoadingClosed } = this.state;
    if (next === null || isLoadingClosed) return;
    const { signal } = this.aborting;
    this.update({ isLoadingClosed: true });
    try {
      const page = await readIncidents(next, signal);
      const known = new Set(this.state.closed.map((each) => each.id));
      const added = page.incidents.filter((each) => !known.has(each.id));
      this.update({ closed: [...this.state.closed, ...added], next: page.next, error: "" });
    } catch (error) {
      if (!signal.aborted) this.fail(error);
    } finally {
      this.update({ isLoadingClosed: false });
    }
  };

  /** What to say to the person. Raises `ApiError`. */
  async decide(incident: Incident, action: Action, decisionId: string, entered: Record<string, string>): Promise<string> {
    try {
      const { said, incident: now } = await sendDecision(incident.id, action, decisionId, entered);
      this.replace(now);
      return said;
    } finally {
      void this.refresh();
    }
  }

  private async summarize(signal: AbortSignal): Promise<void> {
    const now = performance.now() / 1000;
    if (now - this.summarizedAt < SUMMARY_SECONDS) return;
    const summary = await readSummary(signal);
    this.summarizedAt = now;
    this.update({ summary });
  }

  private fail(error: unknown): void {
    const isTemporary = !(error instanceof ApiError) || error.isTemporary;
    const message = error instanceof ApiError ? error.message : "The incidents cannot be read now.";
    this.update({ error: message, isErrorTemporary: isTemporary });
  }

  /** What was open a moment ago stays in sight. */
  private async showClosed(cursor: string, signal: AbortSignal): Promise<void> {
    const { incidents } = await readIncidents(cursor, signal);
    const ids = new Set(incidents.map((each) => each.id));
    this.update({ closed: [...incidents, ...this.state.closed.filter((each) => !ids.has(each.id))] });
  }

  private replace(now: Incident): void {
    const swap = (list: Incident[]) => list.map((each) => (each.id === now.id ? now : each));
    this.update({ open: swap(this.state.open), closed: swap(this.state.closed) });
  }
}
