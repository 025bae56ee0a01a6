// The pictures of the playground.  Python trains the students and sends their weights; this file only looks at them:
// it draws what a student does at every state, lets the pendulum swing under it, and sends back what a hand does.
// The page puts STYLE, STILL and VIEWS before it: what never changes.
// Places are in units of the picture: x = angle / pi, y = velocity / 8, both from -1 to 1; actions from -1 to 1.

const MAX_SPEED = 8, TIME_STEP = 0.05, EPISODE = 200;
const CELLS = [61, 41];
const GRAB = 16, KEY_STEP = 0.04;
const PART = 0.15;  // less of the pictures in the window counts as out of sight
const apps = new WeakMap();

const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer;
const parts = (text) => Float32Array.from(new Int8Array(bytes(text)), (v) => v / 127);
const twelve = (text) => {  // integers of 12 bits, two in three bytes
  const b = new Uint8Array(bytes(text)), out = new Float32Array(b.length / 3 * 2);
  for (let i = 0, k = 0; i < b.length; i += 3) {
    out[k++] = (b[i] << 4 | b[i + 1] >> 4) - 2048;
    out[k++] = ((b[i + 1] & 15) << 8 | b[i + 2]) - 2048;
  }
  return out;
};
const clamp = (v, low, high) => Math.min(high, Math.max(low, v));
const wrap = (x) => ((((x + 1) % 2) + 2) % 2) - 1;
const mix = (a, b, t) => a.map((v, i) => Math.round(v + (b[i] - v) * t));
const whole = (v) => String(Math.round(v)).replace("-", "−");
const rgb = (c, alpha = 1) => `rgba(${c[0]},${c[1]},${c[2]},${alpha})`;
const calm = () => window.matchMedia("(prefers-reduced-motion: reduce)").matches;

// Red pushes counter-clockwise, blue clockwise: told apart under the common colour-vision deficiencies.
const THEMES = {
  light: { minus: [190, 40, 48], zero: [244, 243, 240], plus: [38, 84, 190], ink: [32, 36, 44], paper: [255, 255, 255] },
  dark: { minus: [236, 98, 84], zero: [37, 42, 51], plus: [92, 150, 255], ink: [231, 234, 240], paper: [21, 24, 30] },
};
const shade = (theme, action) =>
  mix(theme.zero, action < 0 ? theme.minus : theme.plus, Math.min(1, Math.abs(action)) ** 0.8);

// The student: hidden layers of ReLU units, tanh at the end.
function student({ values, scales }, still) {
  const layers = [], widths = still.widths, all = twelve(values);
  let at = 0, tensor = 0;
  const next = (size) => {
    const scale = scales[tensor++];
    return all.slice(at, (at += size)).map((v) => v * scale);
  };
  for (let l = 0; l + 1 < widths.length; l++) {
    const [n, m] = [widths[l], widths[l + 1]];
    layers.push({ n, m, w: next(n * m), b: next(m) });
  }
  const room = widths.map((n) => new Float32Array(n));
  return (angle, velocity) => {
    const seen = [Math.cos(angle), Math.sin(angle), velocity];
    for (let i = 0; i < 3; i++) room[0][i] = (seen[i] - still.mean[i]) / still.std[i];
    layers.forEach(({ n, m, w, b }, l) => {
      const [from, to] = [room[l], room[l + 1]];
      to.set(b);
      for (let i = 0; i < n; i++) {
        const v = from[i];
        if (v !== 0) for (let j = 0, k = i * m; j < m; j++, k++) to[j] += v * w[k];
      }
      if (l + 2 < widths.length) for (let j = 0; j < m; j++) if (to[j] < 0) to[j] = 0;
    });
    return Math.tanh(room[room.length - 1][0]);
  };
}

function paintField(canvas, theme, columns, rows, at) {
  canvas.width = columns;
  canvas.height = rows;
  const context = canvas.getContext("2d"), image = context.createImageData(columns, rows);
  for (let row = 0; row < rows; row++)
    for (let column = 0; column < columns; column++) {
      const c = shade(theme, at(column, rows - 1 - row)), k = 4 * (row * columns + column);
      image.data.set([c[0], c[1], c[2], 255], k);
    }
  context.putImageData(image, 0, 0);
}

class App {
  constructor(root) {
    this.root = root;
    this.still = STILL;
    this.style = document.createElement("style");
    this.style.textContent = STYLE;
    root.appendChild(this.style);
    this.home = document.createElement("div");
    this.home.className = "pg";
    root.appendChild(this.home);
    this.lanes = [];
    this.unsent = [];
    this.seq = 0;
    this.chosen = null;
    this.drag = null;
    this.swing = { angle: Math.PI - 0.05, velocity: 0, action: 0, step: 0, clock: 0, trail: [], total: 0 };
    this.alive = true;
    this.there = true;
    this.resting = false;
    this.watch = new IntersectionObserver((entries) => {
      this.there = entries.at(-1).intersectionRatio >= PART;
      this.rest();
    }, { threshold: PART });
    this.watch.observe(this.home);
    this.turned = () => this.rest();
    document.addEventListener("visibilitychange", this.turned);
    requestAnimationFrame((t) => this.tick(t));
  }

