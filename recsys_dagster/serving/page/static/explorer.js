// What pages do beyond links and forms: parts that change in place, finding as you type, the map.
// Every page works without it.

const calm = matchMedia("(prefers-reduced-motion: reduce)");
const announce = (words) => { document.getElementById("announce").textContent = words; };
document.documentElement.classList.add("js");

function debounced(wait, act) {
  let timer;
  return (...given) => {
    clearTimeout(timer);
    timer = setTimeout(() => act(...given), wait);
  };
}

async function fetched(address, signal) {
  const response = await fetch(address, { signal, headers: { accept: "text/html" } });
  if (!response.ok) throw new Error(response.statusText);
  return new DOMParser().parseFromString(await response.text(), "text/html");
}

// Parts that change in place: the page is asked for anew, and its regions are exchanged.

let asking = new AbortController();

async function swap(address, { remember = "push" } = {}) {
  asking.abort();
  asking = new AbortController();
  const regions = [...document.querySelectorAll("[data-swap-region]")];
  regions.forEach((region) => region.setAttribute("aria-busy", "true"));
  let fresh;
  try {
    fresh = await fetched(address, asking.signal);
  } catch (error) {
    if (error.name !== "AbortError") location.assign(address);
    return;
  }
  const said = fresh.querySelector("[data-announce]")?.textContent.trim() ?? "";
  const focus = document.activeElement?.dataset?.focus;
  const wasInside = regions.some((region) => region.contains(document.activeElement));
  const places = new Map(
    [...document.querySelectorAll("[data-key]")].map((row) => [row.dataset.key, row.getBoundingClientRect()]),
  );
  for (const region of regions) {
    const other = fresh.getElementById(region.id);
    if (other) region.replaceWith(document.adoptNode(other));
  }
  if (remember === "push") history.pushState(null, "", address);
  else if (remember === "replace") history.replaceState(null, "", address);
  if (wasInside) {
    const again = focus && document.querySelector(`[data-focus="${CSS.escape(focus)}"]:not(.chip)`);
    (again || document.querySelector("[data-search]") || document.getElementById("content")).focus({ preventScroll: true });
  }
  announce(said);
  if (!calm.matches) move(places);
  document.dispatchEvent(new Event("swapped"));
}

function move(places) {
  for (const row of document.querySelectorAll("[data-key]")) {
    const before = places.get(row.dataset.key);
    const by = before && before.top - row.getBoundingClientRect().top;
    if (before === undefined) row.animate([{ opacity: 0 }, { opacity: 1 }], { duration: 350 });
    else if (by) row.animate([{ transform: `translateY(${by}px)` }, { transform: "none" }], { duration: 300, easing: "ease-out" });
  }
}

function addressOf(form, submitter) {
  const asked = new URLSearchParams();
  for (const [name, value] of new FormData(form, submitter)) if (value.trim()) asked.append(name, value);
  return `${form.action}${asked.size ? `?${asked}` : ""}`;
}

document.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-swap]");
  if (!link || event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  event.preventDefault();
  swap(link.href);
});

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (!form.matches("form[data-live]")) return;
  event.preventDefault();
  const search = form.querySelector("[data-search]");
  if (event.submitter?.name === "item" && search) search.value = "";
  swap(addressOf(form, event.submitter));
});

for (const form of document.querySelectorAll("form[data-live]")) {
  const follow = () => swap(addressOf(form), { remember: "replace" });
  form.querySelector("[data-search]")?.addEventListener("input", debounced(150, follow));
  form.querySelector("[data-text]")?.addEventListener("input", debounced(700, follow));
}

if (document.querySelector("[data-swap-region]")) {
  addEventListener("popstate", () => location.reload());
}

// Finding as you type.

