/**
 * The styles of the inbox and the bell. An application may set each --falcon-… variable;
 * the others follow the light or dark scheme.
 */
const css = `
:host { display: block; color-scheme: light dark; }
:host([hidden]) { display: none; }
:host(falcon-bell) { display: inline-block; }
.falcon, .falcon-bell {
  --accent-: var(--falcon-accent, light-dark(#a83a12, #ff9a6c));
  --on-accent-: var(--falcon-on-accent, light-dark(#ffffff, #2a0e02));
  --ink-: var(--falcon-ink, light-dark(#1d1b18, #efebe3));
  --soft-: var(--falcon-soft, light-dark(#625d54, #aaa396));
  --line-: var(--falcon-line, light-dark(#e0dbd1, #36322b));
  --card-: var(--falcon-card, light-dark(#ffffff, #1f1d19));
  --tint-: var(--falcon-tint, light-dark(#fbeee7, #33221a));
  --good-: var(--falcon-good, light-dark(#1b6b3a, #7fd69b));
  --good-tint-: var(--falcon-good-tint, light-dark(#e2f3e7, #17301f));
  --wait-: var(--falcon-wait, light-dark(#7a5200, #eac16a));
  --wait-tint-: var(--falcon-wait-tint, light-dark(#fbf0d3, #332a13));
  --bad-: var(--falcon-bad, light-dark(#a8232d, #ff9c9c));
  --bad-tint-: var(--falcon-bad-tint, light-dark(#fbe5e5, #3a1c1e));
  --radius-: var(--falcon-radius, 14px);
  color: var(--ink-);
  text-align: start;
  font: var(--falcon-font, 16px/1.45 ui-sans-serif, system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "Liberation Sans", sans-serif);
}
.falcon { container-type: inline-size; }
.falcon *, .falcon-bell * { box-sizing: border-box; }
.falcon [hidden], .falcon-bell [hidden] { display: none !important; }
.falcon :is(h1, h2, h3, h4, p, ul) { margin: 0; padding: 0; }
.falcon ul { list-style: none; }
.falcon button, .falcon-bell button { font: inherit; color: inherit; border: 0; background: none; cursor: pointer; }
.falcon button:disabled { cursor: default; opacity: .5; }
.falcon :focus-visible, .falcon-bell :focus-visible { outline: 3px solid var(--accent-); outline-offset: 1px; border-radius: 6px; }
.falcon .icon, .falcon-bell .icon { width: 1.25em; height: 1.25em; flex: none; }
.falcon .unseen { position: absolute; width: 1px; height: 1px; margin: -1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }

.falcon .toolbar { display: flex; flex-wrap: wrap; align-items: center; gap: 6px 8px; margin-bottom: 8px; }
.falcon .heading { display: flex; align-items: baseline; gap: 10px; margin-inline-end: auto; }
.falcon .heading .name { font-size: 1.5rem; line-height: 1.2; letter-spacing: -.02em; }
.falcon .summary { color: var(--soft-); font-size: .9375rem; }
.falcon .choice { display: inline-flex; padding: 3px; border-radius: 10px; background: color-mix(in srgb, var(--ink-) 8%, transparent); }
.falcon .choice button { min-height: 30px; padding: 2px 12px; border-radius: 7px; font-size: .875rem; font-weight: 600; color: var(--soft-); }
.falcon .choice button[aria-pressed="true"] { background: color-mix(in srgb, var(--card-), light-dark(transparent, var(--ink-)) 18%); color: var(--ink-); box-shadow: 0 1px 2px rgb(0 0 0 / 18%); }
.falcon .tool { display: inline-flex; align-items: center; gap: 6px; min-height: 36px; padding: 4px 10px; border-radius: 8px; font-size: .875rem; font-weight: 600; }
.falcon .tool:hover:enabled { background: color-mix(in srgb, var(--ink-) 7%, transparent); }
.falcon .track { position: relative; width: 34px; height: 20px; border-radius: 10px; background: var(--soft-); }
.falcon .track::after { content: ""; position: absolute; top: 3px; left: 3px; width: 14px; height: 14px; border-radius: 50%; background: var(--card-); transition: transform .15s; }
.falcon [aria-checked="true"] .track { background: var(--accent-); }
.falcon [aria-checked="true"] .track::after { transform: translateX(14px); }

.falcon .notice { display: flex; flex-wrap: wrap; align-items: center; gap: 6px 10px; margin-bottom: 8px; padding: 10px 14px; border-radius: var(--radius-); background: var(--wait-tint-); color: var(--wait-); font-size: .9375rem; }
.falcon .notice.trouble { background: var(--bad-tint-); color: var(--bad-); }
.falcon .notice p { flex: 1 1 260px; }
.falcon .outline { min-height: 36px; padding: 4px 12px; border: 1px solid currentcolor; border-radius: 9px; font-size: .875rem; font-weight: 600; }

.falcon .day { margin: 12px 4px 5px; color: var(--soft-); font-size: .8125rem; font-weight: 600; line-height: 1.3; }
.falcon section:first-child > .day { margin-top: 0; }
.falcon .items { border: 1px solid var(--line-); border-radius: var(--radius-); background: var(--card-); overflow: clip; }
.falcon .items li + li { border-top: 1px solid var(--line-); }
.falcon .item { position: relative; display: flex; gap: 12px; padding: 8px 14px; }
.falcon .item:focus-visible { outline-offset: -3px; border-radius: var(--radius-); }
.falcon .item.unread { background: color-mix(in srgb, var(--tint-) 55%, transparent); }
.falcon .item.unread::before { content: ""; position: absolute; inset-inline-start: 0; top: 0; bottom: 0; width: 4px; background: var(--accent-); }
.falcon .token { display: grid; place-items: center; flex: none; width: 32px; height: 32px; margin-top: 4px; border-radius: 50%; background: var(--tint-); color: var(--accent-); font-size: .9rem; }
.falcon .body { flex: 1; min-width: 0; overflow-wrap: anywhere; }
.falcon .top { display: flex; align-items: baseline; gap: 10px; }
.falcon .title { flex: 1; min-width: 0; font-size: .9375rem; font-weight: 500; line-height: 1.4; text-wrap: wrap; }
.falcon .unread .title { font-weight: 700; }
.falcon .title a { color: inherit; text-decoration-color: color-mix(in srgb, currentcolor 40%, transparent); text-underline-offset: 3px; }
.falcon .title a:hover { color: var(--accent-); }
.falcon time { flex: none; min-width: 5.75rem; color: var(--soft-); font-size: .8125rem; text-align: end; }
.falcon .chip { flex: none; padding: 0 9px; border-radius: 999px; font-size: .75rem; font-weight: 600; line-height: 20px; background: var(--tint-); color: var(--accent-); }
.falcon .message { color: var(--soft-); font-size: .9375rem; white-space: pre-line; }
.falcon .text { display: flex; align-items: flex-end; gap: 10px; }
.falcon .message { flex: 1; min-width: 0; }
.falcon .message.clamped { display: -webkit-box; -webkit-box-orient: vertical; -webkit-line-clamp: 1; overflow: hidden; }
.falcon .expand { flex: none; padding: 0; color: var(--accent-); font-size: .875rem; font-weight: 600; text-decoration: underline; text-underline-offset: 3px; }
.falcon .acts { display: flex; gap: 2px; }
.falcon .act { display: grid; place-items: center; min-width: 34px; min-height: 30px; padding: 0; border-radius: 8px; color: var(--soft-); }
.falcon .act:hover { background: color-mix(in srgb, var(--ink-) 9%, transparent); color: var(--ink-); }
.falcon .status-1 :is(.token, .chip) { background: var(--wait-tint-); color: var(--wait-); }
.falcon .status-2 :is(.token, .chip) { background: var(--good-tint-); color: var(--good-); }
.falcon .status-3 :is(.token, .chip) { background: var(--bad-tint-); color: var(--bad-); }

/* With a mouse or a keyboard the actions cover the end of the title, not the time, which has its full form on hover. */
@media (hover: hover) {
  .falcon .acts { position: absolute; inset-inline-end: 6.75rem; top: 3px; padding-inline-start: 14px; border-radius: 8px; background: var(--card-); opacity: 0; pointer-events: none; }
  .falcon .unread .acts { background: color-mix(in srgb, var(--tint-) 55%, var(--card-)); }
  .falcon .item:is(:hover, :focus-within) .acts { opacity: 1; pointer-events: auto; }
}
@media (hover: none) {
  .falcon time { min-width: 0; }
  .falcon .acts { justify-content: flex-end; margin: -4px -8px -6px; }
  .falcon :is(.act, .tool, .outline, .choice button, .expand) { min-width: 44px; min-height: 44px; }
}

.falcon .empty { display: grid; justify-items: center; gap: 6px; padding: 48px 20px; text-align: center; color: var(--soft-); }
.falcon .empty .big { color: var(--ink-); font-size: 1.125rem; }
.falcon .empty p { max-width: 40ch; text-wrap: balance; }
.falcon .empty .icon { width: 44px; height: 44px; color: var(--accent-); }
.falcon .loading { padding: 40px 0; color: var(--soft-); text-align: center; }
.falcon .older { display: block; margin: 14px auto 0; }
.falcon .said { position: sticky; bottom: 14px; z-index: 2; display: flex; align-items: center; gap: 12px; width: fit-content; max-width: 100%; margin: 12px auto 0; padding: 6px 8px 6px 16px; border-radius: 12px; background: var(--ink-); color: var(--card-); font-size: .9375rem; box-shadow: 0 8px 28px rgb(0 0 0 / 25%); }
.falcon .said button { min-height: 36px; padding: 4px 10px; border-radius: 8px; font-weight: 700; text-decoration: underline; text-underline-offset: 3px; }
.falcon .said button:hover { background: color-mix(in srgb, currentcolor 16%, transparent); }
.falcon .said:not(:has(button:not([hidden]))) { padding-inline-end: 16px; }
@container (max-width: 560px) {
  .falcon .toolbar { gap: 2px 4px; }
  .falcon .heading { order: -2; width: calc(100% - 10rem); }
  .falcon .mute { order: -1; margin-inline-start: auto; }
  .falcon :is(.tool, .choice button) { padding-inline: 6px; }
  .falcon .top { gap: 8px; }
  .falcon .top:has(.chip) time { min-width: 0; }
  .falcon .item:has(.chip) .acts { inset-inline-end: 8px; } /* the time is one line below */
  .falcon .item { gap: 10px; padding-inline: 12px; }
  .falcon .message.clamped { -webkit-line-clamp: 2; }
  .falcon .top:has(.chip) { flex-wrap: wrap; row-gap: 2px; }
  .falcon .top:has(.chip) .title { flex-basis: 100%; }
}

.falcon-bell { position: relative; display: inline-block; }
.falcon-bell > button { position: relative; display: grid; place-items: center; width: 44px; height: 44px; border-radius: 12px; font-size: 1.15rem; }
.falcon-bell > button:hover { background: color-mix(in srgb, var(--ink-) 7%, transparent); }
.falcon-bell .badge { position: absolute; top: 2px; inset-inline-end: 0; min-width: 20px; padding: 0 5px; border-radius: 10px; background: var(--accent-); color: var(--on-accent-); font-size: .75rem; font-weight: 700; line-height: 20px; text-align: center; }
.falcon-bell .badge:empty { display: none; }
.falcon-bell .panel { position: fixed; z-index: 1000; width: min(440px, calc(100vw - 24px)); overflow: auto; padding: 14px; border: 1px solid var(--line-); border-radius: var(--radius-); background: var(--card-); box-shadow: 0 14px 44px rgb(0 0 0 / 22%); }
@media (prefers-reduced-motion: no-preference) {
  .falcon .item.fresh { animation: falcon-land .5s ease-out; }
}
@keyframes falcon-land { from { transform: translateY(-8px); } }
`;
let sheet;
/** Adds the styles to a document or shadow root, once. style-src does not apply to a constructed sheet. */
export function dress(root) {
    if (!sheet) {
        sheet = new CSSStyleSheet();
        sheet.replaceSync(css);
    }
    if (!root.adoptedStyleSheets.includes(sheet))
        root.adoptedStyleSheets = [...root.adoptedStyleSheets, sheet];
}
