// Map of states on a canvas: fixed axes, play and slider over snapshots, lasso, click and arrow keys, zoom, a turning
// 3-D view.
// Streamlit calls the default export again with new data; the view, the time and the selection live on.

const views = new WeakMap();

export default function (component) {
  const root = component.parentElement;
  let view = views.get(root);
  if (!view) views.set(root, (view = new StateMap(root)));
  view.update(component);
  return () => { view.stop(); views.delete(root); };
}

const bytes = (text) => Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
const floats = (text) => new Float32Array(bytes(text).buffer);

class StateMap {
  constructor(root) {
    this.$ = (name) => root.querySelector("." + name);
    this.canvas = this.$("map");
    this.time = null;          // position on the time line, fractional while playing
    this.mode = "select";
    this.picked = { key: null, indices: [] };
    this.cursor = null;        // number of the state in front that the keyboard is at
    this.listen();
    this.observer = new ResizeObserver(() => this.draw());
    this.observer.observe(this.canvas);
  }

  stop() {
    cancelAnimationFrame(this.frame);
    this.observer.disconnect();
  }

  update({ data, setStateValue }) {
    this.send = setStateValue;
    const last = this.data;
    const atEnd = !last || this.time === null || this.time >= last.steps.length - 1;
    if (!last || last.points !== data.points) this.original = floats(data.points);
    this.values = data.values ? floats(data.values) : null;
    this.sets = data.sets.map((set, i) => ({
      ...set,
      frames: last && last.sets[i]?.frames === set.frames ? this.sets[i].frames : floats(set.frames),
      figures: set.figures && { ...set.figures, ends: new Int16Array(bytes(set.figures.ends).buffer) },
    }));
    if (!last || last.view !== data.view) this.reset(data);
    if (!last || last.run !== data.run) { this.time = null; this.halt(); }
    this.data = data;
    const end = data.steps.length - 1;
    if (this.time === null || (atEnd && !this.playing)) this.time = end;
    this.time = Math.min(this.time, end);
    if (data.picked) this.picked = data.picked;
    const slider = this.$("slider");
    slider.max = end;
    slider.disabled = this.$("play").disabled = end < 1;
    this.canvas.setAttribute("aria-label", data.alt);
    this.legend();
    this.redraw();
  }

  reset(data) {
    this.zoom = 1; this.shift = [0, 0]; this.turn = [0.6, 0.35];
    this.setMode(data.dimensions === 3 ? "move" : "select", data.dimensions);
  }

  setMode(mode, dimensions = this.data.dimensions) {
    this.mode = mode;
    for (const [name, on] of [["select", mode === "select"], ["move", mode === "move"]]) this.$(name).setAttribute("aria-pressed", on);
    this.$("move").textContent = dimensions === 3 ? "Turn" : "Pan";
    this.canvas.style.cursor = mode === "select" ? "crosshair" : "grab";
  }

  // -- time --------------------------------------------------------------------------------------------------

  play() {
    if (this.playing) { this.halt(); this.tell(); return; }
    const end = this.data.steps.length - 1;
    if (this.time >= end) this.time = 0;
    this.playing = true;
    let before = performance.now();
    const tick = (now) => {
      if (!this.playing) return;
      const pace = Math.min(6, Math.max(1.5, this.data.steps.length / 7));   // snapshots per second
      this.time = Math.min(this.data.steps.length - 1, this.time + ((now - before) / 1000) * pace);
      before = now;
      if (this.time >= this.data.steps.length - 1) { this.halt(); this.tell(); } else this.frame = requestAnimationFrame(tick);
      this.draw();
    };
    this.frame = requestAnimationFrame(tick);
    this.button();
  }

  halt() {
    this.playing = false;
    cancelAnimationFrame(this.frame);
    this.time = this.time === null ? null : Math.round(this.time);
    this.button();
  }

  button() {
    const play = this.$("play");
    play.textContent = this.playing ? "❚❚ Pause" : "▶ Play";
  }

  tell() { this.send("step", this.moment()); }

  moment() {   // where the time line is; with a stamp, as a value that is sent twice would not be noticed
    const now = Math.round(this.time), { steps } = this.data;
    return { step: steps[now], newest: now === steps.length - 1, at: performance.now() };
  }

  // -- geometry ----------------------------------------------------------------------------------------------