for (const form of document.querySelectorAll("form[data-find]")) {
  const input = form.querySelector("input");
  const popover = form.querySelector("[data-popover]");
  let looking = new AbortController();
  const close = () => { popover.hidden = true; };
  const look = debounced(150, async () => {
    looking.abort();
    looking = new AbortController();
    if (!input.value.trim()) return close();
    let fresh;
    try {
      fresh = await fetched(`${form.action}?${new URLSearchParams({ q: input.value })}`, looking.signal);
    } catch {
      return;
    }
    popover.replaceChildren(...document.adoptNode(fresh.getElementById("found")).childNodes);
    popover.hidden = false;
    announce(fresh.querySelector("[data-announce]").textContent);
  });
  input.addEventListener("input", look);
  input.addEventListener("focus", () => { if (popover.childElementCount && input.value.trim()) popover.hidden = false; });
  form.addEventListener("keydown", (event) => {
    const links = [...popover.querySelectorAll("a")];
    const at = links.indexOf(document.activeElement);
    if (event.key === "Escape" && !popover.hidden) {
      event.preventDefault();
      input.focus();
      close();
    } else if (!popover.hidden && (event.key === "ArrowDown" || event.key === "ArrowUp")) {
      event.preventDefault();
      const next = at + (event.key === "ArrowDown" ? 1 : -1);
      (links[Math.min(next, links.length - 1)] || input).focus();
    }
  });
  form.addEventListener("focusout", (event) => { if (!form.contains(event.relatedTarget)) close(); });
}

for (const menu of document.querySelectorAll("details.menu")) {
  menu.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    menu.open = false;
    menu.querySelector("summary").focus();
  });
  menu.addEventListener("focusout", (event) => { if (event.relatedTarget && !menu.contains(event.relatedTarget)) menu.open = false; });
}

// The map.

