/// <reference types="vitest/config" />
import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";
import { SERVER_PORT } from "./src/api/client.ts";

export default defineConfig({
  base: "./",
  plugins: [react()],
  build: { manifest: true, modulePreload: { polyfill: false }, chunkSizeWarningLimit: 1000 },
  // The server compares Origin with Host: the proxy keeps both as the browser sent them.
  server: { proxy: { "/api": `http://127.0.0.1:${SERVER_PORT}` } },
  test: {
    environment: "happy-dom",
    include: ["src/**/*.test.{ts,tsx}"],
    restoreMocks: true,
    unstubGlobals: true,
    // One environment for all files: making it takes longer than the tests.
    isolate: false,
    maxWorkers: 1,
  },
});
