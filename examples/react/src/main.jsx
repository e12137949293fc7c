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
          <li key={n.id} onClick={() => read(n.id)} style={{ fontWeight: n.read_at ? "normal" : "bold" }}>
            {n.title}: {n.message}
          </li>
        ))}
      </ul>
      {hasOlder && <button onClick={older}>Older</button>}
    </main>
  );
}

createRoot(document.getElementById("root")).render(
  <StrictMode>
    <NotificationsProvider url={given.get("url")} getToken={() => given.get("token")}>
      <Bell />
      <Inbox />
    </NotificationsProvider>
  </StrictMode>,
);
