const en = {
  inbox: "Inbox",
  all: "All",
  unreadOnly: "Unread",
  filter: "Which notifications are shown",
  markAll: "Mark all read",
  removeRead: "Delete read",
  mute: "Mute",
  muteHint: "Muted, no notification is shown, announced or sent to any of your devices. They are kept, and listed again when you unmute.",
  mutedTitle: "Muted on all your devices",
  mutedText: "New notifications are kept but neither shown, announced nor sent until you unmute.",
  showMuted: "Show history",
  hideMuted: "Hide history",
  unmute: "Unmute",
  muteKind: (kind: string) => `Mute “${kind}”`,
  kindsMuted: (kinds: string) => `Muted kinds: ${kinds}`,
  unmuteKind: (kind: string) => `Unmute “${kind}”`,
  emptyTitle: "Your inbox is empty",
  emptyText: "Nothing has been sent to you yet. The next notification will appear here.",
  noUnreadTitle: "No unread notifications",
  noUnreadText: "You have seen everything.",
  showAll: "Show all",
  loading: "Loading your notifications…",
  older: "Load older",
  olderLoaded: (n: number) => `${n.toLocaleString("en")} older ${n === 1 ? "notification" : "notifications"} loaded`,
  unreadMark: "Unread",
  markRead: "Mark read",
  markUnread: "Mark unread",
  remove: "Delete",
  removed: "Notification deleted",
  readRemoved: "Read notifications deleted",
  markedAll: "All marked read",
  undo: "Undo",
  undone: "Kept",
  more: "More",
  less: "Less",
  bell: (n: number) => (n === 0 ? "Notifications, none unread" : `Notifications, ${n.toLocaleString("en")} unread`),
  unread: (n: number) => (n === 0 ? "all read" : `${n.toLocaleString("en")} unread`),
  status1: "Pending",
  status2: "Approved",
  status3: "Rejected",
  pollingTitle: "Live connection blocked",
  pollingText: "MQTT over WebSocket does not get through here, so new notifications may take some seconds.",
  awayTitle: "Server unavailable",
  awayText: "The server does not respond. What you see may be out of date. Still trying to connect.",
  offlineTitle: "Offline",
  offlineText: "This device has no network. New notifications follow when it is back.",
  endedTitle: "Signed out",
  endedText: "Your session is over. What you see may be out of date.",
  expiringTitle: "Your session is about to end",
  expiringText: "Sign in again to keep receiving notifications. Nothing here is lost.",
  renew: "Sign in again",
  retry: "Try now",
  failed: (why: string) => `This did not work, so nothing was changed. ${why}`.trim(),
};

type English = typeof en;
interface Words extends English {} // has a name in declarations, where English would be spelled out

