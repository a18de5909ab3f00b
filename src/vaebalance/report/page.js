"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const tooltip = document.getElementById("tooltip");
  const views = new Map(); // chart's element -> Vega view

  // What comes from data is only ever set as text.
  function element(tag, className, text) {
    const made = document.createElement(tag);
    made.className = className;
    if (text !== undefined) made.textContent = text;
    return made;
  }

  function thumbnail(atlas, index) {
    const scale = Math.max(1, Math.floor(112 / Math.max(atlas.width, atlas.height)));
    const width = atlas.width * scale, height = atlas.height * scale;
    const column = index % atlas.columns, row = Math.floor(index / atlas.columns);
    const made = element("div", "thumbnail");
    made.style.width = `${width}px`;
    made.style.height = `${height}px`;
    made.style.backgroundImage = `url(${atlas.uri})`;
    made.style.backgroundSize = `${width * atlas.columns}px ${height * atlas.rows}px`;
    made.style.backgroundPosition = `${-width * column}px ${-height * row}px`;
    return made;
  }

  function describe(container, value) {
    const planes = container.closest("[data-planes]");
    if (planes) {
      const { names, atlas } = data.planes[planes.dataset.planes];
      const parts = atlas ? [thumbnail(atlas, value.i)] : [];
      return [...parts, element("div", "name", names[value.i])];
    }
    return Object.entries(value).map(([name, text]) => {
      const row = element("div", "row");
      row.append(element("span", "", name), element("b", "", String(text)));
      return row;
    });
  }

  function showTooltip(container, event, value) {
    if (value === null || value === undefined || value === "") {
      tooltip.hidden = true;
      return;
    }
    tooltip.replaceChildren(...describe(container, value));
    tooltip.hidden = false;
    const { width, height } = tooltip.getBoundingClientRect();
    const right = event.clientX + 14 + width > window.innerWidth;
    const below = event.clientY + 14 + height > window.innerHeight;
    tooltip.style.left = `${Math.max(4, right ? event.clientX - 14 - width : event.clientX + 14)}px`;
    tooltip.style.top = `${Math.max(4, below ? event.clientY - 14 - height : event.clientY + 14)}px`;
  }

  // Charts over the same thing (an epoch, an image) mark together what is pointed at in one.
  function pointTogether(container, view, field) {
    let last = null;
    const point = (value) => {
      if (value === last) return;
      last = value;
      for (const [other, otherView] of views) {
        if (data.charts[other.dataset.chart].pointsAt === field) {
          otherView.signal("at", value).runAsync();
        }
      }
    };
    view.addEventListener("pointermove", (_, item) => point(item?.datum?.[field] ?? null));
    container.addEventListener("pointerleave", () => {
      point(null);
      tooltip.hidden = true;
    });
  }

  // A square view of the plane: moved by drag, arrows, enlarged by Ctrl-wheel, pinch, keys, buttons.
  function enlarge(container, view) {
    const names = ["x0", "x1", "y0", "y1"];
    const whole = names.map((name) => view.signal(name));
    let shown = [...whole];
    const draw = () => {
      names.forEach((name, index) => view.signal(name, shown[index]));
      container.classList.toggle("enlarged", shown[1] - shown[0] < whole[1] - whole[0]);
      view.runAsync();
    };
    const zoom = (factor, x = 0.5, y = 0.5) => {
      const size = shown[1] - shown[0], largest = 2 * (whole[1] - whole[0]);
      const next = Math.min(largest, Math.max(largest / 400, size / factor));
      const left = shown[0] + x * (size - next), bottom = shown[2] + y * (size - next);
      shown = [left, left + next, bottom, bottom + next];
      draw();
    };
    const move = (x, y) => {
      const size = shown[1] - shown[0];
      shown = [shown[0] + x * size, shown[1] + x * size, shown[2] + y * size, shown[3] + y * size];
      draw();
    };
    const reset = () => { shown = [...whole]; draw(); };
    const place = (event) => {
      const box = container.querySelector("svg, canvas").getBoundingClientRect();
      const [left, top] = view.origin();
      return [
        (event.clientX - box.left - left) / view.width(),
        1 - (event.clientY - box.top - top) / view.height(),
      ];
    };

    container.addEventListener("wheel", (event) => {
      if (!event.ctrlKey && !event.metaKey) return;
      event.preventDefault();
      zoom(Math.exp(-event.deltaY / 300), ...place(event));
    }, { passive: false });

    const fingers = new Map();
    container.addEventListener("pointerdown", (event) => {
      fingers.set(event.pointerId, [event.clientX, event.clientY]);
      container.setPointerCapture(event.pointerId);
    });
    container.addEventListener("pointermove", (event) => {
      const before = fingers.get(event.pointerId);
      if (!before) return;
      const now = [event.clientX, event.clientY];
      const others = [...fingers].filter(([id]) => id !== event.pointerId);
      if (others.length === 1) {
        const [ox, oy] = others[0][1];
        const distance = ([x, y]) => Math.max(10, Math.hypot(x - ox, y - oy));
        const middle = { clientX: (now[0] + ox) / 2, clientY: (now[1] + oy) / 2 };
        zoom(distance(now) / distance(before), ...place(middle));
      } else if (event.pointerType !== "touch" || container.classList.contains("enlarged")) {
        move((before[0] - now[0]) / view.width(), (now[1] - before[1]) / view.height());
      }
      fingers.set(event.pointerId, now);
    });
    for (const end of ["pointerup", "pointercancel"]) {
      container.addEventListener(end, (event) => fingers.delete(event.pointerId));
    }
    container.addEventListener("dblclick", reset);

    const keys = {
      ArrowLeft: () => move(-0.1, 0), ArrowRight: () => move(0.1, 0),
      ArrowUp: () => move(0, 0.1), ArrowDown: () => move(0, -0.1),
      "+": () => zoom(1.4), "=": () => zoom(1.4), "-": () => zoom(1 / 1.4), "0": reset,
    };
    container.addEventListener("keydown", (event) => {
      const act = keys[event.key];
      if (!act || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      act();
    });
    const acts = { in: () => zoom(1.4), out: () => zoom(1 / 1.4), reset };
    for (const button of container.parentElement.querySelectorAll("[data-zoom]")) {
      button.addEventListener("click", acts[button.dataset.zoom]);
    }
  }

  function square(container, view) {
    const fit = () => {
      const axes = 58; // left of the plane and below it
      const side = Math.max(200, Math.min(600, container.clientWidth - axes));
      view.width(side).height(side).runAsync();
    };
    new ResizeObserver(fit).observe(container);
  }

  function labels() {
    for (const group of document.querySelectorAll(".labels")) {
      const planes = group.parentElement.querySelector("[data-planes]");
      const buttons = [...group.querySelectorAll("[data-label]")];
      group.addEventListener("click", (event) => {
        const button = event.target.closest("[data-label]");
        if (!button) return;
        const chosen = button.getAttribute("aria-pressed") !== "true";
        for (const other of buttons) {
          other.setAttribute("aria-pressed", String(chosen && other === button));
        }
        const label = chosen ? Number(button.dataset.label) : -1;
        for (const [container, view] of views) {
          if (planes.contains(container)) view.signal("label", label).runAsync();
        }
      });
    }
  }

  async function draw(container) {
    const { spec, pointsAt } = data.charts[container.dataset.chart];
    const isSquare = container.classList.contains("square");
    const sized = isSquare ? { ...spec, width: 300, height: 300 } : spec;
    const { view } = await vegaEmbed(container, sized, {
      mode: "vega-lite",
      renderer: "svg",
      actions: false,
      tooltip: (_, event, __, value) => showTooltip(container, event, value),
    });
    views.set(container, view);
    pointTogether(container, view, pointsAt);
    if (isSquare) {
      square(container, view);
      enlarge(container, view);
    }
  }

  function failed(container, error) {
    container.classList.add("failed");
    container.textContent = "This chart could not be drawn; its picture lies beside this page.";
    console.error(error);
  }

  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") tooltip.hidden = true;
  });
  labels();
  const drawn = [...document.querySelectorAll("[data-chart]")].map((container) =>
    draw(container).catch((error) => failed(container, error)));
  Promise.all(drawn).then(() => {
    document.documentElement.classList.add("drawn");
    performance.mark("drawn");
  });
})();
