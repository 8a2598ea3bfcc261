"use strict";

/* Small things: live parts ask again, SQL is copied, a lost connection is said, values are filled in. */
(() => {
  const PACE = 1000;

  document.documentElement.classList.add("js");

  const refresh = () => {
    if (document.visibilityState !== "visible") return;
    for (const part of document.querySelectorAll("[data-live]")) htmx.trigger(part, "refresh");
  };
  setInterval(refresh, PACE);
  document.addEventListener("visibilitychange", refresh);

  const select = (element) => {
    const selection = window.getSelection();
    selection.removeAllRanges();
    const range = document.createRange();
    range.selectNodeContents(element);
    selection.addRange(range);
  };
  const say = (button, text) => {
    button.textContent = text;
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  };
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy]");
    if (!button) return;
    const code = button.parentElement.querySelector("code");
    try {
      await navigator.clipboard.writeText(code.textContent);
      say(button, "Copied");
    } catch {
      select(code);
      say(button, "Selected");
    }
  });

  // Paper opens nothing.
  let opened = [];
  addEventListener("beforeprint", () => {
    opened = [...document.querySelectorAll("main details:not([open])")];
    for (const details of opened) details.open = true;
  });
  addEventListener("afterprint", () => {
    for (const details of opened) details.open = false;
  });
  for (const button of document.querySelectorAll("[data-print]")) {
    button.hidden = false;
    button.addEventListener("click", () => print());
  }

  const mark = (input) => {
    input.closest("tr").classList.toggle("changed", input.value.trim() !== input.dataset.was);
  };
  document.addEventListener("input", (event) => {
    if ("was" in event.target.dataset) mark(event.target);
  });
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-fill]");
    if (!button) return;
    const input = button.form.elements[button.dataset.into];
    input.value = button.dataset.fill;
    mark(input);
    input.focus();
  });
  for (const box of document.querySelectorAll("[data-tick]")) {
    box.hidden = false;
    box.addEventListener("change", () => {
      for (const other of box.form.querySelectorAll(`[name="${box.dataset.tick}"]`)) other.checked = box.checked;
    });
  }

  const connection = (text) => {
    const place = document.getElementById("connection");
    if (place.textContent !== text) place.textContent = text;
  };
  for (const name of ["htmx:sendError", "htmx:timeout"]) {
    document.addEventListener(name, () => {
      connection("The server does not answer. What you see may be out of date; trying again.");
    });
  }
  document.addEventListener("htmx:responseError", (event) => {
    connection(
      event.detail.xhr.status === 503
        ? "The database does not answer. What you see may be out of date; trying again."
        : `The server answered with an error (${event.detail.xhr.status}); trying again.`,
    );
  });
  document.addEventListener("htmx:afterOnLoad", (event) => {
    if (event.detail.successful) connection("");
  });
})();