const es: Words = {
  inbox: "Bandeja",
  all: "Todas",
  unreadOnly: "Sin leer",
  filter: "Qué notificaciones se muestran",
  markAll: "Marcar todo leído",
  removeRead: "Eliminar leídas",
  mute: "Silenciar",
  muteHint: "En silencio no se muestra, anuncia ni envía ninguna notificación a sus dispositivos. Se guardan, y vuelven a la lista al quitar el silencio.",
  mutedTitle: "En silencio en todos sus dispositivos",
  mutedText: "Las notificaciones nuevas se guardan, pero no se muestran, anuncian ni envían hasta que quite el silencio.",
  showMuted: "Ver historial",
  hideMuted: "Ocultar historial",
  unmute: "Quitar silencio",
  muteKind: (kind) => `Silenciar «${kind}»`,
  kindsMuted: (kinds) => `Tipos en silencio: ${kinds}`,
  unmuteKind: (kind) => `Quitar el silencio de «${kind}»`,
  emptyTitle: "Su bandeja está vacía",
  emptyText: "Aún no le han enviado nada. La próxima notificación aparecerá aquí sola.",
  noUnreadTitle: "No hay notificaciones sin leer",
  noUnreadText: "Ya lo ha visto todo.",
  showAll: "Ver todas",
  loading: "Cargando sus notificaciones…",
  older: "Cargar anteriores",
  olderLoaded: (n) => `${n.toLocaleString("es")} ${n === 1 ? "notificación anterior cargada" : "notificaciones anteriores cargadas"}`,
  unreadMark: "Sin leer",
  markRead: "Marcar leída",
  markUnread: "Marcar sin leer",
  remove: "Eliminar",
  removed: "Notificación eliminada",
  readRemoved: "Notificaciones leídas eliminadas",
  markedAll: "Todas marcadas como leídas",
  undo: "Deshacer",
  undone: "Conservada",
  more: "Más",
  less: "Menos",
  bell: (n) => (n === 0 ? "Notificaciones, ninguna sin leer" : `Notificaciones, ${n.toLocaleString("es")} sin leer`),
  unread: (n) => (n === 0 ? "todo leído" : `${n.toLocaleString("es")} sin leer`),
  status1: "Pendiente",
  status2: "Aprobado",
  status3: "Rechazado",
  pollingTitle: "Conexión en vivo bloqueada",
  pollingText: "Aquí no pasa MQTT por WebSocket: las notificaciones nuevas pueden tardar unos segundos.",
  awayTitle: "Servidor no disponible",
  awayText: "El servidor no responde. Lo que ve puede no estar al día; se sigue intentando.",
  offlineTitle: "Sin red",
  offlineText: "Este dispositivo no tiene red. Las notificaciones nuevas llegarán cuando vuelva.",
  endedTitle: "Sesión terminada",
  endedText: "Su sesión ha terminado. Lo que ve puede no estar al día.",
  expiringTitle: "Su sesión está por terminar",
  expiringText: "Inicie sesión de nuevo para seguir recibiendo notificaciones. No se pierde nada de lo que ve.",
  renew: "Iniciar sesión de nuevo",
  retry: "Intentar ahora",
  failed: (why) => `No fue posible, así que no se cambió nada. ${why}`.trim(),
};

const byLanguage = <L extends string>(all: Record<L, Words>) => all; // infers L

// The only list of languages in the client. A Go test checks that it has every language of the server.
const languages = byLanguage({ en, es });

/** A language in which the element has its texts. */
export type Language = keyof typeof languages;

/** The language for a tag such as "es-MX"; English for one that has no texts. */
export function language(tag: string | null | undefined): Language {
  const code = tag?.slice(0, 2).toLowerCase() ?? "";
  return Object.hasOwn(languages, code) ? (code as Language) : "en";
}

export const words = (lang: Language): Words => languages[lang];

/** A count as shown on a badge: empty for none, 99+ above 99. */
export const badge = (n: number): string => (n <= 0 ? "" : n > 99 ? "99+" : String(n));

const startOf = (date: Date) => new Date(date.getFullYear(), date.getMonth(), date.getDate());

/** A key that is the same for all times of one local day. */
export const dayOf = (date: Date): number => startOf(date).getTime();

/** "Today", "Yesterday", or the date in words. */
export function dayName(date: Date, lang: Language, today = new Date()): string {
  const days = Math.round((startOf(date).getTime() - startOf(today).getTime()) / 86_400_000);
  const year = date.getFullYear() === today.getFullYear() ? {} : { year: "numeric" as const };
  const name = days === 0 || days === -1
    ? new Intl.RelativeTimeFormat(lang, { numeric: "auto" }).format(days, "day")
    : new Intl.DateTimeFormat(lang, { weekday: "long", day: "numeric", month: "long", ...year }).format(date);
  return name.charAt(0).toLocaleUpperCase(lang) + name.slice(1);
}

/** How long ago, in short: "now", "3 min. ago"; after a day the time of day, as the date is in the heading. */
export function ago(date: Date, lang: Language, now = Date.now()): string {
  const seconds = Math.max(0, (now - date.getTime()) / 1000);
  const relative = new Intl.RelativeTimeFormat(lang, { numeric: "auto", style: "short" });
  if (seconds < 60) return relative.format(0, "second");
  if (seconds < 3_600) return relative.format(-Math.floor(seconds / 60), "minute");
  if (seconds < 86_400) return relative.format(-Math.floor(seconds / 3_600), "hour");
  return new Intl.DateTimeFormat(lang, { hour: "numeric", minute: "2-digit" }).format(date);
}

export const fullTime = (date: Date, lang: Language): string => new Intl.DateTimeFormat(lang, { dateStyle: "full", timeStyle: "medium" }).format(date);
