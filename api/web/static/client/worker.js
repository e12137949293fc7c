// The service worker: shows pushed notifications unless a page shows them. It is a classic
// script without imports, so that an application's own worker can load it with
// importScripts. It has no fetch handler and never reads the URLs of pages, which may
// contain tokens.

(() => {
  const responseTime = 1_000; // ms for the pages to respond

  // One notification is shown at a time: Chromium loses one whose showNotification() overlaps
  // with a getNotifications(), and a click on it then does nothing.
  let showing = Promise.resolve();

  /** The first window that responds with yes to a question; null if none does in time. */
  async function answering(question) {
    const pages = await self.clients.matchAll({ type: "window", includeUncontrolled: true });
    return new Promise((done) => {
      setTimeout(done, responseTime, null);
      for (const page of pages) {
        const { port1, port2 } = new MessageChannel();
        port1.onmessage = ({ data }) => data === true && done(page);
        page.postMessage({ falconbridge: question }, [port2]);
      }
      if (pages.length === 0) done(null);
    });
  }

  /** Shows a notification, unless a visible page has it already. */
  async function show({ title, body, navigate, data = {} }) {
    if (await answering({ ask: "has", data })) return;
    const key = data.replaces ? `replaces-${data.replaces}` : (data.id ?? (data.test ? "test" : "summary"));
    const icon = self.falconbridgeIcon; // of the application whose worker this is
    const options = {
      body, tag: `falconbridge-${key}`, renotify: true, data: { ...data, navigate },
      ...(icon ? { icon, badge: icon } : {}), ...(data.created_at ? { timestamp: Date.parse(data.created_at) } : {}),
    };
    const displayed = showing.then(() => display(title, options));
    showing = displayed.catch(() => {}); // a failure does not stop later ones
    await displayed;
  }

  /** Displays a notification, and on the application's icon how many there are now. */
  async function display(title, options) {
    await self.registration.showNotification(title, options);
    const shown = await self.registration.getNotifications();
    await self.navigator.setAppBadge?.(shown.filter((n) => n.tag.startsWith("falconbridge-")).length);
  }

  /** Opens a notification's link. Without one, focuses an open inbox or opens it. */
  async function open({ url, navigate, ...data }) {
    if (!url) {
      const page = await answering({ ask: "open", data });
      if (page) return page.focus();
    }
    const at = new URL(navigate && navigate !== "/" ? navigate : ".", self.registration.scope);
    if (at.protocol === "https:" || at.protocol === "http:") await self.clients.openWindow(at.href);
  }

  self.addEventListener("push", (event) => {
    let message;
    try {
      message = event.data.json();
    } catch {
      return; // not one of falconbridge
    }
    if (message?.web_push === 8030 && message.notification?.title) event.waitUntil(show(message.notification));
  });

  self.addEventListener("notificationclick", (event) => {
    if (!event.notification.tag.startsWith("falconbridge-")) return;
    event.notification.close();
    event.waitUntil(open(event.notification.data ?? {}));
  });
})();