function startMap(root, points) {
  const canvas = root.querySelector("canvas");
  const pen = canvas.getContext("2d");
  const tip = root.querySelector("[data-map-tip]");
  const said = root.querySelector("[data-map-said]");
  const legend = root.parentElement.querySelector("[data-map-legend]");
  const count = points.ids.length;
  const place = new Map(points.ids.map((id, at) => [id, at]));
  const placesOf = (ids) => ids.map((id) => place.get(id)).filter((at) => at !== undefined);
  const span = (values) => {
    let low = Infinity;
    let high = -Infinity;
    for (const value of values) {
      if (value < low) low = value;
      if (value > high) high = value;
    }
    return [low, high];
  };
  const [left, right] = span(points.x);
  const [bottom, top] = span(points.y);
  const view = { x: (left + right) / 2, y: (bottom + top) / 2, zoom: 1, width: 0, height: 0 };
  let chosen = -1;
  let only = null;
  let lit = { liked: [], recommended: [], here: [] };

  function readLit() {
    const liked = document.querySelector("[data-liked]")?.dataset.liked;
    const recommended = [...document.querySelectorAll("#list [data-recommended]")].map((row) => row.dataset.recommended);
    lit = {
      liked: placesOf(liked ? JSON.parse(liked) : []),
      recommended: placesOf([...recommended, ...JSON.parse(root.dataset.near)]),
      here: placesOf(root.dataset.here ? [root.dataset.here] : []),
    };
  }
  const isLit = () => lit.liked.length + lit.recommended.length + lit.here.length > 0;

  // A wide canvas may stretch the map a little: else most of it would be empty.
  function scales() {
    const across = (view.width - 40) / (right - left || 1);
    const down = (view.height - 40) / (top - bottom || 1);
    return [Math.min(across, 1.8 * down) * view.zoom, Math.min(down, 1.8 * across) * view.zoom];
  }
  const onScreen = (at) => {
    const [across, down] = scales();
    return [view.width / 2 + (points.x[at] - view.x) * across, view.height / 2 - (points.y[at] - view.y) * down];
  };

  function colours() {
    const style = getComputedStyle(root);
    const of = (name) => style.getPropertyValue(name).trim();
    return {
      categories: points.categories.map((_, at) => of(`--category-${at}`)),
      other: of("--category-other"), ink: of("--ink"), ground: of("--surface"),
      liked: of("--liked"), recommended: of("--recommended"), font: style.fontFamily,
    };
  }

  function dot(at, radius, fill, ring) {
    const [x, y] = onScreen(at);
    pen.beginPath();
    pen.arc(x, y, radius, 0, 2 * Math.PI);
    pen.fillStyle = fill;
    pen.fill();
    if (ring) {
      pen.lineWidth = 2;
      pen.strokeStyle = ring;
      pen.stroke();
    }
  }

  function label(at, colour, taken) {
    const [x, y] = onScreen(at);
    const words = points.titles[at].length > 30 ? `${points.titles[at].slice(0, 29)}…` : points.titles[at];
    const width = pen.measureText(words).width;
    const start = x + 10 + width > view.width ? x - 10 - width : x + 10;
    const box = [start, y - 9, start + width, y + 9];
    if (start < 0 || taken.some((other) => box[0] < other[2] && box[2] > other[0] && box[1] < other[3] && box[3] > other[1])) return;
    taken.push(box);
    pen.lineWidth = 4;
    pen.lineJoin = "round";
    pen.strokeStyle = colour.ground;
    pen.strokeText(words, start, y);
    pen.fillStyle = colour.ink;
    pen.fillText(words, start, y);
  }

  function draw() {
    const colour = colours();
    const ratio = devicePixelRatio || 1;
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, view.width, view.height);
    const radius = Math.min(4, (count > 3000 ? 1.6 : 2.6) * Math.sqrt(view.zoom));
    // Without categories all are grey, and need not stand back.
    const quiet = isLit() && points.categories.length ? 0.28 : 0.7;
    for (let at = count - 1; at >= 0; at -= 1) {
      const category = points.category[at];
      pen.globalAlpha = only !== null && only !== category ? 0.05 : quiet * (category < 0 ? 0.7 : 1);
      dot(at, radius, category < 0 ? colour.other : colour.categories[category]);
    }
    pen.globalAlpha = 1;
    for (const at of lit.liked) dot(at, 4, colour.ground, colour.liked);
    for (const at of lit.recommended) dot(at, 5.5, colour.recommended, colour.ground);
    for (const at of lit.here) dot(at, 7, colour.liked, colour.ground);
    if (chosen >= 0) dot(chosen, 7, colour.ink, colour.ground);
    pen.font = `600 12px ${colour.font}`;
    pen.textBaseline = "middle";
    const taken = [];
    for (const at of [...lit.here, ...lit.recommended.slice(0, 6)]) label(at, colour, taken);
    showTip();
  }

  function showTip() {
    tip.hidden = chosen < 0;
    if (chosen < 0) return;
    const [x, y] = onScreen(chosen);
    const category = points.categories[points.category[chosen]];
    tip.replaceChildren(points.titles[chosen]);
    if (category) {
      const small = document.createElement("small");
      small.textContent = category;
      tip.append(small);
    }
    const across = Math.min(Math.max(x - tip.offsetWidth / 2, 4), view.width - tip.offsetWidth - 4);
    const down = y - tip.offsetHeight - 14 < 0 ? y + 14 : y - tip.offsetHeight - 14;
    tip.style.transform = `translate(${across}px, ${down}px)`;
  }

  function choose(at, aloud) {
    if (at === chosen) return;
    chosen = at;
    if (aloud && at >= 0) said.textContent = `${points.titles[at]}${points.category[at] < 0 ? "" : `, ${points.categories[points.category[at]]}`}`;
    draw();
  }
  const open = (at) => location.assign(root.dataset.items + encodeURIComponent(points.ids[at]));

  function nearest(x, y, within) {
    let best = -1;
    let least = within * within;
    const look = (at, favour) => {
      const [px, py] = onScreen(at);
      const far = ((px - x) ** 2 + (py - y) ** 2) * favour;
      if (far < least) {
        least = far;
        best = at;
      }
    };
    for (const at of [...lit.here, ...lit.recommended, ...lit.liked]) look(at, 0.3);
    for (let at = 0; at < count; at += 1) if (only === null || points.category[at] === only) look(at, 1);
    return best;
  }

  function towards(dx, dy) {
    const among = isLit() ? [...new Set([...lit.here, ...lit.recommended, ...lit.liked])] : points.ids.keys();
    const [x, y] = chosen >= 0 ? onScreen(chosen) : [view.width / 2 - dx, view.height / 2 - dy];
    let best = -1;
    let least = Infinity;
    for (const at of among) {
      if (at === chosen || (only !== null && points.category[at] !== only)) continue;
      const [px, py] = onScreen(at);
      const along = (px - x) * dx + (py - y) * dy;
      const aside = Math.abs((px - x) * dy) + Math.abs((py - y) * dx);
      if (along < 2 || aside > 2 * along || along + 2 * aside >= least) continue;
      least = along + 2 * aside;
      best = at;
    }
    if (best >= 0) choose(best, true);
  }

  function zoom(by) {
    view.zoom = Math.min(40, Math.max(1, view.zoom * by));
    if (view.zoom === 1) [view.x, view.y] = [(left + right) / 2, (bottom + top) / 2];
    else if (chosen >= 0) [view.x, view.y] = [points.x[chosen], points.y[chosen]];
    canvas.classList.toggle("is-zoomed", view.zoom > 1);
    draw();
  }

  let drag = null;
  canvas.addEventListener("pointermove", (event) => {
    const box = canvas.getBoundingClientRect();
    if (drag) {
      const [across, down] = scales();
      view.x = drag.x - (event.clientX - drag.left) / across;
      view.y = drag.y + (event.clientY - drag.top) / down;
      drag.moved ||= Math.hypot(event.clientX - drag.left, event.clientY - drag.top) > 4;
      draw();
    } else if (event.pointerType === "mouse") {
      choose(nearest(event.clientX - box.left, event.clientY - box.top, 24));
    }
  });
  canvas.addEventListener("pointerdown", (event) => {
    drag = view.zoom > 1 ? { x: view.x, y: view.y, left: event.clientX, top: event.clientY, moved: false } : null;
    if (drag) canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointerup", (event) => {
    const moved = drag?.moved;
    drag = null;
    if (moved) return;
    const box = canvas.getBoundingClientRect();
    const at = nearest(event.clientX - box.left, event.clientY - box.top, 28);
    if (at >= 0 && (event.pointerType === "mouse" || at === chosen)) open(at);
    else choose(at);
  });
  canvas.addEventListener("pointercancel", () => { drag = null; });
  canvas.addEventListener("pointerleave", (event) => { if (event.pointerType === "mouse" && !drag) choose(-1); });
  canvas.addEventListener("keydown", (event) => {
    const arrow = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (arrow) towards(...arrow);
    else if (event.key === "Enter" && chosen >= 0) open(chosen);
    else if (event.key === "+" || event.key === "=") zoom(1.6);
    else if (event.key === "-") zoom(1 / 1.6);
    else if (event.key === "Escape") choose(-1);
    else return;
    event.preventDefault();
  });
  for (const button of root.querySelectorAll("[data-zoom]")) button.addEventListener("click", () => zoom(Number(button.dataset.zoom)));

  function legendEntry(tag, mark, words) {
    const entry = document.createElement(tag);
    const swatch = document.createElement("span");
    swatch.className = `swatch ${mark}`;
    entry.append(swatch, words);
    legend.append(entry);
    return entry;
  }
  function drawLegend() {
    legend.replaceChildren();
    const ofItem = lit.here.length > 0;
    if (ofItem) legendEntry("span", "is-here", "this item");
    if (lit.recommended.length) legendEntry("span", "is-recommended", ofItem ? "its neighbours" : "recommended");
    if (lit.liked.length) legendEntry("span", "is-liked", "liked before");
    points.categories.forEach((name, at) => {
      const button = legendEntry("button", `of-${at}`, name);
      button.type = "button";
      button.setAttribute("aria-pressed", String(only === at));
      button.addEventListener("click", () => {
        only = only === at ? null : at;
        legend.querySelectorAll("button").forEach((other, which) => other.setAttribute("aria-pressed", String(only === which)));
        draw();
      });
    });
  }

  document.addEventListener("swapped", () => { readLit(); draw(); });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  readLit();
  drawLegend();
  new ResizeObserver(() => {
    const ratio = devicePixelRatio || 1;
    [view.width, view.height] = [canvas.clientWidth, canvas.clientHeight];
    [canvas.width, canvas.height] = [view.width * ratio, view.height * ratio];
    draw();
    root.dataset.drawn = count;
  }).observe(canvas);
}

const seen = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries) {
    if (!isIntersecting) continue;
    seen.unobserve(target);
    fetch(target.dataset.map)
      .then((response) => (response.ok ? response.json() : Promise.reject(new Error(response.statusText))))
      .then((points) => startMap(target, points))
      .catch(() => { target.querySelector("[data-map-said]").textContent = "The map could not be loaded."; });
  }
}, { rootMargin: "300px" });
for (const root of document.querySelectorAll("[data-map]")) seen.observe(root);
