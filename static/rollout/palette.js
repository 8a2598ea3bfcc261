"use strict";

/* The palette: Ctrl-K or ⌘-K opens it, arrows walk through the results, Enter follows one. */
(() => {
  const palette = document.getElementById("palette");
  if (!palette) return;
  const field = palette.querySelector("input");

  const open = () => {
    palette.showModal();
    field.select();
    htmx.trigger(field, "opened");
  };
  document.addEventListener("keydown", (event) => {
    if (event.key.toLowerCase() !== "k" || !(event.ctrlKey || event.metaKey) || event.altKey || event.shiftKey) return;
    event.preventDefault();
    if (!palette.open) open();
  });
  document.addEventListener("click", (event) => {
    if (!event.target.closest("[data-palette]") || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    open();
  });
  // The dialog's own box has no padding: what is clicked outside it is the backdrop.
  palette.addEventListener("click", (event) => {
    if (event.target === palette) palette.close();
  });
  palette.addEventListener("keydown", (event) => {
    // A search field would only empty itself at the first one.
    if (event.key === "Escape") {
      event.preventDefault();
      palette.close();
      return;
    }
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const stops = [field, ...palette.querySelectorAll(".results a")];
    stops[(stops.indexOf(document.activeElement) + step + stops.length) % stops.length].focus();
  });
  // Enter goes to the first result of what is typed now; until that has arrived, to the page.
  palette.querySelector("form").addEventListener("submit", (event) => {
    const results = palette.querySelector(".results");
    const first = results?.dataset.text === field.value && results.querySelector("a");
    if (!first) return;
    event.preventDefault();
    first.click();
  });
})();
