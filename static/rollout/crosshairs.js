"use strict";

/* The values of a chart where the pointer is, or where the arrow keys lead: a line through all charts
   of a section, and beside it what each column's title says. */
(() => {
  const SVG = "http://www.w3.org/2000/svg";
  const columns = (box) =>
    [...box.querySelectorAll(".reach rect")].map((rect) => ({
      x: parseFloat(rect.getAttribute("x")) + parseFloat(rect.getAttribute("width")) / 2,
      text: rect.querySelector("title").textContent,
    }));
  const nearest = (all, x) =>
    all.reduce((best, column, at) => (Math.abs(column.x - x) < Math.abs(all[best].x - x) ? at : best), 0);

  const nameOf = (box) => {
    const svg = box.querySelector("svg");
    return (svg.getAttribute("aria-label") ?? svg.querySelector("title").textContent).split(/[;,.]/)[0];
  };
  const boxes = (section) => section.querySelectorAll(".plot-box");
  const hide = (box) => box.querySelector(".reading").classList.remove("shown");
  const put = (box, at, all = columns(box)) => {
    const { slider, line, text } = box.parts;
    const column = all[at];
    slider.max = all.length - 1;
    slider.value = at;
    slider.setAttribute("aria-valuetext", column.text.replaceAll("\n", ", "));
    line.setAttribute("x1", `${column.x}%`);
    line.setAttribute("x2", `${column.x}%`);
    text.textContent = column.text;
    text.classList.toggle("before", column.x > 50);
    text.style.left = `${Math.min(Math.max(column.x, 0), 100)}%`;
  };
  const show = (box, at) => {
    const { x } = columns(box)[at];
    for (const other of boxes(box.closest("section"))) {
      const all = columns(other);
      if (!other.parts || !all.length) continue;
      put(other, nearest(all, x), all);
      other.querySelector(".reading").classList.add("shown");
    }
  };
  const leave = (box) => {
    for (const other of boxes(box.closest("section"))) hide(other);
  };

  const prepare = (box) => {
    const reading = box.querySelector(".reading");
    const slider = document.createElement("input");
    slider.type = "range";
    slider.min = 0;
    const svg = document.createElementNS(SVG, "svg");
    const line = document.createElementNS(SVG, "line");
    line.setAttribute("y1", 0);
    line.setAttribute("y2", "100%");
    svg.setAttribute("aria-hidden", "true");
    svg.append(line);
    const text = document.createElement("p");
    text.setAttribute("aria-hidden", "true");
    reading.append(slider, svg, text);
    box.parts = { slider, line, text };
    slider.addEventListener("input", () => show(box, Number(slider.value)));
    slider.addEventListener("focus", () => show(box, Number(slider.value)));
    slider.addEventListener("blur", () => leave(box));
    box.addEventListener("pointermove", (event) => {
      const { left, width } = box.getBoundingClientRect();
      const all = columns(box);
      if (all.length) show(box, nearest(all, ((event.clientX - left) / width) * 100));
    });
    box.addEventListener("pointerleave", () => {
      if (document.activeElement?.closest("section") !== box.closest("section")) leave(box);
    });
  };

  const refresh = () => {
    for (const box of document.querySelectorAll(".plot-box")) {
      const all = columns(box);
      if (!all.length) continue;
      const fresh = !box.parts;
      if (fresh) prepare(box);
      const { slider } = box.parts;
      const last = fresh || Number(slider.value) >= Number(slider.max);
      slider.setAttribute("aria-label", `Values by time: ${nameOf(box)}`);
      put(box, last ? all.length - 1 : Math.min(Number(slider.value), all.length - 1), all);
    }
  };
  document.addEventListener("rollout:changed", refresh);
  refresh();
})();
