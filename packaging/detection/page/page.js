// Connects the table with the metric over time.

const MAX_LISTED = 60; // elements of one moment
const MAX_ALARM_BUTTONS = 20;

// There is room for the table and the metric side by side; page.css has the same width.
const wide = matchMedia("(min-width: 1100px)");
const byId = (id) => document.getElementById(id);

class Page {
  constructor(data) {
    this.data = data;
    this.chart = null;
    byId("summary").textContent = data.summary;
    byId("left-out").textContent = data.leftOut;
    this.table = new Table(data, (row) => this.open(row, true));
    const tools = {
      "zoom-in": (chart) => chart.zoom(0.5),
      "zoom-out": (chart) => chart.zoom(2),
      "pan-left": (chart) => chart.pan(-0.5),
      "pan-right": (chart) => chart.pan(0.5),
      "zoom-all": (chart) => chart.all(),
    };
    for (const [id, use] of Object.entries(tools)) byId(id).addEventListener("click", () => this.chart && use(this.chart));
    byId("log").addEventListener("change", () => this.draw(byId("log").checked));
    byId("detail").addEventListener("keydown", (event) => {
      if (event.key === "Escape") this.table.focus();
    });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.redraw());
    new ResizeObserver(() => this.resize()).observe(byId("chart"));
  }

  // Shows the metric of a row. moveFocus: a person asked for it.
  async open(row, moveFocus) {
    this.row = row;
    this.table.mark(row.index);
    byId("detail").hidden = false;
    const title = byId("detail-title");
    title.textContent = `${row.device.name}: ${row.behavior.name}`;
    byId("detail-normal").textContent = `Normal is ${row.behavior.rule}${here(row)} (profile ${row.behavior.profile})`;
    byId("detail-state").textContent = state(row);
    byId("notes").replaceChildren(...[row.device.remark, ...row.notes].filter(Boolean).map((note) => element("li", note)));
    const series = row.skipped === null ? await this.data.series(row) : null;
    if (this.row !== row) return; // another row was chosen meanwhile
    this.series = series;
    this.others = [];
    this.draw();
    this.readout(null);
    if (moveFocus) {
      title.focus({ preventScroll: true });
      if (!wide.matches) byId("detail").scrollIntoView();
    }
    if (series) this.readOthers(row); // not waited for: only the readout has them
  }

  // The lists of the same device, such as destinations, are shown beside a number of the same moment.
  async readOthers(row) {
    const metrics = new Map();
    for (const other of this.data.rows) {
      const { lists, metric } = other.behavior;
      if (other.device === row.device && lists && metric !== row.behavior.metric && other.series >= 0) metrics.set(metric, other);
    }
    const others = await Promise.all([...metrics.values()].map(async (other) => ({ row: other, series: await this.data.series(other) })));
    if (this.row !== row) return;
    this.others = others;
    this.readout(this.chart?.bucket ?? null);
  }

  draw(logarithmic) {
    this.chart?.destroy();
    this.chart = null;
    const { row, series } = this;
    const host = byId("chart");
    host.replaceChildren();
    const empty = row.behavior.lists && series?.elements.length === 0;
    const drawn = Boolean(series) && !empty;
    host.classList.toggle("drawn", drawn);
    host.tabIndex = drawn ? 0 : -1;
    for (const id of ["tools", "readout", "legend"]) byId(id).hidden = !drawn;
    this.listAlarms();
    if (empty) host.append(element("p", `${row.behavior.empty}: each of ${plural(row.datapoints, "datapoint")} has an empty list`));
    else if (!series && row.skipped === null) host.append(element("p", row.datapoints ? this.data.notHere : "no datapoints"));
    if (!drawn) return;
    this.chart = new Chart(host, row, series, logarithmic, (bucket) => this.readout(bucket));
    const axis = [row.behavior.unit, ...(this.chart.logarithmic ? ["logarithmic axis"] : [])].join(", ");
    host.setAttribute("aria-label", `${row.behavior.metric} of ${row.device.name} over time, ${axis}`);
    byId("log-label").hidden = !this.chart.canBeLogarithmic;
    byId("log").checked = Boolean(this.chart.logarithmic);
    byId("legend").replaceChildren(...legend(row, series));
  }

  redraw() {
    if (this.chart) this.draw(this.row.behavior.lists ? undefined : this.chart.logarithmic);
  }

  resize() {
    if (!this.chart || Math.abs(byId("chart").clientWidth - this.chart.plot.width) < 2) return;
    if (this.row.behavior.lists) this.redraw(); // the labels' room depends on the width
    else this.chart.plot.setSize(this.chart.size());
  }

  listAlarms() {
    const alarms = this.series?.alarms ?? [];
    const shown = alarms.slice(0, MAX_ALARM_BUTTONS).map(([start, end, invalidated]) => {
      const last = end ?? this.row.device.last;
      const how = end === null ? "not cleared at the end" : invalidated ? "invalidated, two days without a datapoint" : "cleared";
      const button = element("button", `${moment(start)}, ${span(last - start)}, ${how}`, { type: "button" });
      const margin = Math.max(last - start, 6 * (this.row.device.interval || 300));
      button.addEventListener("click", () => {
        this.chart.view(start - margin, last + margin);
        this.chart.goTo(this.series.nearest(start));
      });
      const item = document.createElement("li");
      item.append(button);
      return item;
    });
    const more = alarms.length - shown.length;
    const list = document.createElement("ul");
    list.append(...shown);
    const title = element("h3", shown.length ? "Alarms (UTC)" : "");
    byId("alarms").replaceChildren(...(shown.length ? [title, list] : []), ...(more > 0 ? [element("p", `and ${plural(more, "more alarm")}`)] : []));
  }

  // Says what there was at the moment that is pointed at.
  readout(bucket) {
    const box = byId("readout");
    if (bucket === null || !this.series) {
      box.replaceChildren(element("p", "Point at the chart, or move in it with the arrow keys, to read a moment.", { class: "hint" }));
      return;
    }
    const { row, series } = this;
    const time = series.times[bucket];
    const until = series.width ? ` to ${moment(series.end(bucket))} UTC, ${plural(series.counts[bucket], "datapoint")}` : " UTC";
    const head = element("p", `${moment(time)}${until}`, { class: "when" });
    const bad = series.violations.get(bucket) ?? 0;
    if (bad) head.append(" ", element("strong", series.width ? `${number(bad)} in violation` : "in violation"));
    if (bad && row.behavior.suppressed) head.append(" (alerts are suppressed)");
    box.replaceChildren(head, row.behavior.lists ? listed(row, series, bucket) : measured(row, series, bucket));
    for (const other of this.others) {
      const at = other.series.nearest(time);
      if (Math.abs(other.series.times[at] - time) > Math.max(other.series.width, series.width, 1)) continue;
      box.append(listed(other.row, other.series, at));
    }
  }
}

