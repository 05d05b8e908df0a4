// What page.py embedded, and how numbers, times and spans are written.

// Returns what a deflated JSON text in base64 holds.
async function inflate(text) {
  const bytes = Uint8Array.from(atob(text), (char) => char.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return JSON.parse(await new Response(stream).text());
}

// Returns the sums of a list of differences, which take less space than the numbers.
function summed(differences) {
  let sum = 0;
  return differences.map((difference) => (sum += difference));
}

// Reads the table at once, and the series of a row when it is wanted. Series share blobs: the same metric may be judged
// by several behaviors.
class Data {
  constructor(embedded) {
    this.embedded = embedded;
    this.inflated = new Map();
  }

  async readTable() {
    Object.assign(this, await inflate(this.embedded.table));
    this.rows = this.table.device.map((device, index) => this.row(index));
    return this;
  }

  row(index) {
    const table = this.table;
    const skipped = table.skipped[index];
    return {
      index,
      device: this.devices[table.device[index]],
      behavior: this.behaviors[table.behavior[index]],
      datapoints: table.datapoints[index],
      violations: table.violations[index],
      alarms: table.alarms[index],
      seconds: table.seconds[index],
      state: this.states[table.state[index]],
      limit: table.limit[index],
      skipped: skipped < 0 ? null : this.texts[skipped],
      notes: table.notes[index].map((text) => this.texts[text]),
      series: table.series[index],
    };
  }

  blob(index) {
    if (!this.inflated.has(index)) this.inflated.set(index, inflate(this.embedded.blobs[index]));
    return this.inflated.get(index);
  }

  // Returns the series of a row, or null where it is not in the page.
  async series(row) {
    if (row.series < 0) return null;
    const embedded = this.embedded.series[row.series];
    const [times, values, marks] = await Promise.all([embedded.times, embedded.values, embedded.marks].map((b) => this.blob(b)));
    return new Series(row, summed(times.times), times.counts, times.width, values, marks);
  }
}

// The datapoints of a row, or the buckets that stand for several of them each where it was too long.
class Series {
  constructor(row, times, counts, width, values, marks) {
    Object.assign(this, { times, counts, width, alarms: marks.alarms, limit: marks.limit });
    this.violations = new Map(summed(marks.buckets).map((bucket, i) => [bucket, marks.violations ? marks.violations[i] : 1]));
    this.bad = [...this.violations.keys()];
    if (row.behavior.lists) {
      this.elements = values.elements;
      this.outside = values.outside; // this many of the elements, the first ones, are in violation
      this.leftOut = values.leftOut;
      this.runs = values.runs.map(summed); // first, end, first, end... of buckets that have the element
    } else {
      this.least = values.least;
      this.most = values.most || values.least;
      this.lowest = marks.lowest && new Map(this.bad.map((bucket, i) => [bucket, marks.lowest[i]]));
      this.highest = marks.highest && new Map(this.bad.map((bucket, i) => [bucket, marks.highest[i]]));
    }
  }

  // Returns the last second of a bucket.
  end(bucket) {
    const start = this.times[0];
    return start + (Math.floor((this.times[bucket] - start) / this.width) + 1) * this.width - 1;
  }

  // Returns the indexes of the elements that a bucket has.
  elementsAt(bucket) {
    const found = [];
    this.runs.forEach((runs, element) => {
      const next = above(runs, bucket);
      if (next % 2 === 1) found.push(element);
    });
    return found;
  }

  // Returns the bucket nearest to a time.
  nearest(time) {
    const next = above(this.times, time);
    if (next === 0) return 0;
    if (next === this.times.length) return next - 1;
    return this.times[next] - time < time - this.times[next - 1] ? next : next - 1;
  }
}

// Returns how many of the ascending numbers are not above a value.
function above(numbers, value) {
  let low = 0;
  let high = numbers.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (numbers[middle] <= value) low = middle + 1;
    else high = middle;
  }
  return low;
}

function number(value) {
  const options = Number.isInteger(value) ? {} : { maximumSignificantDigits: 6 };
  return value.toLocaleString("en-US", options);
}

// Returns a number for an axis: 1.2 M.
function short(value) {
  for (const [size, letter] of [[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"]]) {
    if (Math.abs(value) >= size) return `${+(value / size).toPrecision(4)} ${letter}`;
  }
  return String(+value.toPrecision(6));
}

function moment(time) {
  return new Date(time * 1000).toISOString().slice(0, 19).replace("T", " ");
}

// Returns seconds in their two largest units: 40 s, 12 min, 3 h 5 min.
function span(seconds) {
  const minutes = Math.floor(seconds / 60);
  const rest = Math.floor(seconds % 60);
  if (!minutes) return `${rest} s`;
  const hours = Math.floor(minutes / 60);
  const [large, small] = hours ? [`${hours} h`, `${minutes % 60} min`] : [`${minutes} min`, `${rest} s`];
  return small.startsWith("0 ") ? large : `${large} ${small}`;
}

function plural(count, one, many = `${one}s`) {
  return `${number(count)} ${count === 1 ? one : many}`;
}

// Returns an element of a name that may be broken between its words: KnownDestinations, gateway-1.
function nameElement(name, text, attributes = {}) {
  const made = element(name, "", attributes);
  text.split(/(?<=[a-z0-9])(?=[A-Z])|(?<=[-_:.])/).forEach((word, i) => {
    if (i) made.append(document.createElement("wbr"));
    made.append(word);
  });
  return made;
}

// Returns a new element. All text goes through here or textContent: reports are written by devices.
function element(name, text = "", attributes = {}) {
  const made = document.createElement(name);
  made.textContent = text;
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}
