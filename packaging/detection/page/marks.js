// What uPlot does not draw in a chart: spans in alarm, the limit, violations, and the rows of elements.

class Marks {
  constructor(chart) {
    this.chart = chart;
  }

  // Returns the place of a time in pixels of the canvas.
  x(time) {
    return this.chart.plot.valToPos(time, "x", true);
  }

  alarms() {
    const { ctx, bbox } = this.chart.plot;
    ctx.save();
    ctx.fillStyle = this.chart.row.behavior.suppressed ? this.hatching() : this.chart.colors.alarm;
    for (const [start, end] of this.chart.series.alarms) {
      const left = Math.max(bbox.left, this.x(start));
      const right = Math.min(bbox.left + bbox.width, this.x(end ?? this.chart.last));
      if (right < bbox.left || left > bbox.left + bbox.width) continue;
      ctx.fillRect(left, bbox.top, Math.max(right - left, 2 * devicePixelRatio), bbox.height);
    }
    ctx.restore();
  }

  // Alarms that nobody is alerted of are drawn hatched.
  hatching() {
    const tile = document.createElement("canvas");
    tile.width = tile.height = 8;
    const ctx = tile.getContext("2d");
    ctx.strokeStyle = this.chart.colors.alarm;
    ctx.lineWidth = 3;
    for (const shift of [-8, 0, 8]) {
      ctx.moveTo(shift, 8);
      ctx.lineTo(shift + 8, 0);
    }
    ctx.stroke();
    return this.chart.plot.ctx.createPattern(tile, "repeat");
  }

  // Calls draw with each bucket that is in view.
  visible(buckets, draw) {
    const { min, max } = this.chart.plot.scales.x;
    for (const bucket of buckets) {
      const time = this.chart.series.times[bucket];
      if (time >= min - this.chart.step && time <= max + this.chart.step) draw(bucket, this.x(time));
    }
  }

  numbers() {
    const { plot, series, colors } = this.chart;
    const { ctx, bbox } = plot;
    const y = (value) => plot.valToPos(value, "y", true);
    const half = 2.5 * devicePixelRatio;
    ctx.save();
    ctx.beginPath();
    ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
    ctx.clip();
    ctx.fillStyle = colors.violation;
    const drawn = new Set();
    this.visible(series.bad, (bucket, left) => {
      const values = series.lowest ? [series.lowest.get(bucket), series.highest.get(bucket)] : [series.most[bucket]];
      for (const value of values) {
        const top = y(value);
        const pixel = Math.round(left) * 65536 + Math.round(top);
        if (!drawn.has(pixel)) ctx.fillRect(left - half, top - half, 2 * half, 2 * half);
        drawn.add(pixel);
      }
    });
    if (this.chart.row.limit !== null) {
      ctx.strokeStyle = colors.limit;
      ctx.lineWidth = 1.5 * devicePixelRatio;
      ctx.setLineDash([8 * devicePixelRatio, 4 * devicePixelRatio]);
      ctx.beginPath();
      ctx.moveTo(bbox.left, y(this.chart.row.limit));
      ctx.lineTo(bbox.left + bbox.width, y(this.chart.row.limit));
      ctx.stroke();
    }
    ctx.restore();
  }

  // A bar for each stretch of time that has the element; those in violation are thicker.
  elements() {
    const { plot, series, colors } = this.chart;
    const { ctx, bbox } = plot;
    ctx.save();
    ctx.beginPath();
    ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
    ctx.clip();
    this.chart.shown.forEach((_, row) => {
      const bad = row < series.outside;
      const height = (bad ? 12 : 6) * devicePixelRatio;
      const top = plot.valToPos(this.chart.shown.length - 1 - row, "y", true) - height / 2; // the first row is on top
      ctx.fillStyle = bad ? colors.violation : colors.line;
      const runs = series.runs[row];
      for (let i = 0; i < runs.length; i += 2) {
        for (const [start, end] of this.unbroken(runs[i], runs[i + 1] - 1)) {
          const left = this.x(start);
          if (left > bbox.left + bbox.width) break;
          ctx.fillRect(left, top, Math.max(this.x(end) - left, 2 * devicePixelRatio), height);
        }
      }
    });
    ctx.restore();
  }

  // Yields the spans of time of these buckets, without the pauses between them.
  *unbroken(first, last) {
    const { times } = this.chart.series;
    this.pauses ??= times.flatMap((time, i) => (i && time - times[i - 1] > 3.5 * this.chart.step ? [i] : []));
    let begin = first;
    for (const pause of this.pauses) {
      if (pause <= begin || pause > last) continue;
      yield [times[begin], times[pause - 1] + this.chart.step];
      begin = pause;
    }
    yield [times[begin], times[last] + this.chart.step];
  }
}