  destroy() {
    this.alive = false;
    this.watch.disconnect();
    document.removeEventListener("visibilitychange", this.turned);
    this.home.remove();
    this.style.remove();
  }

  // -- data from Python ------------------------------------------------------------------------------------------

  update(data, send) {
    this.send = send;
    if (!data || !data.frame) {
      if (!this.built) this.home.innerHTML = '<div class="wait" role="status">Setting up the pendulum …</div>';
      return;
    }
    const frame = data.frame, view = JSON.stringify([data.view, frame.lanes.length]), first = !this.frame;
    this.frame = frame;
    this.view = VIEWS[data.view];
    this.seq = Math.max(this.seq, frame.ack);
    this.unsent = this.unsent.filter((edit) => edit.seq > frame.ack);
    if (this.built !== view) this.build(view);
    frame.lanes.forEach((sent, i) => this.receive(this.lanes[i], sent));
    this.words();
    if (frame.playing && first && calm()) this.command("pause");  // who wants no motion starts it by hand
    else if (frame.playing) this.rest();
  }

  // Nothing is sent for a picture that nobody sees; when it comes back into sight it goes on.
  rest() {
    if (!this.frame || !this.home.isConnected) return;
    const seen = this.there && !document.hidden;
    if (this.resting === seen && (seen || this.frame.playing)) {
      this.resting = !seen;
      this.command(seen ? "play" : "pause");
    }
  }

  receive(lane, sent) {
    if (sent.weights.values !== lane.packed) {
      lane.packed = sent.weights.values;
      lane.act = student(sent.weights, this.still);
      lane.stale = true;
    }
    if (sent.steps < lane.sent?.steps) lane.trails = [];
    if (sent.points.length !== lane.now.length) {
      lane.now = sent.points.map((p) => [...p]);
      lane.trails = [];
      if (this.chosen?.lane === lane && this.chosen.index >= sent.points.length) this.chosen = null;
    }
    if (sent.steps !== lane.sent?.steps)
      sent.points.forEach((p, i) => {
        const trail = (lane.trails[i] ??= []);
        trail.push([p[0], p[1]]);
        if (trail.length > 60) trail.shift();
      });
    lane.sent = sent;
  }

  // -- page --------------------------------------------------------------------------------------------------------