  place(points, i) {   // of one point, in pixels of the page
    const d = this.data.dimensions;
    let x, y;
    if (d === 2) { x = points[2 * i]; y = points[2 * i + 1]; } else {
      const [a, b] = this.turn, ca = Math.cos(a), sa = Math.sin(a);
      const px = points[3 * i], py = points[3 * i + 1], pz = points[3 * i + 2];
      x = (ca * px - sa * py) * 0.95;
      y = (Math.cos(b) * pz + Math.sin(b) * (sa * px + ca * py)) * 0.95;
    }
    return [
      this.width * (0.5 + (x * this.zoom) / 2) + this.shift[0],
      this.height * (0.5 - (y * this.zoom) / 2) + this.shift[1],
    ];
  }

  at(set, i) {         // a distilled state between two snapshots
    const d = this.data.dimensions, low = Math.floor(this.time), share = this.time - low;
    const high = Math.min(low + 1, this.data.steps.length - 1);
    const a = (low * set.count + i) * d, b = (high * set.count + i) * d, f = set.frames;
    const point = [];
    for (let k = 0; k < d; k++) point.push(f[a + k] * (1 - share) + f[b + k] * share);
    return this.place(point, 0);
  }

  // -- drawing -----------------------------------------------------------------------------------------------

  redraw() { requestAnimationFrame(() => this.draw()); }

  draw() {
    if (!this.data) return;
    const box = this.canvas.getBoundingClientRect(), scale = window.devicePixelRatio || 1;
    if (!box.width) return;
    this.width = box.width; this.height = box.height;
    if (this.canvas.width !== Math.round(box.width * scale)) this.canvas.width = Math.round(box.width * scale);
    if (this.canvas.height !== Math.round(box.height * scale)) this.canvas.height = Math.round(box.height * scale);
    const ink = getComputedStyle(this.canvas), g = this.canvas.getContext("2d");
    const text = ink.getPropertyValue("--st-text-color") || "#333", paper = ink.getPropertyValue("--st-background-color") || "#fff";
    g.setTransform(scale, 0, 0, scale, 0, 0);
    g.clearRect(0, 0, this.width, this.height);
    this.drawAxes(g, text);
    this.drawOriginal(g);
    for (const set of this.sets) this.drawSet(g, set, paper, text);
    this.nameAxes(g, text, paper);
    if (this.lasso) this.drawLasso(g, text);
    if (this.cursor !== null) this.drawCursor(g, text, paper);
    const step = this.data.steps[Math.round(this.time)];
    const slider = this.$("slider");
    if (document.activeElement !== slider || this.playing) slider.value = Math.round(this.time);
    slider.setAttribute("aria-valuetext", `step ${step}`);
    this.$("step").textContent = `step ${step.toLocaleString("en")}`;
    this.canvas.dataset.time = this.time.toFixed(2);
  }

  tips() {   // of the three axes, in pixels
    return [0, 1, 2].map((k) => this.place([0, 1, 2].map((other) => (other === k ? 0.9 : 0)), 0));
  }

  drawAxes(g, text) {
    if (this.data.dimensions !== 3) return;
    const centre = this.place([0, 0, 0], 0);
    g.strokeStyle = text; g.globalAlpha = 0.45;
    g.beginPath();
    for (const tip of this.tips()) { g.moveTo(...centre); g.lineTo(...tip); }
    g.stroke();
    g.globalAlpha = 1;
  }

  nameAxes(g, text, paper) {   // last and on a halo: legible over points
    g.save();
    g.font = "12px sans-serif"; g.lineJoin = "round"; g.lineWidth = 4;
    g.strokeStyle = paper; g.fillStyle = text;
    const write = (name, x, y) => { g.globalAlpha = 0.8; g.strokeText(name, x, y); g.fillText(name, x, y); };
    if (this.data.dimensions === 3) {
      this.tips().forEach(([x, y], k) => {
        const name = this.data.axes[k] || "", room = this.width - g.measureText(name).width - 4;
        write(name, Math.max(4, Math.min(x + 4, room)), Math.max(12, Math.min(y, this.height - 4)));
      });
    } else {
      g.textAlign = "center";
      write(this.data.axes[0] || "", this.width / 2, this.height - 5);
      g.translate(11, this.height / 2); g.rotate(-Math.PI / 2);
      write(this.data.axes[1] || "", 0, 0);
    }
    g.restore();
  }

