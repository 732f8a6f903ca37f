export function JobsTab() {
  return <h1>Jobs</h1>;
}
