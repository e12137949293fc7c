// Runs as a worker: browsers slow the timers of a tab in the background down to one
// a minute, but not those of its workers, and MQTT's keep-alive must not be late.
const timers = new Map();

self.onmessage = ({ data: { id, every } }) => {
  clearInterval(timers.get(id));
  timers.delete(id);
  if (every) timers.set(id, setInterval(() => self.postMessage(id), every));
};