  build(view) {
    this.built = view;
    this.themeName = null;
    this.home.replaceChildren();
    const add = (parent, tag, attributes = {}, text = "") => {
      const element = document.createElement(tag);
      for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
      if (text) element.textContent = text;
      parent.appendChild(element);
      return element;
    };
    const panels = this.view.panels;
    const bar = add(this.home, "div", { class: "bar" });
    this.buttons = {};
    const button = (name, label, help, action) => {
      this.buttons[name] = add(bar, "button", { type: "button", title: help, "data-do": name }, label);
      this.buttons[name].onclick = action;
    };
    if (this.view.controls.includes("play")) {
      button("play", "❚❚ Pause", "Starts or pauses the distillation", () => this.command(this.frame.playing ? "pause" : "play"));
      this.buttons.play.className = "main";
    }
    if (this.view.controls.includes("step")) button("step", "One outer step", "One step of the outer loop", () => this.command("step"));
    if (this.view.controls.includes("inner")) {
      const box = add(bar, "label", { class: "inner" }), last = this.frame.lanes[0].inner_steps;
      add(box, "span", {}, "Inner step");
      this.slider = add(box, "input", { type: "range", min: 0, max: last, value: last, "aria-label": "inner step" });
      this.innerText = add(box, "output");
      this.slider.oninput = () => this.command("inner", { index: Number(this.slider.value) });
    }
    if (this.view.controls.includes("reset")) button("reset", "Reset", "Back to the start with the same seed", () => this.command("reset"));
    this.facts = add(bar, "div", { class: "facts" });

    const single = this.frame.lanes.length === 1;
    const stage = add(this.home, "div", { class: `stage ${single ? "play" : "row"} ${this.view.layout ?? ""}` });
    stage.style.setProperty("--lanes", this.frame.lanes.length);
    this.lanes = this.frame.lanes.map((sent, number) => {
      const figure = add(stage, "figure"), caption = add(figure, "figcaption");
      const title = add(caption, "div", {}, ""), fact = add(caption, "span");
      const editable = this.view.edit && !sent.frozen;
      const canvas = add(figure, "canvas", { class: `map ${editable ? "edit" : ""}`, role: "img", tabindex: 0 });
      canvas.style.aspectRatio = this.view.aspect ?? (single ? "1.42" : "1.25");
      const lane = { number, figure, title, fact, canvas, trails: [], now: sent.points.map((p) => [...p]), field: document.createElement("canvas") };
      if (editable) this.hands(lane);
      if (panels.includes("targets")) {
        lane.aimTitle = add(add(figure, "figcaption", { class: "below" }), "div");
        lane.aim = add(figure, "canvas", { class: "map", role: "img" });
        lane.aim.style.aspectRatio = this.view.aspect ?? "1.25";
      }
      return lane;
    });
    if (this.view.edit) {
      const target = single ? this.lanes[0].figure : this.home;
      this.tool = add(target, "div", { class: "tool" });
      this.hint = add(this.tool, "span");
      this.push = add(this.tool, "input", { type: "range", min: -0.99, max: 0.99, step: 0.01, "aria-label": "action of the chosen point" });
      this.push.oninput = () => {
        if (!this.chosen) return;
        this.chosen.lane.now[this.chosen.index][2] = Number(this.push.value);
        this.edit({ kind: "turn", lane: this.chosen.lane.number, index: this.chosen.index, action: Number(this.push.value) });
      };
      this.remove = add(this.tool, "button", { type: "button", "data-do": "delete" }, "Delete");
      this.remove.onclick = () => this.erase();
    }
    const side = add(stage, "div", { class: "side" });
    const panel = (name, label, aspect, wide = false) => {
      if (!panels.includes(name)) return null;
      const figure = add(side, "figure", wide ? { class: "wide" } : {}), caption = add(figure, "figcaption");
      const title = add(caption, "div", {}, label), fact = add(caption, "span");
      const canvas = add(figure, "canvas", { role: "img", class: ["pendulum", "chart"].includes(name) ? "" : "map" });
      canvas.style.aspectRatio = aspect;
      return { canvas, title, fact };
    };
    this.teacher = panel("teacher", "Teacher", 1.25);
    this.aim = panel("aim", "What is asked", 1.25);
    const low = single ? (this.view.layout === "tall" ? 1.25 : 1) : 1.75;
    this.swinging = panel("pendulum", "Pendulum", low);
    this.chart = panel("chart", "Return", low);
    this.crowd = panel("crowd", "40 fresh students, one dot each", 1.42, true);
    if (this.swinging) {
      this.swinging.canvas.title = "Click to push the pendulum";
      this.swinging.canvas.style.cursor = "pointer";
      this.swinging.canvas.onclick = () => {
        this.swing.velocity = clamp(this.swing.velocity + (Math.random() < 0.5 ? -5 : 5), -MAX_SPEED, MAX_SPEED);
        this.swing.step = 0;
      };
    }
    if (!side.children.length) {
      side.remove();
      if (single) stage.style.gridTemplateColumns = "minmax(0, 1fr)";
    }
    const key = add(this.home, "div", { class: "key" });
    const scale = add(key, "span");
    scale.append("− counter-clockwise");
    this.ramp = add(scale, "i", { class: "ramp" });
    scale.append("+ clockwise push");
    if (this.view.edit || this.swinging) add(key, "span", {}, "white ring: the pendulum now");
    if (this.view.arrows) add(key, "span", {}, "arrows: where the hypergradient sends the points");
    this.said = add(this.home, "p", { class: "said" });
  }