  drawOriginal(g) {
    const count = this.original.length / this.data.dimensions, scale = this.data.scale, radius = count > 1500 ? 1.7 : 2.3;
    g.globalAlpha = 0.62;
    g.fillStyle = this.data.neutral;
    let last = "";
    for (let i = 0; i < count; i++) {
      const [x, y] = this.place(this.original, i);
      if (x < -4 || y < -4 || x > this.width + 4 || y > this.height + 4) continue;
      if (this.values) {
        const share = Math.min(1, Math.max(0, (this.values[i] - scale.low) / (scale.high - scale.low)));
        const colour = scale.colours[Math.round(share * (scale.colours.length - 1))];
        if (colour !== last) g.fillStyle = last = colour;
      }
      g.beginPath(); g.arc(x, y, radius, 0, 6.3); g.fill();
    }
    g.globalAlpha = 1;
  }

  drawSet(g, set, paper, text) {
    const chosen = new Set(this.picked.key === set.key ? this.picked.indices : []);
    const start = set.frames.subarray(0, set.count * this.data.dimensions);
    set.places = [];
    for (let i = 0; i < set.count; i++) set.places.push(this.at(set, i));
    if (set.front) {
      g.strokeStyle = set.colour; g.lineWidth = 1; g.globalAlpha = chosen.size ? 0.1 : 0.28;
      g.beginPath();
      for (let i = 0; i < set.count; i++) { g.moveTo(...this.place(start, i)); g.lineTo(...set.places[i]); }
      g.stroke();
    }
    const size = set.front ? 4.8 : 3.2;
    g.globalAlpha = set.front ? 0.95 : 0.45;
    g.fillStyle = set.colour; g.strokeStyle = paper; g.lineWidth = 1;
    for (const place of set.places) mark(g, set.symbol, ...place, size);
    g.globalAlpha = 1;
    for (const i of chosen) {
      if (i >= set.count) continue;
      g.strokeStyle = set.colour; g.lineWidth = 2;
      g.beginPath(); g.moveTo(...this.place(start, i)); g.lineTo(...set.places[i]); g.stroke();
      g.strokeStyle = paper; g.lineWidth = 1;
      mark(g, set.symbol, ...set.places[i], size + 1.5);
      g.strokeStyle = text; g.lineWidth = 2;
      g.beginPath(); g.arc(...set.places[i], size + 5, 0, 6.3); g.stroke();
    }
  }

  drawLasso(g, text) {
    g.strokeStyle = g.fillStyle = text; g.lineWidth = 1.2; g.setLineDash([4, 3]);
    g.beginPath();
    this.lasso.forEach((p, k) => (k ? g.lineTo(...p) : g.moveTo(...p)));
    g.closePath(); g.stroke(); g.setLineDash([]);
    g.globalAlpha = 0.08; g.fill(); g.globalAlpha = 1;
  }

  drawCursor(g, text, paper) {
    const set = this.front(), place = set.places[this.cursor];
    if (!place) { this.leave(); return; }
    for (const [colour, width] of [[paper, 5], [text, 2]]) {
      g.strokeStyle = colour; g.lineWidth = width; g.setLineDash(colour === text ? [4, 3] : []);
      g.beginPath(); g.arc(...place, 13, 0, 6.3); g.stroke();
    }
    g.setLineDash([]);
    this.hint({ set, index: this.cursor }, place, " · Enter: its pose");
  }

  legend() {
    const legend = this.$("legend");
    legend.replaceChildren();
    for (const set of this.sets) {
      const item = document.createElement("span"), sign = document.createElement("i");
      sign.textContent = set.glyph; sign.style.color = set.colour;
      item.append(sign, ` ${set.label}`);
      if (!set.front) item.className = "back";
      legend.append(item);
    }
    const item = document.createElement("span");
    item.textContent = "· original states";
    legend.append(item);
    const scale = this.data.scale, bar = this.$("scale");
    bar.hidden = !this.values;
    if (this.values) {
      this.$("low").textContent = scale.lowText; this.$("high").textContent = scale.highText;
      this.$("name").textContent = scale.name;
      this.$("ramp").style.background = `linear-gradient(90deg, ${scale.colours.join(",")})`;
    }
  }

  // -- pointer -----------------------------------------------------------------------------------------------

