// The reports and their status.

import { confirm } from "./confirm.js";
import { table, userButton } from "./connections.js";
import { $, h } from "./dom.js";
import { fullTime, since, t } from "./i18n.js";
import { Paged } from "./paged.js";

const statuses = [1, 2, 3];
/** The title and message that the server sends for each status, with {title} in place of the report's title. */
const texts = JSON.parse(document.querySelector('meta[name="falcon-status-texts"]').content);

export class Reports extends Paged {
  #pick;

  constructor(rest, run, pick) {
    super(rest, run, "reports", "reports-again");
    this.#pick = pick;
  }

  draw() {
    const root = $("reports");
    if (this.list.length === 0) return root.replaceChildren(h("p", { class: "none" }, t("noReports")));
    const columns = [{ name: t("number") }, { name: t("title"), class: "text" }, { name: t("reportedBy") }, { name: t("changed") }, { name: t("status") }];
    root.replaceChildren(h("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": t("reports") },
      table(t("reports"), columns, this.list.map((r) => this.#row(r)))));
    this.older(root, "more");
  }

  #row(report) {
    const choice = h(
      "select",
      { class: `status-${report.status_id}`, "aria-label": t("statusOf", report.title) },
      statuses.map((id) => h("option", { value: id, selected: id === report.status_id }, t(`status${id}`))),
    );
    choice.onchange = () => this.#change(report, choice);
    return [
      String(report.id),
      h("span", { dir: "auto" }, report.title),
      userButton(report.created_by, this.#pick),
      h("time", { datetime: report.updated_at, title: fullTime(new Date(report.updated_at)) }, since(report.updated_at)),
      choice,
    ];
  }

  /** Asks for confirmation before a status changes, because the reporter is notified and a single arrow key changes the choice. */
  async #change(report, choice) {
    const status = Number(choice.value);
    const owner = String(report.created_by);
    const [title, message] = texts[status - 1].map((text) => text.replaceAll("{title}", () => report.title));
    const agreed = await confirm({
      title: t("statusTitle", report.id, t(`status${status}`)),
      what: `${title}\n${message}`,
      text: t("statusText", owner),
      yes: t("statusYes", owner),
    });
    if (agreed) {
      await this.run(async () => {
        choice.disabled = true;
        try {
          const changed = await this.rest.send("PUT", `admin/reports/${report.id}/status`, { status_id: status });
          report.status_id = changed.status_id;
          report.updated_at = changed.updated_at;
          return changed.notification;
        } finally {
          choice.disabled = false;
        }
      }, (notified) => (notified ? t("ownerNotified", report.id, owner, notified.seq) : t("sameStatus", report.id)), t("report", report.id));
    }
    choice.value = String(report.status_id); // the current status, even after an error
    choice.className = `status-${report.status_id}`;
  }
}
