import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import "./base.css";
import { App } from "./App";
import { Workspace } from "./shell/Workspace";
import { applyTheme } from "./theme";

applyTheme();
const workspace = new Workspace();
workspace.start();
const root = document.getElementById("root");
if (root) {
  createRoot(root).render(
    <StrictMode>
      <App workspace={workspace} />
    </StrictMode>,
  );
}
