// Zoom and pan of a chart: mouse, touch and keys.

class Controls {
  constructor(chart) {
    this.chart = chart;
    this.touches = new Map();
    this.over = chart.plot.over;
    this.stop = new AbortController();
    const on = (target, name, handle, options = {}) =>
      target.addEventListener(name, handle.bind(this), { signal: this.stop.signal, ...options });
    on(chart.host, "keydown", this.key);
    on(this.over, "dblclick", () => chart.all());
    on(this.over, "mousemove", (event) => chart.point(this.time(event)));
    on(this.over, "mouseleave", () => chart.point(null));
    on(this.over, "wheel", this.wheel, { passive: false });
    on(this.over, "mousedown", this.drag, { capture: true });
    on(this.over, "pointerdown", this.touch);
    on(this.over, "pointermove", this.touchMove);
    for (const name of ["pointerup", "pointercancel"]) on(this.over, name, (event) => this.touches.delete(event.pointerId));
  }

  destroy() {
    this.stop.abort();
  }

  time(event) {
    return this.chart.plot.posToVal(event.clientX - this.over.getBoundingClientRect().left, "x");
  }

  key(event) {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const { chart } = this;
    const { times } = chart.series;
    const { min, max } = chart.plot.scales.x;
    const at = chart.bucket ?? chart.series.nearest((min + max) / 2);
    const step = event.shiftKey ? 10 : 1;
    const go = (bucket) => chart.goTo(Math.max(0, Math.min(bucket, times.length - 1)));
    const actions = {
      ArrowLeft: () => go(at - step),
      ArrowRight: () => go(at + step),
      Home: () => go(above(times, min - 1)),
      End: () => go(above(times, max) - 1),
      PageUp: () => chart.pan(-0.5),
      PageDown: () => chart.pan(0.5),
      "+": () => chart.zoom(0.5, chart.bucket === null ? undefined : times[at]),
      "=": () => chart.zoom(0.5, chart.bucket === null ? undefined : times[at]),
      "-": () => chart.zoom(2, chart.bucket === null ? undefined : times[at]),
      0: () => chart.all(),
      n: () => this.violation(above(chart.series.bad, chart.bucket === null ? -1 : at)),
      p: () => this.violation(above(chart.series.bad, at - 1) - 1),
    };
    const action = actions[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!action) return;
    action();
    event.preventDefault();
  }

  violation(index) {
    const bucket = this.chart.series.bad[index];
    if (bucket !== undefined) this.chart.goTo(bucket);
  }

  wheel(event) {
    if (!event.ctrlKey) return; // without it the wheel scrolls the page
    event.preventDefault();
    this.chart.zoom(event.deltaY < 0 ? 0.8 : 1.25, this.time(event));
  }

  // With Shift, the mouse moves the time instead of selecting some.
  drag(event) {
    if (!event.shiftKey || event.button !== 0) return;
    event.stopImmediatePropagation();
    event.preventDefault();
    this.chart.host.focus({ preventScroll: true });
    let from = this.time(event);
    const until = new AbortController();
    const options = { signal: until.signal };
    const move = (moved) => {
      const { min, max } = this.chart.plot.scales.x;
      const by = from - this.time(moved);
      this.chart.view(min + by, max + by);
      from = this.time(moved);
    };
    document.addEventListener("mousemove", move, options);
    document.addEventListener("mouseup", () => until.abort(), options);
  }

  touch(event) {
    if (event.pointerType !== "touch") return;
    this.touches.set(event.pointerId, event.clientX);
    this.read(event);
  }

  read(event) {
    this.chart.point(this.time(event));
    this.chart.mark();
  }

  touchMove(event) {
    if (!this.touches.has(event.pointerId)) return;
    const { chart } = this;
    const { min, max } = chart.plot.scales.x;
    const perPixel = (max - min) / this.over.clientWidth;
    const before = [...this.touches.values()];
    this.touches.set(event.pointerId, event.clientX);
    const after = [...this.touches.values()];
    if (after.length === 1) {
      const by = (before[0] - after[0]) * perPixel;
      chart.view(min + by, max + by);
      this.read(event);
    } else if (after.length === 2) {
      const apart = (fingers) => Math.max(10, Math.abs(fingers[0] - fingers[1]));
      const middle = (after[0] + after[1]) / 2 - this.over.getBoundingClientRect().left;
      chart.zoom(apart(before) / apart(after), chart.plot.posToVal(middle, "x"));
    }
  }
}