// Returns the number that a percentile has here; a limit of the behavior's own is in its rule already.
function here(row) {
  return row.limit === null || row.behavior.rule.includes(` ${number(row.limit)}`) ? "" : ` (${number(row.limit)} here)`;
}

function state(row) {
  if (row.skipped !== null) return `Not replayed: ${row.skipped}`;
  const { toAlarm, toClear, suppressed } = row.behavior;
  const parts = [
    `${plural(row.datapoints, "datapoint")}, ${number(row.violations)} in violation`,
    `${plural(row.alarms, "alarm")}${row.alarms ? `, ${span(row.seconds)} in alarm` : ""}`,
    `${number(toAlarm)} in a row to alarm, ${number(toClear)} to clear`,
  ];
  return parts.join("; ") + (suppressed ? "; suppressAlerts: nobody is alerted" : "");
}

function measured(row, series, bucket) {
  const [least, most] = [series.least[bucket], series.most[bucket]];
  const value = least === most ? number(most) : `${number(least)} to ${number(most)}`;
  const limit = row.limit === null ? "" : `; limit ${number(row.limit)}`;
  return element("p", `${value} ${row.behavior.unit}${limit}`);
}

// Returns the elements of one moment, those in violation first and marked.
function listed(row, series, bucket) {
  const found = series.elementsAt(bucket);
  const line = element("p", `${row.behavior.unit}: `);
  if (!found.length) line.append(row.behavior.empty);
  found.slice(0, MAX_LISTED).forEach((index, i) => {
    if (i) line.append(", ");
    const bad = index < series.outside;
    line.append(element(bad ? "strong" : "span", bad ? `${series.elements[index]} (in violation)` : series.elements[index]));
  });
  if (found.length > MAX_LISTED) line.append(` and ${number(found.length - MAX_LISTED)} more`);
  return line;
}

function legend(row, series) {
  const entries = [];
  const entry = (kind, text) => {
    const label = element("span", text);
    label.prepend(element("i", "", { class: `key ${kind}`, "aria-hidden": "true" }));
    entries.push(label);
  };
  const of = series.width ? `, least and most of each ${span(series.width)}` : "";
  entry(series.width && !row.behavior.lists ? "band" : "line", `measured${row.behavior.lists && series.width ? `, in each ${span(series.width)}` : of}`);
  if (row.limit !== null) entry("limit", `limit ${number(row.limit)}`);
  if (series.bad.length) entry("violation", "in violation");
  if (series.alarms.length) entry(row.behavior.suppressed ? "alarm suppressed" : "alarm", row.behavior.suppressed ? "in alarm, alerts are suppressed" : "in alarm");
  if (row.behavior.lists) {
    const hidden = series.elements.length - MAX_ROWS;
    if (hidden > 0) entries.push(element("span", `${number(hidden)} more without a row here`));
    if (series.leftOut) entries.push(element("span", `${number(series.leftOut)} more are not in the page`));
  }
  return entries;
}

async function start() {
  const data = await new Data(JSON.parse(byId("data").textContent)).readTable();
  const page = new Page(data);
  const worst = data.rows[0];
  // Where there is room for both, the page opens with the worst metric beside the table.
  if (worst && worst.skipped === null && wide.matches) await page.open(worst, false);
  document.documentElement.dataset.ready = "true";
}

start().catch((error) => {
  byId("summary").textContent = `This browser can't show the page: ${error.message}. Browsers of 2023 or later can.`;
  throw error;
});
