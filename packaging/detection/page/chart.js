// One metric over time. uPlot draws the axes and lines; marks.js the limit, alarms, violations and elements.

const MAX_ROWS = 20; // elements that get a row of their own
const ROW_PIXELS = 18;
const UNIT_PIXELS = 90; // of an axis: its unit stands along it, "destinations"
const WHOLE_STEPS = Array.from({ length: 19 }, (_, power) => [1, 2, 5].map((digit) => digit * 10 ** power)).flat();

// Formats of the time axis for each step in seconds: the label, and what is added where the year or the day changes.
const TIME_LABELS = [
  [31536000, "{YYYY}", null, null, null, null, null, null, 1],
  [2419200, "{MMM}", "\n{YYYY}", null, null, null, null, null, 1],
  [86400, "{D} {MMM}", "\n{YYYY}", null, null, null, null, null, 1],
  [60, "{HH}:{mm}", "\n{D} {MMM} {YYYY}", null, "\n{D} {MMM}", null, null, null, 1],
  [1, "{HH}:{mm}:{ss}", "\n{D} {MMM} {YYYY}", null, "\n{D} {MMM}", null, null, null, 1],
];

class Chart {
  // pointed: called with the bucket that is pointed at, or null
  constructor(host, row, series, logarithmic, pointed) {
    Object.assign(this, { host, row, series, pointed });
    this.step = series.width || row.device.interval || 300;
    this.first = Math.min(row.device.first, series.times[0]) - this.step;
    this.last = Math.max(row.device.last, series.times.at(-1)) + this.step;
    this.bucket = null;
    if (row.behavior.lists) this.shown = series.elements.slice(0, MAX_ROWS);
    else this.prepareNumbers(logarithmic);
    this.colors = readColors();
    this.marks = new Marks(this);
    this.plot = new uPlot(this.options(), this.columns(), host);
    this.controls = new Controls(this);
  }

  // Puts a hole where datapoints are missing, so that no line is drawn over a pause.
  columns() {
    const { times, least, most } = this.series;
    const columns = [[], [], []];
    times.forEach((time, bucket) => {
      if (bucket && time - times[bucket - 1] > 3.5 * this.step) {
        columns[0].push(times[bucket - 1] + this.step);
        columns[1].push(null);
        columns[2].push(null);
      }
      columns[0].push(time);
      columns[1].push(most ? most[bucket] : null);
      columns[2].push(least ? least[bucket] : null);
    });
    return this.series.width ? columns : columns.slice(0, 2);
  }

  prepareNumbers(logarithmic) {
    const { least, most } = this.series;
    const usual = Math.max(1, Float64Array.from(most).sort()[most.length >> 1]);
    const high = Math.max(largest(most), this.row.limit ?? 0);
    this.canBeLogarithmic = -largest(least.map((value) => -value)) >= 0 && (this.row.limit ?? 0) >= 0;
    // On a linear axis a limit or a burst far above the rest would hide the rest.
    this.logarithmic = this.canBeLogarithmic && (logarithmic ?? high > 30 * usual);
    this.threshold = 10 ** Math.floor(Math.log10(usual));
  }

  options() {
    const { behavior } = this.row;
    const line = { stroke: this.colors.line, width: 1.5, points: { size: 5, fill: this.colors.line } };
    const axis = { stroke: this.colors.text, grid: { stroke: this.colors.grid, width: 1 }, ticks: { stroke: this.colors.grid, width: 1 } };
    const vertical = behavior.lists ? this.elementAxis() : this.numberAxis();
    return {
      ...this.size(),
      tzDate: (time) => uPlot.tzDate(new Date(time * 1000), "Etc/UTC"),
      legend: { show: false },
      padding: [null, 34, null, null], // half of a time, which may stand at the end
      cursor: { y: false, points: { show: !behavior.lists }, drag: { x: true, y: false, setScale: false } },
      scales: { x: { range: (plot, low, high) => [low ?? this.first, high ?? this.last] }, y: vertical.scale },
      axes: [
        { ...axis, label: "Time (UTC)", labelSize: 22, space: 80, values: TIME_LABELS },
        { ...axis, ...vertical.axis },
      ],
      series: this.series.width ? [{}, line, line] : [{}, line],
      bands: this.series.width ? [{ series: [1, 2], fill: this.colors.band }] : [],
      hooks: {
        drawClear: [() => this.marks.alarms()],
        draw: [() => (behavior.lists ? this.marks.elements() : this.marks.numbers())],
        ready: [(plot) => plot.setScale("x", { min: this.first, max: this.last })],
        setSelect: [(plot) => this.select(plot)],
      },
    };
  }

