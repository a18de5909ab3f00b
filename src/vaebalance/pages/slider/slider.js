"use strict";
// Start when the page is idle (a report first draws its charts), within half a second.
(window.requestIdleCallback ?? setTimeout)(() => {
  const data = JSON.parse(document.getElementById("slider-data").textContent);
  const { logs, readouts, active, tenths, sheet } = data;
  const slider = document.getElementById("beta");
  const marker = document.getElementById("marker");
  const said = document.getElementById("said"); // read out by screen readers
  const buttons = [...document.querySelectorAll("[data-state]")];
  const now = [...document.querySelectorAll("[data-now]")];
  const spreads = [...document.getElementById("spreads").children];
  const dots = [...document.getElementById("codes").children];
  const bars = [...document.getElementById("heights").children];
  const floor = Number(bars[0].getAttribute("y")) + Number(bars[0].getAttribute("height"));
  const marks = numbers(data.marker), codes = numbers(data.codes), heights = numbers(data.heights);
  const TRAVEL = 450; // ms to travel to a button's state
  const still = matchMedia("(prefers-reduced-motion: reduce)");
  const sprites = new Image();
  let cells = [];
  let shown = -1, wanted = logs.findIndex((log) => log === Number(slider.getAttribute("value")));
  let held = false, frame = 0, journey = 0;

  function numbers(text) {
    const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
    return new Int16Array(bytes.buffer);
  }

  function place(element, names, values, start) {
    names.forEach((name, k) => element.setAttribute(name, values[start + k] / tenths));
  }

  function drawPictures(state) {
    cells.forEach((context, cell) => {
      const index = state * cells.length + cell;
      const x = (index % sheet.columns) * sheet.width;
      const y = Math.floor(index / sheet.columns) * sheet.height;
      const size = [sheet.width, sheet.height];
      context.drawImage(sprites, x, y, ...size, 0, 0, ...size);
    });
  }

  function draw(state) {
    if (state === shown) return;
    shown = state;
    for (const element of now) element.textContent = readouts[state][element.dataset.now];
    slider.value = logs[state];
    slider.setAttribute("aria-valuetext", readouts[state].spoken);
    for (const button of buttons) {
      button.setAttribute("aria-pressed", String(Number(button.dataset.state) === state));
    }
    const [x, y] = [marks[2 * state] / tenths, marks[2 * state + 1] / tenths];
    marker.setAttribute("transform", `translate(${x},${y})`);
    dots.forEach((dot, k) => {
      const start = 4 * (state * dots.length + k);
      place(dot, ["cx", "cy"], codes, start);
      place(spreads[k], ["cx", "cy", "rx", "ry"], codes, start);
    });
    bars.forEach((bar, k) => {
      const height = heights[state * bars.length + k] / tenths;
      bar.setAttribute("y", floor - height);
      bar.setAttribute("height", height);
      bar.setAttribute("class", active[state][k] === "1" ? "on" : "off");
    });
    drawPictures(state);
  }

  // Draw at most once per frame, however fast the input.
  function show(state) {
    wanted = state;
    frame ||= requestAnimationFrame(() => {
      frame = 0;
      draw(wanted);
    });
  }

  function nearest(log) {
    return logs.reduce((best, at, k) => (Math.abs(at - log) < Math.abs(logs[best] - log) ? k : best), 0);
  }

  function stop() {
    cancelAnimationFrame(journey);
    journey = 0;
  }

  // Pass through all states in between, unless the reader prefers reduced motion.
  function travel(target) {
    stop();
    if (still.matches) return show(target);
    const start = performance.now(), from = wanted;
    const step = (time) => {
      const share = Math.min(1, Math.max(0, (time - start) / TRAVEL));
      const eased = share * share * (3 - 2 * share);
      show(Math.round(from + (target - from) * eased));
      journey = share < 1 ? requestAnimationFrame(step) : 0;
    };
    journey = requestAnimationFrame(step);
  }

  slider.addEventListener("pointerdown", () => { held = true; });
  for (const end of ["pointerup", "pointercancel", "blur"]) {
    slider.addEventListener(end, () => { held = false; });
  }
  slider.addEventListener("input", () => {
    stop();
    const value = Number(slider.value), state = nearest(value);
    const direction = Math.sign(value - logs[wanted]);
    // A step by key or assistive technology moves one state, even if it is too short to reach it.
    const moved = held || state !== wanted ? state : wanted + direction;
    slider.value = logs[Math.min(logs.length - 1, Math.max(0, moved))];
    show(Math.min(logs.length - 1, Math.max(0, moved)));
  });
  for (const button of buttons) {
    button.addEventListener("click", () => {
      travel(Number(button.dataset.state));
      said.textContent = `${button.textContent}: ${readouts[button.dataset.state].spoken}`;
    });
  }

  // Dragging along the curve moves the slider, too.
  const curve = document.getElementById("slider-curve");
  function alongCurve(event) {
    const box = curve.querySelector(".plot").getScreenCTM();
    const x = (event.clientX - box.e) / box.a * tenths, y = (event.clientY - box.f) / box.d * tenths;
    let best = 0;
    for (let k = 1; k < logs.length; k += 1) {
      const distance = (i) => Math.hypot(marks[2 * i] - x, marks[2 * i + 1] - y);
      if (distance(k) < distance(best)) best = k;
    }
    stop();
    show(best);
  }
  curve.addEventListener("pointerdown", (event) => {
    curve.setPointerCapture(event.pointerId);
    alongCurve(event);
  });
  curve.addEventListener("pointermove", (event) => {
    if (curve.hasPointerCapture(event.pointerId)) alongCurve(event);
  });

  function canvasFor(image) {
    const canvas = document.createElement("canvas");
    canvas.width = sheet.width;
    canvas.height = sheet.height;
    if (image.alt) {
      canvas.setAttribute("role", "img");
      canvas.setAttribute("aria-label", image.alt);
    }
    image.replaceWith(canvas);
    return canvas.getContext("2d");
  }

  sprites.src = sheet.uri;
  sprites.decode().then(() => {
    cells = [...document.querySelectorAll("img[data-cell]")].map(canvasFor);
    document.getElementById("unmoved").remove();
    document.getElementById("dial").hidden = false;
    draw(wanted);
    document.getElementById("slider").classList.add("drawn");
  }).catch((error) => { // the page stays as without JavaScript
    document.getElementById("unmoved").textContent =
      "This is one state of the curve: the browser could not read the pictures of the others.";
    console.error(error);
  });
}, { timeout: 500 });
