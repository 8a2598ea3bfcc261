"use strict";

/* Small things: light or dark, how long ago, SQL is copied, pages are printed whole. */
(() => {
  const root = document.documentElement;
  root.classList.add("js");

  const keep = (name, value) => {
    const secure = location.protocol === "https:" ? "; secure" : "";
    const age = value ? 365 * 24 * 3600 : 0;
    document.cookie = `${name}=${encodeURIComponent(value)}; path=/; max-age=${age}; samesite=lax${secure}`;
  };
  // From the next page on, times are in the zone of whoever reads them.
  keep("zone", Intl.DateTimeFormat().resolvedOptions().timeZone || "");

  document.addEventListener("submit", (event) => {
    const theme = event.submitter?.closest("[data-themes]") && event.submitter.value;
    if (theme == null || theme === false) return;
    event.preventDefault();
    keep("theme", theme);
    if (theme) root.dataset.theme = theme;
    else delete root.dataset.theme;
    for (const button of event.target.querySelectorAll("button")) {
      button.setAttribute("aria-pressed", String(button.value === theme));
    }
  });

  const ago = (seconds) => {
    if (seconds < 5) return "just now";
    for (const [size, unit] of [[86400, "d"], [3600, "h"], [60, "min"]]) {
      if (seconds >= size) return `${Math.floor(seconds / size)} ${unit} ago`;
    }
    return `${Math.floor(seconds)} s ago`;
  };
  // By the server's clock: a browser's own may be wrong.
  const ahead = Number(document.body.dataset.made) - Date.now();
  const count = () => {
    for (const element of document.querySelectorAll("[data-ago]")) {
      const text = ago((Date.now() + ahead - Date.parse(element.dataset.ago)) / 1000);
      if (element.textContent !== text) element.textContent = text;
    }
  };
  setInterval(count, 5000);
  document.addEventListener("rollout:changed", count);

  // The browser's tab says what runs: the live header brings the news, the page has its own title.
  const news = () => document.getElementById("rollout-now")?.dataset.title ?? "";
  const own = document.title.slice(news() ? `${news()} · `.length : 0);
  document.addEventListener("rollout:changed", () => {
    document.title = [news(), own].filter(Boolean).join(" · ");
  });

  document.querySelector(".tabs [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });
  document.addEventListener("click", ({ target }) => {
    for (const menu of document.querySelectorAll(".switcher[open]")) {
      if (!menu.contains(target)) menu.open = false;
    }
  });

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
    box.addEventListener("change", () => {
      for (const other of box.form.querySelectorAll(`[name="${box.dataset.tick}"]`)) other.checked = box.checked;
    });
  }
})();