  size() {
    const height = this.row.behavior.lists ? 90 + Math.max(UNIT_PIXELS, ROW_PIXELS * this.shown.length) : 300;
    return { width: Math.max(200, this.host.clientWidth), height };
  }

  numberAxis() {
    const { behavior, limit } = this.row;
    const range = (plot, low, high) => {
      const values = [low, high, limit, 0].filter((value) => value !== null && value !== undefined);
      const [bottom, top] = [Math.min(...values), Math.max(...values)];
      return [bottom, (top - bottom || 1) * (this.logarithmic ? 1.5 : 1.08) + bottom];
    };
    const axis = {
      label: behavior.unit + (this.logarithmic ? ", logarithmic axis" : ""),
      labelSize: 22,
      space: 40,
      size: 62,
      values: (plot, ticks) => ticks.map((tick) => (tick === null ? "" : short(tick))),
    };
    if (this.logarithmic) {
      axis.filter = (plot, ticks) => ticks; // label each of them
      axis.splits = (plot, index, bottom, top) => {
        const ticks = [0];
        for (let tick = this.threshold; tick <= top; tick *= 10) ticks.push(tick);
        return ticks;
      };
    } else if (behavior.whole) axis.incrs = WHOLE_STEPS;
    const scale = this.logarithmic ? { distr: 4, asinh: this.threshold, range } : { range };
    return { scale, axis };
  }

  elementAxis() {
    const count = Math.max(1, this.shown.length);
    const room = Math.max(60, Math.min(260, this.host.clientWidth * 0.38));
    const letters = Math.floor(room / 7);
    const longest = Math.max(4, ...this.shown.map((text) => text.length));
    const cut = (text) => (text.length > letters ? `${text.slice(0, letters - 1)}…` : text);
    const axis = {
      label: this.row.behavior.unit,
      labelSize: 22,
      size: Math.min(longest, letters) * 7 + 24,
      grid: { show: false },
      splits: () => this.shown.map((_, row) => row),
      values: (plot, ticks) => ticks.map((tick) => cut(this.shown.at(-1 - tick))),
    };
    return { scale: { range: [-0.5, count - 0.5] }, axis };
  }

  // Reads the datapoint nearest to a time; null: nothing is pointed at.
  point(time) {
    const bucket = time === null ? null : this.series.nearest(time);
    if (bucket === this.bucket) return;
    this.bucket = bucket;
    this.pointed(bucket);
  }

  // Shows the datapoint, as if pointed at; moves the view where it is outside.
  goTo(bucket) {
    const time = this.series.times[bucket];
    const { min, max } = this.plot.scales.x;
    if (time < min || time > max) this.view(time - (max - min) / 2, time + (max - min) / 2);
    this.point(time);
    this.mark();
  }

  // Puts the line of the cursor at the datapoint that is read.
  mark() {
    if (this.bucket === null) return;
    const left = this.plot.valToPos(this.series.times[this.bucket], "x");
    this.plot.setCursor({ left: left > this.plot.over.clientWidth ? -10 : left, top: 10 });
  }

  select(plot) {
    const { left, width } = plot.select;
    if (width < 4) return;
    this.view(plot.posToVal(left, "x"), plot.posToVal(left + width, "x"));
    plot.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
  }

  // Shows a span of time, within the recording.
  view(min, max) {
    const width = Math.min(Math.max(max - min, 4 * this.step), this.last - this.first);
    const start = Math.max(this.first, Math.min((min + max - width) / 2, this.last - width));
    this.plot.batch(() => this.plot.setScale("x", { min: start, max: start + width })); // at once
    this.mark();
  }

  zoom(factor, center) {
    const { min, max } = this.plot.scales.x;
    const fixed = center ?? (min + max) / 2;
    this.view(fixed - (fixed - min) * factor, fixed + (max - fixed) * factor);
  }

  // Moves by a share of what is shown.
  pan(share) {
    const { min, max } = this.plot.scales.x;
    this.view(min + share * (max - min), max + share * (max - min));
  }

  all() {
    this.view(this.first, this.last);
  }

  destroy() {
    this.controls.destroy();
    this.plot.destroy();
  }
}

function largest(numbers) {
  return numbers.reduce((most, value) => Math.max(most, value), -Infinity);
}

function readColors() {
  const style = getComputedStyle(document.documentElement);
  const names = ["text", "grid", "line", "band", "limit", "alarm", "violation"];
  return Object.fromEntries(names.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
}