  words() {
    const frame = this.frame;
    if (this.buttons.play) {
      this.buttons.play.textContent = frame.playing ? "❚❚ Pause" : "▶ Play";
      this.buttons.play.setAttribute("aria-pressed", String(frame.playing));
    }
    const first = frame.lanes[frame.lanes.length - 1];
    this.facts.textContent = this.view.controls.includes("step") || frame.lanes.length > 1
      ? `outer step ${first.steps}${frame.playing && frame.rate ? ` · ${frame.rate.toFixed(0)} per second` : ""}` : "";
    if (this.slider) {
      this.slider.max = first.inner_steps;
      if (this.root.activeElement !== this.slider || frame.playing) this.slider.value = frame.inner ?? first.inner_steps;
      const at = Math.min(frame.inner ?? first.inner_steps, first.inner_steps);
      this.innerText.textContent = at === 0 ? "0: knows nothing yet" : `${at} of ${first.inner_steps}`;
    }
    this.said.textContent = frame.said ?? "";
    const brief = frame.lanes.length > 1 || this.view.layout === "even";
    for (const lane of this.lanes) {
      const sent = lane.sent, measured = sent.returns.at(-1);
      lane.title.textContent = `${sent.glyph} ${sent.label}`;
      lane.title.style.color = frame.lanes.length > 1 ? sent.colour : "";
      lane.fact.textContent = (brief ? "" : `agrees with the teacher on ${Math.round(100 * sent.agreement)} %`) +
        (measured && frame.inner === null ? `${brief ? "" : " · "}return ${whole(measured[1])}` : "");
      lane.canvas.setAttribute("aria-label",
        `${sent.label}: action at every angle and velocity, with ${sent.points.length} points` +
        (measured ? `; return ${whole(measured[1])}` : "") + ` after ${sent.steps} outer steps`);
      if (lane.aim) {
        const asks = { dbc: "asks for the data's actions", pbc: "asks for the teacher's actions", av_pbc: "the same, weighted by value" };
        lane.aimTitle.textContent = asks[sent.key] ?? "";
        lane.aim.setAttribute("aria-label", `${sent.label} ${lane.aimTitle.textContent}: real states as dots`);
      }
    }
    if (this.teacher) {
      this.teacher.fact.textContent = `return ${whole(this.still.references.teacher)}`;
      this.teacher.canvas.setAttribute("aria-label", "The teacher's action at every angle and velocity");
    }
    if (this.aim) {
      const asks = { dbc: "data's actions", pbc: "teacher's actions", av_pbc: "teacher's, by value" };
      this.aim.title.textContent = `Aim: ${asks[first.key] ?? ""}`;
      this.aim.canvas.setAttribute("aria-label", `Real states, coloured by ${asks[first.key]}`);
    }
    if (this.swinging) this.swinging.canvas.setAttribute("aria-label", "The pendulum swinging under the student");
    if (this.chart) {
      const last = first.returns.at(-1);
      this.chart.fact.textContent = last ? whole(last[1]) : "";
      this.chart.canvas.setAttribute("aria-label", `Return over outer steps; now ${last ? last[1] : "not measured"}`);
    }
    if (this.crowd) this.crowd.canvas.setAttribute("aria-label", `Mean returns of ${frame.crowd.length} fresh students`);
    if (this.tool) this.toolWords();
  }

  toolWords() {
    const picked = this.chosen && this.chosen.lane.now[this.chosen.index];
    this.push.hidden = this.remove.hidden = !picked;
    if (picked && this.root.activeElement !== this.push) this.push.value = picked[2];
    this.hint.textContent = picked
      ? `Point ${this.chosen.index + 1} pushes ${picked[2] < 0 ? "−" : "+"}${Math.abs(picked[2]).toFixed(2)}:`
      : "Drag a point. Click an empty spot to add one. Double-click deletes. Keys: n next, arrows move, a add, Delete.";
  }

  // -- hands -------------------------------------------------------------------------------------------------------

  command(kind, more = {}) { this.edit({ kind, ...more }); }

  edit(edit) {
    edit.seq = ++this.seq;
    const last = this.unsent.at(-1);
    const same = last && last.kind === edit.kind && last.index === edit.index && last.lane === edit.lane;
    if (same && ["move", "turn", "inner"].includes(edit.kind)) this.unsent.pop();
    this.unsent.push(edit);
    this.flush();
  }

  flush() {
    if (this.waiting) return;
    this.waiting = setTimeout(() => {
      this.waiting = null;
      if (this.unsent.length && this.alive) this.send(this.unsent.slice(-80));
    }, 50);
  }

  place(event, canvas) {
    const box = canvas.getBoundingClientRect();
    return [2 * (event.clientX - box.left) / box.width - 1, 1 - 2 * (event.clientY - box.top) / box.height, box];
  }

  near(lane, x, y, box) {
    let best = -1, distance = GRAB;
    lane.now.forEach((p, i) => {
      const d = Math.hypot((p[0] - x) * box.width / 2, (p[1] - y) * box.height / 2);
      if (d < distance) [best, distance] = [i, d];
    });
    return best;
  }

