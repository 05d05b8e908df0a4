// The table of devices and behaviors.

const ROWS_AT_ONCE = 100; // more are shown on request: a fleet has tens of thousands

const COLUMNS = [
  { title: "Device", key: (row) => row.device.name },
  { title: "Behavior", key: (row) => `${row.behavior.profile} ${row.behavior.name}` },
  { title: "Alarms", key: (row) => row.alarms, number: true },
  { title: "In alarm", key: (row) => row.seconds, number: true },
  { title: "Violations", key: (row) => row.violations, number: true },
  { title: "State", key: (row) => row.state.rank },
];

// Compares so that gateway-2 comes before gateway-10.
const collator = new Intl.Collator("en", { numeric: true });

class Table {
  // open: called with the row that was chosen
  constructor(data, open) {
    this.data = data;
    this.open = open;
    this.column = null; // null: the order of the page, worst first
    this.descending = false;
    this.limit = ROWS_AT_ONCE;
    this.current = null;
    this.texts = data.rows.map((row) =>
      [row.device.name, row.behavior.profile, row.behavior.name, row.behavior.metric, row.state.name].join("\n").toLowerCase(),
    );
    this.body = document.getElementById("rows");
    this.makeHead();
    const filter = document.getElementById("filter");
    filter.addEventListener("input", () => {
      this.limit = ROWS_AT_ONCE;
      this.show();
    });
    document.getElementById("more").addEventListener("click", () => {
      const first = this.body.rows.length;
      this.limit += ROWS_AT_ONCE;
      this.show();
      this.button(this.body.rows[first]).focus();
    });
    this.body.addEventListener("keydown", (event) => this.key(event));
    this.show();
  }

  makeHead() {
    this.heads = COLUMNS.map((column, index) => {
      const head = element("th", "", { scope: "col" });
      if (column.number) head.classList.add("number");
      const button = element("button", column.title, { type: "button" });
      button.addEventListener("click", () => this.sort(index));
      head.append(button);
      document.getElementById("head").append(head);
      return head;
    });
  }

  // A column is sorted from the side that matters first, then the other way, then the page's own order comes back.
  sort(index) {
    const first = Boolean(COLUMNS[index].number); // numbers: highest first
    if (this.column !== index) [this.column, this.descending] = [index, first];
    else if (this.descending === first) this.descending = !first;
    else this.column = null;
    this.show();
  }

  found() {
    const words = document.getElementById("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
    const rows = this.data.rows.filter((row) => words.every((word) => this.texts[row.index].includes(word)));
    if (this.column !== null) {
      const key = COLUMNS[this.column].key;
      const sign = this.descending ? -1 : 1;
      rows.sort((a, b) => {
        const [left, right] = [key(a), key(b)];
        const order = typeof left === "number" ? left - right : collator.compare(left, right);
        return sign * order || a.index - b.index;
      });
    }
    return rows;
  }

  show() {
    const rows = this.found();
    const shown = rows.slice(0, this.limit);
    this.body.replaceChildren(...shown.map((row) => this.makeRow(row)));
    this.heads.forEach((head, index) => {
      const order = this.column !== index ? "none" : this.descending ? "descending" : "ascending";
      head.setAttribute("aria-sort", order);
    });
    const order = this.column === null ? "worst first" : `by ${COLUMNS[this.column].title.toLowerCase()}`;
    const of = rows.length < this.data.rows.length ? ` of ${number(this.data.rows.length)}` : "";
    document.getElementById("count").textContent = `${number(rows.length)}${of} ${this.data.rows.length === 1 ? "row" : "rows"}, ${order}`;
    const more = document.getElementById("more");
    const left = rows.length - shown.length;
    more.hidden = left === 0;
    more.textContent = `Show ${Math.min(left, ROWS_AT_ONCE)} more of ${number(left)}`;
  }

  makeRow(row) {
    const made = document.createElement("tr");
    made.dataset.row = row.index;
    if (row.index === this.current) made.setAttribute("aria-current", "true");
    const device = element("th", "", { scope: "row" });
    // A device has a row for each behavior, which a list of buttons must tell apart.
    const label = `${row.device.name}: ${row.behavior.name}`;
    device.append(nameElement("button", row.device.name, { type: "button", "aria-label": label }));
    const behavior = document.createElement("td");
    behavior.append(nameElement("span", row.behavior.name), nameElement("small", row.behavior.profile));
    const replayed = row.skipped === null;
    const violations = element("td", replayed ? number(row.violations) : "", { class: "number" });
    if (replayed) violations.append(" ", element("small", `of ${number(row.datapoints)}`));
    const state = document.createElement("td");
    state.append(element("span", row.state.name, { class: `state ${row.state.kind}` }));
    if (row.behavior.suppressed) state.append(" ", element("small", "alerts are suppressed"));
    made.append(
      device,
      behavior,
      element("td", replayed ? number(row.alarms) : "", { class: "number" }),
      element("td", row.alarms ? span(row.seconds) : "", { class: "number" }),
      violations,
      state,
    );
    made.addEventListener("click", () => this.choose(row.index));
    return made;
  }

  choose(index) {
    this.mark(index);
    this.open(this.data.rows[index]);
  }

  mark(index) {
    this.current = index;
    for (const row of this.body.rows) {
      if (Number(row.dataset.row) === index) row.setAttribute("aria-current", "true");
      else row.removeAttribute("aria-current");
    }
  }

  button(row) {
    return row.querySelector("button");
  }

  // Up and down go through the rows; Enter and the space bar are the button's own.
  key(event) {
    const row = event.target.closest("tr");
    const next = { ArrowDown: row.nextElementSibling, ArrowUp: row.previousElementSibling }[event.key];
    if (next) {
      this.button(next).focus();
      event.preventDefault();
    }
  }

  focus() {
    const row = [...this.body.rows].find((candidate) => Number(candidate.dataset.row) === this.current);
    (row ? this.button(row) : document.getElementById("filter")).focus();
  }
}
