import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { NotificationsProvider, useNotifications, useUnreadCount } from "@falconalert/falconbridge/react";

const given = new URLSearchParams(location.hash.slice(1));

function Bell() {
  const unread = useUnreadCount();
  return <button aria-label={`${unread} unread`}>🔔 {unread || ""}</button>;
}

function Inbox() {
  const { notifications, state, read, readAll, older, hasOlder } = useNotifications();
  return (
    <main>
      <p id="state">{state}</p>
      <button onClick={readAll}>Mark all read</button>
      <ul>
        {notifications.map((n) => (
          <li key={n.id} dir="auto" onClick={() => read(n.id)} style={{ fontWeight: n.read_at ? "normal" : "bold" }}>
            {n.title}: {n.message}
          </li>
        ))}
      </ul>
      {hasOlder && <button onClick={older}>Older</button>}
    </main>
  );
}

const App = () => (
  <NotificationsProvider url={given.get("url")} getToken={() => given.get("token")}>
    <Bell />
    <Inbox />
  </NotificationsProvider>
);

createRoot(document.getElementById("root")).render(
  <StrictMode>
    {given.has("url") && given.has("token") ? <App /> : <p>Open it with #url=http://127.0.0.1:8080&amp;token=&lt;token&gt;</p>}
  </StrictMode>,
);
