"use strict";

/* The keyboard in lists: j and k walk through the rows, Enter opens one, ? shows all keys. */
(() => {
  const keys = document.getElementById("keys");
  if (!keys) return;
  const show = () => { if (!keys.open) keys.showModal(); };
  document.addEventListener("click", (event) => {
    if (event.target.closest("[data-keys]")) show();
    // The dialog's own box has no padding: what is clicked outside it is the backdrop.
    if (event.target === keys) keys.close();
  });

  const HOLDS = "a[href], input, button";
  const FIELD = "input:not([type=checkbox], [type=hidden]), textarea, select, [contenteditable]";
  const rows = () => [...document.querySelectorAll("main table > tbody > tr")]
    .filter((row) => row.querySelector(HOLDS) && row.getClientRects().length);
  const rowOf = (element) => element?.closest("main table > tbody > tr");
  let current = null;

  const go = (row) => {
    if (!row) return;
    current = row;
    row.tabIndex = -1;
    row.focus({ preventScroll: true });
    row.scrollIntoView({ block: "nearest" });
  };
  const move = (step) => {
    const all = rows();
    const from = all.indexOf(rowOf(document.activeElement) ?? current);
    go(all[from < 0 ? 0 : Math.min(Math.max(from + step, 0), all.length - 1)]);
  };

  const row = {
    Enter: (here) => {
      const field = here.querySelector(FIELD);
      field?.focus();
      if (field) field.select?.();
      else here.querySelector("a[href]")?.click();
    },
    x: (here) => here.querySelector("input[type=checkbox]")?.click(),
    a: (here) => {
      here.querySelector("[data-accept]")?.click();
      go(here);
    },
  };
  const always = {
    j: () => move(1),
    k: () => move(-1),
    p: () => document.querySelector("main [data-preview]")?.click(),
    "?": show,
  };

  document.addEventListener("keydown", (event) => {
    const { key, target } = event;
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    if (target.closest("dialog")) return;
    const here = rowOf(target);
    if (target.closest(FIELD)) {
      // Enter and Escape lead from a field back to its row.
      if (here && target.matches("[data-was]") && (key === "Enter" || key === "Escape")) {
        event.preventDefault();
        go(here);
      }
      return;
    }
    const arrow = here && { ArrowDown: "j", ArrowUp: "k" }[key];
    let action = always[arrow || key];
    if (here === target) action ??= row[key] && (() => row[key](here));
    if (!action || (event.shiftKey && key !== "?")) return;
    event.preventDefault();
    action();
  });
})();
