import { JobsTab } from "./jobs/JobsTab";
import { hashOf, useRoute } from "./shell/useRoute";

export function App() {
  const route = useRoute();
  return (
    <>
      <nav aria-label="Sections">
        <a href={hashOf({ tab: "chat", conversationId: null })} aria-current={route.tab === "chat" ? "page" : undefined}>
          Chat
        </a>
        <a href={hashOf({ tab: "jobs" })} aria-current={route.tab === "jobs" ? "page" : undefined}>
          Jobs
        </a>
      </nav>
      <main>{route.tab === "jobs" ? <JobsTab /> : <h1>Chat</h1>}</main>
    </>
  );
}
