import { defineConfig } from "vite";

export default defineConfig({
  server: {
    port: Number(process.env.PORT ?? 5173),
    strictPort: true, // the server's cors-origins name it
    fs: { allow: [".", "../../clients/js"] },
  },
  esbuild: { jsx: "automatic" },
  resolve: { dedupe: ["react", "react-dom"] }, // the client lies in this repository, with a React of its own
});
