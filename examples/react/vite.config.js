import { defineConfig } from "vite";

export default defineConfig({
  esbuild: { jsx: "automatic" },
  resolve: { dedupe: ["react", "react-dom"] }, // the client lies in this repository, with a React of its own
});
