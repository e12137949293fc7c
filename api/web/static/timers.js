// Intervals that stay on time while the tab is in the background; see ticker.js.

const script = new URL("./ticker.js", import.meta.url).href;
const handlers = new Map();
let next = 1;
let worker;

function start() {
  const policy = globalThis.trustedTypes?.createPolicy("falconbridge", {
    createScriptURL: (url) => {
      if (url !== script) throw new TypeError("not the ticker");
      return url;
    },
  });
  worker = new Worker(policy ? policy.createScriptURL(script) : script);
  worker.onmessage = ({ data: id }) => handlers.get(id)?.();
}

/** The pair that mqtt.js takes in the place of setInterval and clearInterval. */
export const ticker = {
  set(f, every) {
    if (!worker) start();
    const id = next++;
    handlers.set(id, f);
    worker.postMessage({ id, every });
    return id;
  },
  clear(id) {
    handlers.delete(id);
    worker?.postMessage({ id });
  },
};