  hands(lane) {
    const canvas = lane.canvas;
    canvas.setAttribute("aria-keyshortcuts", "n p a Delete ArrowLeft ArrowRight ArrowUp ArrowDown");
    canvas.onpointerdown = (event) => {
      const [x, y, box] = this.place(event, canvas), index = this.near(lane, x, y, box);
      canvas.setPointerCapture(event.pointerId);
      this.drag = { lane, index, moved: false };
      this.chosen = index < 0 ? null : { lane, index };
      this.toolWords();
    };
    canvas.onpointermove = (event) => {
      const [x, y, box] = this.place(event, canvas);
      if (!this.drag) { canvas.style.cursor = this.near(lane, x, y, box) < 0 ? "crosshair" : "grab"; return; }
      if (this.drag.index < 0 || this.drag.lane !== lane) return;
      this.drag.moved = true;
      this.moveTo(lane, this.drag.index, x, y);
    };
    canvas.onpointerup = (event) => {
      const drag = this.drag, [x, y] = this.place(event, canvas);
      this.drag = null;
      if (drag && drag.index < 0 && Math.abs(x) <= 1 && Math.abs(y) <= 1)
        this.edit({ kind: "add", lane: lane.number, x, y });
    };
    canvas.onpointercancel = () => { this.drag = null; };
    canvas.ondblclick = (event) => {
      const [x, y, box] = this.place(event, canvas), index = this.near(lane, x, y, box);
      if (index >= 0) { this.chosen = { lane, index }; this.erase(); }
    };
    canvas.onkeydown = (event) => {
      const count = lane.now.length, at = this.chosen?.lane === lane ? this.chosen.index : -1;
      const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
      if (event.key === "n" || event.key === "p") {
        this.chosen = { lane, index: (at + (event.key === "n" ? 1 : count - 1) + count) % count };
      } else if (moves[event.key] && at >= 0) {
        const [x, y] = lane.now[at], [dx, dy] = moves[event.key];
        this.moveTo(lane, at, x + KEY_STEP * dx, y + KEY_STEP * dy);
      } else if (event.key === "a") {
        this.edit({ kind: "add", lane: lane.number, x: 0, y: 0 });
      } else if ((event.key === "Delete" || event.key === "Backspace") && at >= 0) {
        this.erase();
      } else return;
      event.preventDefault();
      this.toolWords();
    };
  }

  moveTo(lane, index, x, y) {
    const place = [clamp(x, -0.999, 0.999), clamp(y, -1, 1)];
    lane.now[index][0] = place[0];
    lane.now[index][1] = place[1];
    this.edit({ kind: "move", lane: lane.number, index, x: place[0], y: place[1] });
  }

  erase() {
    if (!this.chosen || this.chosen.lane.now.length < 2) return;
    const { lane, index } = this.chosen;
    lane.now.splice(index, 1);
    lane.trails = [];
    this.chosen = null;
    this.edit({ kind: "delete", lane: lane.number, index });
    this.toolWords();
  }

  // -- pictures ------------------------------------------------------------------------------------------------------

  tick(time) {
    if (!this.alive) return;
    requestAnimationFrame((t) => this.tick(t));
    if (!this.built || !this.lanes.length || !this.lanes[0].sent || !this.home.isConnected) return;
    this.look(time);
    const seconds = Math.min(0.1, (time - (this.last ?? time)) / 1000);
    this.last = time;
    this.swingOn(seconds);
    for (const lane of this.lanes) {
      this.drawLane(lane);
      if (lane.aim) this.drawAim(lane.aim, lane.sent.key);
    }
    if (this.teacher) this.drawTeacher();
    if (this.aim) this.drawAim(this.aim.canvas, this.lanes.at(-1).sent.key);
    if (this.swinging) this.drawPendulum();
    if (this.chart) this.drawChart();
    if (this.crowd) this.drawCrowd();
  }

  // Follow the app's theme, which may change while the page is open.
  look(time) {
    if (this.looked && time - this.looked < 500) return;
    this.looked = time;
    const probe = document.createElement("canvas").getContext("2d");
    probe.fillStyle = getComputedStyle(this.home).getPropertyValue("--st-background-color") || "#fff";
    probe.fillRect(0, 0, 1, 1);
    const [r, g, b] = probe.getImageData(0, 0, 1, 1).data, name = r + g + b < 384 ? "dark" : "light";
    if (name === this.themeName) return;
    this.themeName = name;
    this.theme = THEMES[name];
    this.teacherField = null;
    for (const lane of this.lanes) lane.stale = true;
    const stops = [-1, -0.5, 0, 0.5, 1].map((v) => rgb(shade(this.theme, v)));
    if (this.ramp) this.ramp.style.background = `linear-gradient(90deg, ${stops.join(",")})`;
  }

