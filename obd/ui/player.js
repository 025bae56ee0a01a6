// A video and charts that share one clock.  `data` is described in player.py (contract).

const DASHES = { solid: [], dashed: [7, 4], dotted: [2, 3], dashdot: [8, 3, 2, 3] };
const SPEEDS = [0.25, 0.5, 1, 2];
// Drawn, because not every machine has a font with these characters.
const ICONS = {
  play: "M4 2 L14 8 L4 14 Z",
  pause: "M3 2 H7 V14 H3 Z M9 2 H13 V14 H9 Z",
  start: "M2 2 H4 V14 H2 Z M14 2 L5 8 L14 14 Z",
  back: "M11 2 L4 8 L11 14 Z",
  ahead: "M5 2 L12 8 L5 14 Z",
  full: "M2 2 H6 V4 H4 V6 H2 Z M10 2 H14 V6 H12 V4 H10 Z M2 10 H4 V12 H6 V14 H2 Z M12 10 H14 V14 H10 V12 H12 Z",
};

export default function ({ data, parentElement }) {
  const root = parentElement.querySelector(".player");
  root.style.setProperty("--aspect", `${data.size[0]} / ${data.size[1]}`); // before a picture is loaded nothing jumps
  if (data.url === undefined) await_video(root, data);
  else if (root.player && root.player.key === data.key) {
    root.player.renew(data); // a rerun of the page must not restart the video
  } else {
    if (root.player) root.player.close();
    root.player = build(root, data);
  }
  return () => {
    if (root.player && !root.isConnected) {
      root.player.close();
      root.player = null;
    }
  };
}

// The newest picture of a video that is still being drawn.
function await_video(root, data) {
  if (root.player) root.player.close();
  root.player = null;
  let image = root.querySelector("img");
  if (!image) {
    image = element("img", { alt: data.alt });
    root.replaceChildren(element("div", { class: "stage" }, image));
  }
  image.style.visibility = data.picture ? "visible" : "hidden";
  if (data.picture) image.src = data.picture;
}

function element(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "class") node.className = value;
    else node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}

