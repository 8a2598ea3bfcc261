"use strict";

/* A live part is changed where it differs and left alone where it does not: what has the focus, is
   scrolled, opened, or was typed into stays as it is. For htmx: hx-swap="morph" and
   hx-swap-oob="morph". */
(() => {
  const FAR = 12;
  const ELEMENT = Node.ELEMENT_NODE;

  const alike = (old, fresh) =>
    old.nodeType === fresh.nodeType && old.nodeName === fresh.nodeName && (old.id || "") === (fresh.id || "");

  // Whoever reads the page opened or closed it, or is on that row with the keyboard.
  const theirs = (element, name) =>
    (name === "open" && element.nodeName === "DETAILS") || (name === "tabindex" && element.nodeName === "TR");

  const attributes = (old, fresh) => {
    for (const { name, value } of fresh.attributes) {
      if (!theirs(old, name) && old.getAttribute(name) !== value) old.setAttribute(name, value);
    }
    for (const { name } of [...old.attributes]) {
      if (!fresh.hasAttribute(name) && !theirs(old, name)) old.removeAttribute(name);
    }
  };

  const put = (parent, fresh, before, added) => {
    parent.insertBefore(fresh, before);
    if (fresh.nodeType === ELEMENT) added.push(fresh);
    return fresh;
  };

  /* The node that is to become `fresh`: the one with its id, else the next that is like it. */
  const found = (parent, fresh, at, wanted) => {
    if (fresh.id) {
      for (const child of parent.children) if (child.id === fresh.id && alike(child, fresh)) return child;
      return null;
    }
    for (let node = at, i = 0; node && i < FAR; node = node.nextSibling, i += 1) {
      if (alike(node, fresh)) return node;
      if (wanted.has(node.id)) return null;
    }
    return null;
  };

  const children = (old, fresh, added) => {
    const wanted = new Set([...fresh.children].map((child) => child.id).filter(Boolean));
    let at = old.firstChild;
    for (const child of [...fresh.childNodes]) {
      const match = found(old, child, at, wanted);
      if (!match) {
        put(old, child, at, added);
        continue;
      }
      while (at && at !== match && !wanted.has(at.id)) {
        const gone = at;
        at = at.nextSibling;
        gone.remove();
      }
      if (match === at) at = at.nextSibling;
      else old.insertBefore(match, at);
      morph(match, child, added);
    }
    while (at) {
      const gone = at;
      at = at.nextSibling;
      gone.remove();
    }
  };

  const morph = (old, fresh, added) => {
    if (old.nodeType !== ELEMENT) {
      if (old.data !== fresh.data) old.data = fresh.data;
      return;
    }
    // What was loaded later by itself is not in the answer.
    if (old.hasAttribute("data-keep") || old.isEqualNode(fresh)) return;
    attributes(old, fresh);
    children(old, fresh, added);
  };

  htmx.defineExtension("morph", {
    isInlineSwap: (style) => style === "morph",
    handleSwap: (style, target, fragment) => {
      if (style !== "morph") return false;
      const fresh = fragment.nodeType === Node.DOCUMENT_FRAGMENT_NODE ? fragment.firstElementChild : fragment;
      if (!fresh) return [];
      const added = [];
      if (alike(target, fresh)) {
        morph(target, fresh, added);
      } else {
        added.push(fresh);
        target.replaceWith(fresh);
      }
      for (const element of added) htmx.process(element);
      document.dispatchEvent(new CustomEvent("rollout:changed"));
      return added;
    },
  });
})();