  // A context in CSS pixels, resized only when the layout changed.
  paper(canvas) {
    const ratio = Math.min(2, window.devicePixelRatio || 1), width = canvas.clientWidth, height = canvas.clientHeight;
    if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
    }
    const context = canvas.getContext("2d");
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    context.font = "11px sans-serif";
    return [context, width, height];
  }

  axes(context, width, height, small) {
    context.strokeStyle = rgb(this.theme.ink, 0.18);
    context.setLineDash([3, 4]);
    context.beginPath();
    context.moveTo(width / 2, 0);
    context.lineTo(width / 2, height);
    context.moveTo(0, height / 2);
    context.lineTo(width, height / 2);
    context.stroke();
    context.setLineDash([]);
    if (small) return;
    const write = (text, align, baseline, x, y) => {  // on a halo, as there may be any colour below
      context.textAlign = align;
      context.textBaseline = baseline;
      context.strokeText(text, x, y);
      context.fillText(text, x, y);
    };
    context.fillStyle = rgb(this.theme.ink);
    context.strokeStyle = rgb(this.theme.paper, 0.75);
    context.lineWidth = 3;
    context.lineJoin = "round";
    write("upright", "center", "bottom", width / 2, height - 3);
    write("hanging", "left", "bottom", 5, height - 3);
    write("hanging", "right", "bottom", width - 5, height - 3);
    write("↑ turning clockwise fast", "left", "top", 5, 4);
    write("↓ counter-clockwise fast", "left", "bottom", 5, height - 18);
    context.lineWidth = 1;
  }

  drawLane(lane) {
    const [context, width, height] = this.paper(lane.canvas), { theme } = this, sent = lane.sent;
    if (lane.stale) {
      const at = (c, r) => lane.act(((c + 0.5) / CELLS[0] * 2 - 1) * Math.PI, ((r + 0.5) / CELLS[1] * 2 - 1) * MAX_SPEED);
      paintField(lane.field, theme, ...CELLS, at);
      lane.stale = false;
    }
    context.imageSmoothingEnabled = true;
    context.drawImage(lane.field, 0, 0, width, height);
    const small = width < 400;
    this.axes(context, width, height, small);
    const screen = (x, y) => [(x + 1) / 2 * width, (1 - y) / 2 * height];
    const held = this.drag?.lane === lane ? this.drag.index : -1;
    const busy = new Set(this.unsent.filter((e) => e.lane === lane.number).map((e) => e.index));
    const pace = calm() ? 1 : 0.22;
    lane.now.forEach((now, i) => {
      const goal = sent.points[i];
      if (!goal || i === held || busy.has(i)) return;
      now[0] = wrap(now[0] + pace * wrap(goal[0] - now[0]));
      now[1] += pace * (goal[1] - now[1]);
      now[2] += pace * (goal[2] - now[2]);
    });
    context.lineWidth = 1.2;
    context.strokeStyle = rgb(theme.ink, 0.28);
    for (const trail of lane.trails) {
      context.beginPath();
      trail?.forEach(([x, y], i) => {
        const jump = i && Math.abs(x - trail[i - 1][0]) > 1;
        context[i && !jump ? "lineTo" : "moveTo"](...screen(x, y));
      });
      context.stroke();
    }
    if (this.view.arrows && !sent.frozen) this.drawArrows(context, lane, screen, small);
    this.drawRing(context, screen, lane);
    const radius = small ? 5 : 7.5;
    lane.now.forEach(([x, y, action], i) => {
      const [px, py] = screen(x, y), chosen = this.chosen?.lane === lane && this.chosen.index === i;
      context.beginPath();
      context.arc(px, py, radius + (chosen ? 2.5 : 0), 0, 7);
      context.fillStyle = rgb(shade(theme, action));
      context.fill();
      context.lineWidth = chosen ? 3 : 1.6;
      context.strokeStyle = rgb(theme.ink, 0.95);
      context.stroke();
      if (Math.abs(action) > 0.12) {
        context.lineWidth = 1.6;
        context.strokeStyle = Math.abs(action) > 0.55 ? "#fff" : rgb(theme.ink);
        context.beginPath();
        context.moveTo(px - radius * 0.45, py);
        context.lineTo(px + radius * 0.45, py);
        if (action > 0) { context.moveTo(px, py - radius * 0.45); context.lineTo(px, py + radius * 0.45); }
        context.stroke();
      }
    });
  }

  drawArrows(context, lane, screen, small) {
    const long = small ? 20 : 46;
    context.strokeStyle = context.fillStyle = rgb(this.theme.ink, 0.9);
    lane.sent.arrows.forEach(([dx, dy], i) => {
      if (!lane.now[i]) return;
      const size = Math.hypot(dx, dy);
      if (size < 0.04) return;
      const length = long * Math.sqrt(size) / size, [px, py] = screen(lane.now[i][0], lane.now[i][1]);
      const [qx, qy] = [px + dx * length, py - dy * length], turn = Math.atan2(qy - py, qx - px);
      context.lineWidth = 2;
      context.beginPath();
      context.moveTo(px, py);
      context.lineTo(qx, qy);
      context.stroke();
      context.beginPath();
      context.moveTo(qx + 5 * Math.cos(turn), qy + 5 * Math.sin(turn));
      context.lineTo(qx + 5 * Math.cos(turn + 2.5), qy + 5 * Math.sin(turn + 2.5));
      context.lineTo(qx + 5 * Math.cos(turn - 2.5), qy + 5 * Math.sin(turn - 2.5));
      context.fill();
    });
  }

  // Where the pendulum is, on the map of the student that moves it.
  drawRing(context, screen, lane) {
    if (!this.swinging || lane !== this.lanes.at(-1)) return;
    const { trail } = this.swing;
    context.lineWidth = 2.5;
    for (let i = 1; i < trail.length; i++) {
      if (Math.abs(trail[i][0] - trail[i - 1][0]) > 1) continue;
      context.strokeStyle = `rgba(255,255,255,${0.75 * i / trail.length})`;
      context.beginPath();
      context.moveTo(...screen(...trail[i - 1]));
      context.lineTo(...screen(...trail[i]));
      context.stroke();
    }
    if (!trail.length) return;
    context.beginPath();
    context.arc(...screen(...trail.at(-1)), 6, 0, 7);
    context.lineWidth = 3.5;
    context.strokeStyle = "rgba(0,0,0,0.55)";
    context.stroke();
    context.lineWidth = 2;
    context.strokeStyle = "#fff";
    context.stroke();
  }

  drawTeacher() {
    const [context, width, height] = this.paper(this.teacher.canvas), [columns, rows] = this.still.shape;
    if (!this.teacherField) {
      this.teacherField = document.createElement("canvas");
      const values = parts(this.still.field);
      paintField(this.teacherField, this.theme, columns, rows, (c, r) => values[r * columns + c]);
    }
    context.drawImage(this.teacherField, 0, 0, width, height);
    this.axes(context, width, height, true);
  }

  drawAim(canvas, key) {
    const [context, width, height] = this.paper(canvas), still = this.still;
    this.dots ??= {
      places: parts(still.states), weights: parts(still.weights),
      dbc: parts(still.targets.dbc), pbc: parts(still.targets.pbc),
    };
    const actions = key === "dbc" || key === "random_selection" ? this.dots.dbc : this.dots.pbc;
    context.fillStyle = rgb(this.theme.zero);
    context.fillRect(0, 0, width, height);
    this.axes(context, width, height, true);
    for (let i = 0; i < actions.length; i++) {
      const size = key === "av_pbc" ? 0.7 + 3.6 * this.dots.weights[i] ** 1.5 : 2.1;
      context.beginPath();
      context.arc((this.dots.places[2 * i] + 1) / 2 * width, (1 - this.dots.places[2 * i + 1]) / 2 * height, size * (width > 230 ? 1 : 0.8), 0, 7);
      context.fillStyle = rgb(shade(this.theme, actions[i] >= 0 ? Math.max(actions[i], 0.12) : Math.min(actions[i], -0.12)), 0.9);
      context.fill();
    }
  }

  // Pendulum-v1, drawn mirrored: clockwise counts as positive, so right on the map is right in the picture.
  swingOn(seconds) {
    const swing = this.swing, act = this.lanes.at(-1).act;
    if (!act || !this.swinging || (calm() && !this.frame.playing)) return;
    swing.clock += seconds;
    while (swing.clock >= TIME_STEP) {
      swing.clock -= TIME_STEP;
      swing.action = act(swing.angle, swing.velocity);
      swing.velocity = clamp(swing.velocity + (15 * Math.sin(swing.angle) + 6 * swing.action) * TIME_STEP, -MAX_SPEED, MAX_SPEED);
      swing.angle = Math.PI * wrap((swing.angle + swing.velocity * TIME_STEP) / Math.PI);
      swing.trail.push([swing.angle / Math.PI, swing.velocity / MAX_SPEED]);
      if (swing.trail.length > 26) swing.trail.shift();
      if (++swing.step >= EPISODE) {
        Object.assign(swing, { angle: Math.PI - 0.3 * (Math.random() - 0.5), velocity: 0, step: 0, trail: [] });
      }
    }
  }

  drawPendulum() {
    const [context, width, height] = this.paper(this.swinging.canvas), swing = this.swing, ink = this.theme.ink;
    const size = Math.min(width, height), length = 0.36 * size, [cx, cy] = [width / 2, height / 2];
    const ahead = swing.angle + swing.velocity * swing.clock;
    const [tx, ty] = [cx + length * Math.sin(ahead), cy - length * Math.cos(ahead)];
    context.strokeStyle = rgb(ink, 0.15);
    context.lineWidth = 1;
    context.beginPath();
    context.arc(cx, cy, length, 0, 7);
    context.stroke();
    context.strokeStyle = rgb(ink, 0.75);
    context.lineCap = "round";
    context.lineWidth = Math.max(5, size * 0.045);
    context.beginPath();
    context.moveTo(cx, cy);
    context.lineTo(tx, ty);
    context.stroke();
    context.beginPath();
    context.arc(tx, ty, size * 0.065, 0, 7);
    context.fillStyle = rgb(shade(this.theme, swing.action));
    context.fill();
    context.lineWidth = 2;
    context.strokeStyle = rgb(ink, 0.85);
    context.stroke();
    const push = swing.action, around = 0.16 * size, from = -Math.PI / 2, to = from + push * 2.2;
    if (Math.abs(push) > 0.06) {
      context.strokeStyle = context.fillStyle = rgb(mix(shade(this.theme, push), ink, 0.15));
      context.lineWidth = 4;
      context.beginPath();
      context.arc(cx, cy, around, Math.min(from, to), Math.max(from, to));
      context.stroke();
      const [ax, ay] = [cx + around * Math.cos(to), cy + around * Math.sin(to)], turn = to + (push > 0 ? Math.PI / 2 : -Math.PI / 2);
      context.beginPath();
      for (const [bend, reach] of [[0, 8], [2.4, 8], [-2.4, 8]]) context.lineTo(ax + reach * Math.cos(turn + bend), ay + reach * Math.sin(turn + bend));
      context.fill();
    }
    context.beginPath();
    context.arc(cx, cy, 3.5, 0, 7);
    context.fillStyle = rgb(ink);
    context.fill();
    context.lineCap = "butt";
    this.swinging.fact.textContent = Math.cos(swing.angle) > 0.95 ? "balanced" : "";
  }

  drawChart() {
    const [context, width, height] = this.paper(this.chart.canvas), { references } = this.still;
    const low = -1700, left = 4, bottom = height - 16, top = 6;
    const y = (value) => top + (bottom - top) * clamp(value / low, 0, 1);
    const steps = Math.max(100, ...this.lanes.map((lane) => lane.sent.steps)), x = (step) => left + (width - left - 6) * step / steps;
    context.textAlign = "right";
    for (const [value, label, dash] of [[references.teacher, "teacher", []], [references.nothing, "doing nothing", [4, 4]]]) {
      context.setLineDash(dash);
      context.strokeStyle = rgb(this.theme.ink, 0.4);
      context.lineWidth = 1;
      context.beginPath();
      context.moveTo(left, y(value));
      context.lineTo(width - 6, y(value));
      context.stroke();
      context.fillStyle = rgb(this.theme.ink, 0.7);
      context.textBaseline = "bottom";
      context.fillText(`${label} ${whole(value)}`, width - 6, y(value) + (label === "teacher" ? 14 : -2));
    }
    context.setLineDash([]);
    for (const { sent } of this.lanes) {
      context.strokeStyle = context.fillStyle = sent.colour;
      context.lineWidth = 2.2;
      context.beginPath();
      sent.returns.forEach(([step, value], i) => context[i ? "lineTo" : "moveTo"](x(step), y(value)));
      context.stroke();
      const last = sent.returns.at(-1);
      if (last) {
        context.beginPath();
        context.arc(x(last[0]), y(last[1]), 4, 0, 7);
        context.fill();
      }
    }
    context.fillStyle = rgb(this.theme.ink, 0.7);
    context.textBaseline = "bottom";
    context.textAlign = "left";
    context.fillText("0", left, height - 1);
    context.textAlign = "right";
    context.fillText(`${steps} outer steps`, width - 6, height - 1);
  }

  drawCrowd() {
    const [context, width, height] = this.paper(this.crowd.canvas), bins = new Map(), low = -1700;
    const x = (value) => 14 + (width - 28) * clamp(1 - value / low, 0, 1), bottom = height - 30;
    context.fillStyle = rgb(this.theme.ink, 0.7);
    context.textAlign = "center";
    for (const value of [-1600, -1200, -800, -400, 0]) context.fillText(whole(value), x(value), height - 12);
    context.strokeStyle = rgb(this.theme.ink, 0.3);
    context.beginPath();
    context.moveTo(8, bottom + 8);
    context.lineTo(width - 8, bottom + 8);
    context.stroke();
    const teacher = x(this.still.references.teacher);
    context.setLineDash([4, 4]);
    context.beginPath();
    context.moveTo(teacher, 16);
    context.lineTo(teacher, bottom + 8);
    context.stroke();
    context.setLineDash([]);
    context.textAlign = "right";
    context.fillText("teacher ", teacher, 14);
    const size = Math.min(7, height / 46), wide = 2 * size + 1;
    for (const value of this.frame.crowd) {
      const bin = Math.round(x(value) / wide);
      bins.set(bin, (bins.get(bin) ?? 0) + 1);
    }
    const pitch = Math.min(wide, (bottom - 22) / Math.max(...bins.values(), 1));   // the tallest pile stays below the word
    context.fillStyle = this.lanes[0].sent.colour;
    for (const [bin, count] of bins) for (let level = 0; level < count; level++) {
      context.beginPath();
      context.arc(bin * wide, bottom - level * pitch, size, 0, 7);
      context.fill();
    }
  }
}

export default function (component) {
  const { data, parentElement, setStateValue } = component;
  let app = apps.get(parentElement);
  if (!app || !app.alive) apps.set(parentElement, (app = new App(parentElement)));
  clearTimeout(app.ending);
  app.update(data, (edits) => setStateValue("edits", edits));
  // The page may call this function again at once with new data: only a lasting absence ends the app.
  return () => { app.ending = setTimeout(() => app.destroy(), 1000); };
}