function svg(tag, attributes, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

function icon(name) {
  return svg("svg", { width: 14, height: 14, viewBox: "0 0 16 16", "aria-hidden": "true" }, svg("path", { d: ICONS[name], fill: "currentColor" }));
}

function build(root, data) {
  const duration = data.frames / data.fps;
  const hidden = new Set();
  let hovered = null; // time under the pointer, in seconds
  let closed = false;

  // --- the video and its controls ---
  const video = element("video", { playsinline: "", loop: "", "aria-label": data.alt, preload: "auto" });
  video.muted = true; // browsers start only silent videos by themselves
  video.src = data.url;
  const play = element("button", { class: "play", type: "button" });
  const start = element("button", { type: "button", "aria-label": "Back to the start" }, icon("start"));
  const back = element("button", { type: "button", "aria-label": "One frame back" }, icon("back"));
  const ahead = element("button", { type: "button", "aria-label": "One frame ahead" }, icon("ahead"));
  const speed = element("select", { "aria-label": "Speed" });
  for (const rate of SPEEDS) speed.append(element("option", { value: rate }, `${rate}×`));
  speed.value = "1";
  const full = element("button", { type: "button", "aria-label": "Full screen" }, icon("full"));
  const clock = element("span", { class: "time" });
  const hint = element("span", { class: "hint" }, "space: play · ← →: frame · click a chart: seek");
  const last = root.querySelector("img"); // the picture shown while the video was made stays until the video has one
  if (last && last.src) video.poster = last.src;
  const stage = element("div", { class: "stage" }, video);
  const controls = element("div", { class: "controls" }, play, start, back, ahead, speed, full, clock, hint);

  const seek = (seconds) => {
    video.currentTime = Math.min(Math.max(seconds, 0), duration - 0.5 / data.fps);
    paint();
  };
  const toggle = () => (video.paused ? video.play() : video.pause());
  const step = (frames) => {
    video.pause();
    seek((frameAt(video.currentTime) + frames + 0.5) / data.fps); // the middle of a frame is surely that frame
  };
  play.onclick = toggle;
  video.onclick = toggle;
  start.onclick = () => seek(0);
  back.onclick = () => step(-1);
  ahead.onclick = () => step(1);
  speed.onchange = () => { video.playbackRate = Number(speed.value); };
  full.onclick = () => stage.requestFullscreen?.();
  const named = () => {
    play.replaceChildren(icon(video.paused ? "play" : "pause"), video.paused ? " Play" : " Pause");
  };
  video.onplay = named;
  video.onpause = named;
  named();

  // --- one chart per quantity ---
  const charts = data.charts.map((chart, index) => {
    const canvas = element("canvas", {
      tabindex: "0",
      role: "slider",
      "aria-valuemin": "0",
      "aria-valuemax": duration.toFixed(2),
    });
    let caption;
    const choice = { index: 0 };
    if (chart.options.length > 1) {
      caption = element("select", { "aria-label": `${chart.title}: what to show` });
      chart.options.forEach((option, i) => caption.append(element("option", { value: i }, option.label)));
      caption.onchange = () => {
        choice.index = Number(caption.value);
        label();
        paint();
      };
    } else caption = element("span", { class: "name" }, chart.options[0].label);
    const label = () => canvas.setAttribute("aria-label", `${chart.options[choice.index].label} over time; arrow keys seek`);
    label();
    const at = (event) => {
      const box = canvas.getBoundingClientRect();
      const { left, right } = margins(box.width);
      return Math.min(Math.max((event.clientX - box.left - left) / (box.width - left - right), 0), 1) * duration;
    };
    canvas.onpointerdown = (event) => {
      canvas.setPointerCapture(event.pointerId);
      seek(at(event));
    };
    canvas.onpointermove = (event) => {
      hovered = at(event);
      if (event.buttons) seek(hovered);
      else paint();
    };
    canvas.onpointerleave = () => {
      hovered = null;
      paint();
    };
    const figure = element("figure", { class: "chart" }, element("figcaption", {}, caption), canvas);
    return { chart, index, choice, canvas, figure, option: () => chart.options[choice.index] };
  });
  const plots = element("div", { class: "charts" }, ...charts.map((c) => c.figure));

  // --- the numbers at the cursor, which are also the legend ---
  const head = element("tr", {}, element("th", { scope: "col" }, "Policy"));
  const titles = charts.map(() => element("th", { scope: "col" }));
  const [score, ending] = ["Episode's return", "Episode"].map((text) => element("th", { scope: "col" }, text));
  head.append(score, ...titles, ending); // what matters most is still seen on a phone
  const rows = data.members.map((member, index) => {
    const stroke = { x1: 0, y1: 4, x2: 26, y2: 4, stroke: member.colour, "stroke-width": 2.5, "stroke-dasharray": DASHES[member.dash] || [] };
    const line = svg("svg", { width: 26, height: 8, "aria-hidden": "true" }, svg("line", stroke));
    const glyph = element("span", { style: `color:${member.colour}`, "aria-hidden": "true" }, member.glyph);
    const button = element("button", { type: "button", "aria-pressed": "true", title: "Show or hide its lines" }, glyph, line, member.label);
    button.onclick = () => {
      if (hidden.has(index)) hidden.delete(index);
      else hidden.add(index);
      button.setAttribute("aria-pressed", String(!hidden.has(index)));
      paint();
    };
    const cells = charts.map(() => element("td"));
    const [score, ending] = [member.score, member.ending].map((text) => element("td", {}, text));
    return { row: element("tr", {}, element("th", { scope: "row" }, button), score, ...cells, ending), cells };
  });
  const table = element("table", {}, element("thead", {}, head), element("tbody", {}, ...rows.map((r) => r.row)));
  const readout = element("div", { class: "readout" }, table);

  root.replaceChildren(stage, controls, plots, readout);

  // --- keys: anywhere in the player ---
  const onKey = (event) => {
    const tag = event.target.tagName;
    if (event.ctrlKey || event.metaKey || event.altKey || tag === "SELECT") return;
    const actions = {
      " ": tag === "BUTTON" && event.target !== play ? null : toggle, // a button's own space presses it
      ArrowLeft: () => step(event.shiftKey ? -Math.round(data.fps) : -1),
      ArrowRight: () => step(event.shiftKey ? Math.round(data.fps) : 1),
      Home: () => seek(0),
      End: () => seek(duration),
    };
    if (!actions[event.key]) return;
    event.preventDefault();
    event.stopPropagation();
    actions[event.key]();
  };
  root.addEventListener("keydown", onKey);
  // Space plays wherever the focus is, unless something there uses it itself.
  const onPageKey = (event) => {
    const busy = event.composedPath()[0]?.closest?.("input, textarea, select, button, a, [contenteditable], [role], [tabindex]");
    if (event.key === " " && !event.defaultPrevented && !busy) {
      event.preventDefault();
      toggle();
    }
  };
  document.addEventListener("keydown", onPageKey);

  // --- drawing ---
  function frameAt(seconds) {
    return Math.min(Math.max(Math.floor(seconds * data.fps + 1e-4), 0), data.frames - 1);
  }

  function paint() {
    if (closed) return;
    const now = Math.min(video.currentTime, duration);
    const looking = hovered ?? now;
    const frame = frameAt(looking);
    clock.textContent = `${now.toFixed(1)} / ${duration.toFixed(1)} s`;
    charts.forEach((entry, column) => {
      draw(entry, now, looking);
      const option = entry.option();
      titles[column].textContent = option.label + (option.unit ? ` (${option.unit})` : "");
      rows.forEach(({ cells }, member) => {
        const value = option.values[member][frame];
        cells[column].textContent = value == null ? "–" : pretty(value);
      });
      entry.canvas.setAttribute("aria-valuenow", now.toFixed(2));
      entry.canvas.setAttribute("aria-valuetext", `${now.toFixed(1)} seconds`);
    });
  }

  function draw({ canvas, option }, now, looking) {
    const width = canvas.clientWidth, height = canvas.clientHeight;
    if (!width || !height) return;
    const ratio = window.devicePixelRatio || 1;
    if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
    }
    const pen = canvas.getContext("2d");
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, width, height);
    const look = getComputedStyle(root);
    const ink = look.color;
    const { left, right, top, bottom } = margins(width);
    const values = option().values;
    const [low, high] = extent(values);
    const x = (seconds) => left + ((width - left - right) * seconds) / duration;
    const y = (value) => height - bottom - ((height - top - bottom) * (value - low)) / (high - low);
    pen.font = `11px ${look.fontFamily}`;
    pen.fillStyle = ink;
    pen.strokeStyle = ink;
    pen.lineWidth = 1;
    for (const tick of ticks(low, high, 3)) {
      pen.globalAlpha = tick === 0 ? 0.35 : 0.13;
      line(pen, left, y(tick), width - right, y(tick));
      pen.globalAlpha = 0.75;
      pen.textAlign = "right";
      pen.textBaseline = "middle";
      pen.fillText(pretty(tick), left - 5, y(tick));
    }
    pen.textAlign = "center";
    pen.textBaseline = "bottom";
    for (const tick of ticks(0, duration, width < 260 ? 3 : 5)) {
      pen.globalAlpha = 0.75;
      pen.fillText(`${pretty(tick)} s`, Math.min(x(tick), width - 12), height);
    }
    pen.globalAlpha = 1;
    pen.lineJoin = "round";
    values.forEach((series, member) => {
      if (hidden.has(member)) return;
      const { colour, dash } = data.members[member];
      pen.strokeStyle = colour;
      pen.setLineDash(DASHES[dash] || []);
      pen.lineWidth = 1.6;
      pen.beginPath();
      let open = false;
      series.forEach((value, frame) => {
        if (value == null) { open = false; return; }
        if (open) pen.lineTo(x(frame / data.fps), y(value));
        else pen.moveTo(x(frame / data.fps), y(value));
        open = true;
      });
      pen.stroke();
    });
    pen.setLineDash([]);
    pen.strokeStyle = ink;
    if (looking !== now) {
      pen.globalAlpha = 0.4;
      line(pen, x(looking), top, x(looking), height - bottom);
    }
    pen.globalAlpha = 0.95;
    pen.lineWidth = 1.5;
    line(pen, x(now), top, x(now), height - bottom);
    const frame = frameAt(looking);
    values.forEach((series, member) => {
      if (hidden.has(member) || series[frame] == null) return;
      pen.globalAlpha = 1;
      pen.fillStyle = data.members[member].colour;
      pen.beginPath();
      pen.arc(x(looking), y(series[frame]), 3, 0, 7);
      pen.fill();
    });
    pen.globalAlpha = 1;
  }

  // --- the clock: every frame the video shows moves the cursor ---
  let request = 0;
  const framewise = "requestVideoFrameCallback" in HTMLVideoElement.prototype;
  const tick = () => {
    paint();
    if (!closed) request = framewise ? video.requestVideoFrameCallback(tick) : requestAnimationFrame(tick);
  };
  tick();
  video.onseeked = paint;
  video.ontimeupdate = paint;
  const observer = new ResizeObserver(paint);
  observer.observe(root);
  const started = video.play();
  if (started) started.catch(() => named()); // a browser that does not start by itself

  return {
    key: data.key,
    renew(next) {
      data = next;
      if (!video.src.endsWith(next.url)) { // the same video under another address
        const time = video.currentTime, paused = video.paused;
        video.src = next.url;
        video.currentTime = time;
        if (!paused) video.play()?.catch(() => {});
      }
      paint();
    },
    close() {
      closed = true;
      observer.disconnect();
      if (framewise) video.cancelVideoFrameCallback(request);
      else cancelAnimationFrame(request);
      document.removeEventListener("keydown", onPageKey);
      root.removeEventListener("keydown", onKey);
      video.pause();
      video.removeAttribute("src");
      root.replaceChildren();
    },
  };
}

function margins() {
  return { left: 40, right: 8, top: 6, bottom: 18 };
}

function line(pen, x1, y1, x2, y2) {
  pen.beginPath();
  pen.moveTo(x1, y1);
  pen.lineTo(x2, y2);
  pen.stroke();
}

function extent(values) {
  let low = Infinity, high = -Infinity;
  for (const series of values) {
    for (const value of series) {
      if (value == null) continue;
      if (value < low) low = value;
      if (value > high) high = value;
    }
  }
  if (!(low <= high)) return [0, 1];
  const room = 0.06 * (high - low) || Math.abs(high) || 1;
  return [low - room, high + room];
}

function ticks(low, high, count) {
  const rough = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((f) => f * power).find((s) => s >= rough);
  const found = [];
  for (let n = Math.ceil(low / step - 1e-9); n * step <= high + 1e-9 * step; n++) found.push(n * step);
  return found;
}

function pretty(value) {
  const size = Math.abs(value);
  if (size < 0.0005) return "0";
  const text = size >= 1000 ? value.toLocaleString("en", { maximumFractionDigits: 0 }) : String(Number(value.toPrecision(3)));
  return text.replace("-", "−");
}
