"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const tooltip = document.getElementById("tooltip");
  const said = document.getElementById("said"); // read out by screen readers
  const FINGER = 24; // pixels
  const views = new Map(); // chart's element -> Vega view

  // Data is only ever inserted as text.
  function element(tag, className, text) {
    const node = document.createElement(tag);
    node.className = className;
    if (text !== undefined) node.textContent = text;
    return node;
  }

  function thumbnail(atlas, index) {
    const scale = Math.max(1, Math.floor(112 / Math.max(atlas.width, atlas.height)));
    const width = atlas.width * scale, height = atlas.height * scale;
    const column = index % atlas.columns, row = Math.floor(index / atlas.columns);
    const cell = element("div", "thumbnail");
    cell.style.width = `${width}px`;
    cell.style.height = `${height}px`;
    cell.style.backgroundImage = `url(${atlas.uri})`;
    cell.style.backgroundSize = `${width * atlas.columns}px ${height * atlas.rows}px`;
    cell.style.backgroundPosition = `${-width * column}px ${-height * row}px`;
    return cell;
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

  // Pointing at an epoch, image, … in one chart marks it in all charts of the same field.
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
    container.addEventListener("pointerleave", (event) => {
      if (event.pointerType === "touch") return; // a tapped mark stays
      point(null);
      tooltip.hidden = true;
    });
    return point;
  }

  // Move a plane by dragging or arrow keys; zoom by Ctrl-wheel, pinch, keys or buttons.
  // By keyboard, the datum nearest to the centre counts as pointed at.
  function enlarge(container, view, point) {
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

    // Point at the datum nearest to a position ([0, 1] from the lower left corner), if within reach.
    const look = ([x, y], reach) => {
      const size = shown[1] - shown[0], label = view.signal("label");
      const right = (datum) => (datum.x - shown[0]) / size, up = (datum) => (datum.y - shown[2]) / size;
      const distance = (datum) => Math.hypot(right(datum) - x, up(datum) - y);
      const datum = data.charts[container.dataset.chart].spec.datasets.codes
        .filter((datum) => (label < 0 || datum.label === label) && distance(datum) <= reach)
        .reduce((a, b) => (a && distance(a) <= distance(b) ? a : b), null);
      point(datum ? datum.i : null);
      const box = container.querySelector("svg").getBoundingClientRect(), [left, top] = view.origin();
      showTooltip(container, datum && {
        clientX: box.left + left + view.width() * right(datum),
        clientY: box.top + top + view.height() * (1 - up(datum)),
      }, datum);
      said.textContent = tooltip.hidden ? "" : tooltip.textContent;
    };
    const lookAtMiddle = () => look([0.5, 0.5], 0.5);
    container.addEventListener("focus", () => { if (container.matches(":focus-visible")) lookAtMiddle(); });
    document.addEventListener("scroll", () => { // the browser scrolls the focused chart into view
      if (container.matches(":focus-visible") && !tooltip.hidden) lookAtMiddle();
    }, { passive: true });
    container.addEventListener("blur", () => { point(null); tooltip.hidden = true; });

    container.addEventListener("wheel", (event) => {
      if (!event.ctrlKey && !event.metaKey) return;
      event.preventDefault();
      zoom(Math.exp(-event.deltaY / 300), ...place(event));
    }, { passive: false });

    const fingers = new Map();
    let tap = null; // where a touch began, until it moves
    container.addEventListener("pointerdown", (event) => {
      tap = event.pointerType === "touch" && fingers.size === 0 ? [event.clientX, event.clientY] : null;
      fingers.set(event.pointerId, [event.clientX, event.clientY]);
      container.setPointerCapture(event.pointerId);
    });
    container.addEventListener("pointermove", (event) => {
      const before = fingers.get(event.pointerId);
      if (!before) return;
      const now = [event.clientX, event.clientY];
      if (tap && Math.hypot(now[0] - tap[0], now[1] - tap[1]) > FINGER / 2) tap = null;
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
    container.addEventListener("pointerup", (event) => {
      if (tap) look(place(event), FINGER / view.width());
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
      lookAtMiddle();
    });
    const acts = { in: () => zoom(1.4), out: () => zoom(1 / 1.4), reset };
    for (const button of container.parentElement.querySelectorAll("[data-zoom]")) {
      button.addEventListener("click", acts[button.dataset.zoom]);
    }
  }

  function square(container, view) {
    const fit = () => {
      const axes = 58; // pixels beside and below the plane
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
    container.querySelector("svg").setAttribute("aria-hidden", "true"); // the aria-label describes it
    const point = pointTogether(container, view, pointsAt);
    if (isSquare) {
      square(container, view);
      enlarge(container, view, point);
    }
  }

  function failed(container, error) {
    container.classList.add("failed");
    container.textContent = "This chart could not be drawn; see its PNG or SVG file beside this page.";
    console.error(error);
  }

  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") tooltip.hidden = true;
  });
  document.addEventListener("pointerdown", (event) => {
    if (!event.target.closest("[data-chart]")) tooltip.hidden = true;
  });
  labels();
  const drawn = [...document.querySelectorAll("[data-chart]")].map((container) =>
    draw(container).catch((error) => failed(container, error)));
  Promise.all(drawn).then(() => {
    document.documentElement.classList.add("drawn");
    performance.mark("drawn");
  });
})();