  listen() {
    this.$("play").onclick = () => this.play();
    const slider = this.$("slider");
    slider.oninput = () => { this.halt(); this.time = Number(slider.value); this.draw(); };
    slider.onchange = () => this.tell();
    this.$("select").onclick = () => this.setMode("select");
    this.$("move").onclick = () => this.setMode("move");
    this.$("closer").onclick = () => this.scaleBy(1.4);
    this.$("wider").onclick = () => this.scaleBy(1 / 1.4);
    this.$("whole").onclick = () => { const mode = this.mode; this.reset(this.data); this.setMode(mode); this.draw(); };
    const canvas = this.canvas;
    canvas.onpointerdown = (event) => this.down(event);
    canvas.onpointermove = (event) => this.move(event);
    canvas.onpointerup = canvas.onpointercancel = (event) => this.up(event);
    canvas.onpointerleave = () => { this.$("note").hidden = true; };
    canvas.onkeydown = (event) => this.key(event);
    canvas.onfocus = () => { if (this.front()?.places && canvas.matches(":focus-visible")) this.go(this.begin()); };
    canvas.onblur = () => { this.leave(); this.draw(); };
    canvas.addEventListener("wheel", (event) => {   // plain wheel scrolls the page
      if (!event.ctrlKey && !event.metaKey) return;
      event.preventDefault();
      this.scaleBy(Math.exp(-event.deltaY / 300), this.spot(event));
    }, { passive: false });
  }

  scaleBy(factor, spot = [this.width / 2, this.height / 2]) {
    const zoom = Math.min(40, Math.max(0.5, this.zoom * factor)), real = zoom / this.zoom;
    const centre = [this.width / 2, this.height / 2];
    for (const k of [0, 1]) this.shift[k] = spot[k] - centre[k] - (spot[k] - centre[k] - this.shift[k]) * real;
    this.zoom = zoom;
    this.draw();
  }

  spot(event) {
    const box = this.canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }

  down(event) {
    this.canvas.setPointerCapture(event.pointerId);
    this.pressed = this.spot(event);
    this.leave();
    if (this.mode === "select") this.lasso = [this.pressed];
  }

  move(event) {
    const spot = this.spot(event);
    if (!this.pressed) {
      this.hint(this.nearest(spot), spot);
      return;
    }
    if (this.mode === "select") this.lasso.push(spot);
    else {
      const by = [spot[0] - this.pressed[0], spot[1] - this.pressed[1]];
      this.travelled = (this.travelled || 0) + Math.hypot(...by);
      if (this.data.dimensions === 3) {
        this.turn[0] += by[0] / 150;
        this.turn[1] = Math.min(1.57, Math.max(-1.57, this.turn[1] + by[1] / 150));
      } else { this.shift[0] += by[0]; this.shift[1] += by[1]; }
      this.pressed = spot;
    }
    this.draw();
  }

  hint(hit, spot, more = "") {   // what is under the pointer: its name, and at the newest snapshot its pose
    const note = this.$("note");
    note.hidden = !hit;
    if (!hit) return;
    this.$("name-of").textContent = `${hit.set.label} ${hit.index}${more}`;
    const canvas = this.$("figure"), newest = !this.playing && this.time === this.data.steps.length - 1;
    canvas.hidden = !(newest && hit.set.figures);
    if (!canvas.hidden) drawFigure(canvas, hit.set, hit.index);
    const [width, height] = [note.offsetWidth, note.offsetHeight];
    note.style.left = `${Math.max(0, Math.min(spot[0] + 14, this.width - width))}px`;
    note.style.top = `${spot[1] + 14 + height > this.height ? Math.max(0, spot[1] - 10 - height) : spot[1] + 14}px`;
  }

  up(event) {
    if (!this.pressed) return;
    const spot = this.spot(event), outline = this.lasso, travelled = this.travelled || 0;
    this.pressed = this.lasso = null; this.travelled = 0;
    const long = outline && outline.some((p) => Math.hypot(p[0] - outline[0][0], p[1] - outline[0][1]) > 6);
    if (long) this.pickInside(outline);
    else if (travelled < 4) {
      const hit = this.nearest(spot);
      if (hit) this.pick(hit.set, [hit.index]);
    }
    this.draw();
  }

  nearest(spot) {
    let best = null, distance = 14;
    for (const set of this.sets) (set.places || []).forEach((place, index) => {
      const d = Math.hypot(place[0] - spot[0], place[1] - spot[1]) - (set.front ? 2 : 0);
      if (d < distance) { distance = d; best = { set, index }; }
    });
    return best;
  }

  pickInside(outline) {   // of the set in front; of another one only where the front has none
    for (const set of [...this.sets].reverse()) {
      const indices = [];
      set.places.forEach((place, index) => { if (inside(outline, place)) indices.push(index); });
      if (indices.length) return this.pick(set, indices);
    }
  }

  // -- keyboard ----------------------------------------------------------------------------------------------

  front() { return this.sets?.find((set) => set.front); }

  key(event) {
    const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (!this.front()?.places || event.ctrlKey || event.metaKey || event.altKey) return;
    if (way) this.go(this.cursor === null ? this.begin() : this.next(...way));
    else if (this.cursor !== null && (event.key === "Enter" || event.key === " ")) {
      this.pick(this.front(), [this.cursor]);
      this.say(`${this.front().label} ${this.cursor} chosen`);
      this.draw();
    } else if (this.cursor !== null && event.key === "Escape") { this.leave(); this.draw(); }
    else return;
    event.preventDefault();   // the page does not scroll
  }

  seen([x, y]) { return x >= 0 && y >= 0 && x <= this.width && y <= this.height; }

  begin() {   // at the chosen state, else at the one next to the middle
    const { places, key } = this.front(), [chosen] = this.picked.indices;
    if (this.picked.key === key && places[chosen] && this.seen(places[chosen])) return chosen;
    const far = ([x, y]) => Math.hypot(x - this.width / 2, y - this.height / 2);
    return places.reduce((best, place, i) => (far(place) < far(places[best]) ? i : best), 0);
  }

  next(across, down) {   // the nearest state that way; one straight ahead counts as nearer than one aside
    const { places } = this.front(), [x, y] = places[this.cursor];
    let best = this.cursor, least = Infinity;
    places.forEach((place, i) => {
      const ahead = (place[0] - x) * across + (place[1] - y) * down;
      const aside = Math.abs((place[0] - x) * down - (place[1] - y) * across);
      if (ahead > 0.5 && ahead + 2 * aside < least && this.seen(place)) { least = ahead + 2 * aside; best = i; }
    });
    return best;
  }

  go(index) {
    this.cursor = index;
    this.draw();
    this.say(`${this.front().label} ${index} of ${this.front().count}`);
  }

  leave() { this.cursor = null; this.$("note").hidden = true; }

  say(text) { this.canvas.parentNode.querySelector("[aria-live]").textContent = text; }

  pick(set, indices) {
    this.picked = { key: set.key, indices };
    this.send("picked", { key: set.key, indices, ...this.moment() });
  }
}

function drawFigure(canvas, set, index) {   // the robot from the side, as thick lines over the ground
  const g = canvas.getContext("2d"), { width, height } = canvas, { ends, radii, side, top } = set.figures;
  const low = height - 16, scale = Math.min(width / (2.2 * side), (low - 8) / Math.max(top + 0.1, 0.5));
  const x = (value) => width / 2 + (value / 1000) * scale, y = (value) => low - (value / 1000) * scale;
  g.clearRect(0, 0, width, height);
  g.strokeStyle = "#8a8f98"; g.lineWidth = 2;
  g.beginPath(); g.moveTo(0, low); g.lineTo(width, low); g.stroke();
  g.strokeStyle = set.colour; g.lineCap = "round";
  radii.forEach((radius, limb) => {
    const [ax, az, bx, bz] = ends.subarray(4 * (index * radii.length + limb));
    g.lineWidth = Math.max(3, 2 * radius * scale);
    g.beginPath(); g.moveTo(x(ax), y(az)); g.lineTo(x(bx) + 0.01, y(bz)); g.stroke();
  });
}

function mark(g, symbol, x, y, size) {
  g.beginPath();
  if (symbol === "rect") g.rect(x - size * 0.85, y - size * 0.85, size * 1.7, size * 1.7);
  else if (symbol === "triangle") { g.moveTo(x, y - size * 1.15); g.lineTo(x + size * 1.05, y + size * 0.8); g.lineTo(x - size * 1.05, y + size * 0.8); g.closePath(); }
  else if (symbol === "diamond" || symbol === "emptyDiamond") {
    for (const part of symbol === "diamond" ? [1] : [1.15, 0.5]) {
      g.moveTo(x, y - size * 1.2 * part); g.lineTo(x + size * part, y); g.lineTo(x, y + size * 1.2 * part); g.lineTo(x - size * part, y); g.closePath();
    }
  } else g.arc(x, y, size, 0, 6.3);
  g.fill("evenodd"); g.stroke();
}

function inside(outline, [x, y]) {
  let odd = false;
  for (let i = 0, j = outline.length - 1; i < outline.length; j = i++) {
    const [ax, ay] = outline[i], [bx, by] = outline[j];
    if (ay > y !== by > y && x < ((bx - ax) * (y - ay)) / (by - ay) + ax) odd = !odd;
  }
  return odd;
}
